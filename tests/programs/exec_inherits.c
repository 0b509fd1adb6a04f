// What survives exec: pid, cwd, umask, blocked and ignored signals, descriptors without
// FD_CLOEXEC, limits, nice; what does not: handlers, mappings, pending alarms do.
#include "test.h"
extern char **environ;
static void on_signal(int sig) {
    (void)sig;
}
int main(int argc, char **argv) {
    if (argc > 1) {
        YES(getpid() == atoi(argv[1]));
        char cwd[PATH_MAX];
        YES(getcwd(cwd, sizeof cwd) && strstr(cwd, "/tmp/"));
        printf("umask %03o\n", umask(0));
        struct sigaction action;
        sigaction(SIGUSR1, NULL, &action);
        printf("handler kept: %d\n", action.sa_handler != SIG_DFL);
        sigaction(SIGUSR2, NULL, &action);
        printf("ignored kept: %d\n", action.sa_handler == SIG_IGN);
        sigset_t set;
        sigprocmask(SIG_BLOCK, NULL, &set);
        printf("blocked kept: %d\n", sigismember(&set, SIGHUP));
        sigpending(&set);
        printf("pending kept: %d\n", sigismember(&set, SIGHUP));
        R(fcntl(atoi(argv[2]), F_GETFD));
        R(fcntl(atoi(argv[3]), F_GETFD));
        struct rlimit limit;
        getrlimit(RLIMIT_NOFILE, &limit);
        R(limit.rlim_cur);
        YES(alarm(0) > 900);
        stack_t stack;
        sigaltstack(NULL, &stack);
        R(stack.ss_flags);
        printf("environment: %s\n", getenv("SPROUT_WORD"));
        return 0;
    }
    enter_dir();
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        static char space[65536];
        char self[16], keep[16], lose[16];
        umask(027);
        signal(SIGUSR1, on_signal);
        signal(SIGUSR2, SIG_IGN);
        sigset_t set;
        sigemptyset(&set);
        sigaddset(&set, SIGHUP);
        sigprocmask(SIG_BLOCK, &set, NULL);
        raise(SIGHUP);
        snprintf(self, sizeof self, "%d", getpid());
        snprintf(keep, sizeof keep, "%d", open("/dev/null", O_RDONLY));
        snprintf(lose, sizeof lose, "%d", open("/dev/null", O_RDONLY | O_CLOEXEC));
        setrlimit(RLIMIT_NOFILE, &(struct rlimit){123, 200});
        alarm(1000);
        stack_t stack = {.ss_sp = space, .ss_size = sizeof space};
        sigaltstack(&stack, NULL);
        char *args[] = {"exec_inherits", self, keep, lose, NULL};
        char *env[] = {"SPROUT_WORD=one", NULL};
        execve("/proc/self/exe", args, env);
        _exit(9);
    }
    int status;
    waitpid(pid, &status, 0);
    R(status);
    return 0;
}

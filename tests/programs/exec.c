// execve of oneself: arguments, environment, close-on-exec, reset handlers, kept mask and cwd.
// case chain: start
#include "test.h"
int main(int argc, char **argv) {
    NEED(argc >= 2);
    if (!strcmp(argv[1], "start")) {
        char self[PATH_MAX];
        ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
        NEED(n > 0);
        self[n] = 0;
        NEED(dup2(open("/dev/null", O_RDONLY), 20) == 20);
        NEED(dup3(20, 21, O_CLOEXEC) == 21);
        signal(SIGUSR1, SIG_IGN);
        signal(SIGUSR2, (void (*)(int))abort);
        sigset_t set;
        sigemptyset(&set);
        sigaddset(&set, SIGTERM);
        sigprocmask(SIG_BLOCK, &set, NULL);
        NEED(chdir("/tmp") == 0);
        OK(execl("/tmp/absent", "x", NULL));
        OK(execl("/tmp", "x", NULL));
        put_file("/tmp/sprout-exec-plain", "not a program");
        OK(execl("/tmp/sprout-exec-plain", "x", NULL));
        chmod("/tmp/sprout-exec-plain", 0755);
        OK(execl("/tmp/sprout-exec-plain", "x", NULL));
        unlink("/tmp/sprout-exec-plain");
        char *args[] = {self, "next", "with space", "", NULL};
        char *env[] = {"ONLY=this", NULL};
        execve(self, args, env);
        printf("execve: %s\n", errno_name(errno));
        return 1;
    }
    printf("argc %d [%s] [%s]\n", argc, argv[2], argv[3]);
    extern char **environ;
    printf("env %s %s\n", environ[0], environ[1] ? environ[1] : "end");
    R(fcntl(20, F_GETFD));
    R(fcntl(21, F_GETFD));
    YES(signal(SIGUSR1, SIG_DFL) == SIG_IGN);
    YES(signal(SIGUSR2, SIG_DFL) == SIG_DFL);
    sigset_t now;
    sigprocmask(SIG_SETMASK, NULL, &now);
    R(sigismember(&now, SIGTERM));
    char cwd[PATH_MAX];
    puts(getcwd(cwd, sizeof cwd));
    return 23;
}

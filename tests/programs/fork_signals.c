// SIGCHLD, killing children, stop and continue, process groups, orphans.
#include "test.h"
#include <sys/prctl.h>
static volatile int chld, code, child_status;
static void on_chld(int sig, siginfo_t *info, void *context) {
    (void)sig, (void)context;
    chld++;
    code = info->si_code;
    child_status = info->si_status;
}
int main(void) {
    handle(SIGCHLD, on_chld, SA_RESTART);
    pid_t pid = fork();
    if (pid == 0)
        _exit(5);
    while (!chld)
        sleep_ms(1);
    printf("code exited %d status %d\n", code == CLD_EXITED, child_status);
    int status;
    R(waitpid(pid, &status, 0) == pid);
    pid = fork();
    if (pid == 0)
        for (;;)
            pause();
    R(kill(pid, SIGSTOP));
    R(waitpid(pid, &status, WUNTRACED) == pid);
    printf("stopped %d by %d\n", WIFSTOPPED(status), WSTOPSIG(status));
    R(kill(pid, SIGCONT));
    R(waitpid(pid, &status, WCONTINUED) == pid);
    R(WIFCONTINUED(status) != 0);
    R(kill(pid, SIGTERM));
    R(waitpid(pid, &status, 0) == pid);
    printf("killed %d by %d\n", WIFSIGNALED(status), WTERMSIG(status));
    R(kill(pid, 0));
    pid = fork();
    if (pid == 0) {
        setpgid(0, 0);
        for (;;)
            pause();
    }
    setpgid(pid, pid);
    R(getpgid(pid) == pid);
    R(kill(-pid, SIGINT));
    R(waitpid(-pid, &status, 0) == pid);
    R(WTERMSIG(status));
    // The parent's death is the child's new parent.
    R(prctl(PR_SET_CHILD_SUBREAPER, 1));
    int p[2];
    pid_t grandparent = getpid();
    NEED(pipe(p) == 0);
    pid = fork();
    if (pid == 0) {
        if (fork() == 0) {
            read(p[0], &status, 1);
            _exit(getppid() == 1 || getppid() == grandparent ? 9 : 8);
        }
        _exit(0);
    }
    R(waitpid(pid, &status, 0) == pid);
    write(p[1], "g", 1);
    R(wait(&status) > 0); // the grandchild, adopted
    R(WEXITSTATUS(status));
    signal(SIGCHLD, SIG_IGN); // children vanish by themselves
    pid = fork();
    if (pid == 0)
        _exit(0);
    R(waitpid(pid, &status, 0));
    return 0;
}

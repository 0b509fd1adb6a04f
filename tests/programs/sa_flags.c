// SA_NOCLDSTOP, SA_NOCLDWAIT, SA_NODEFER, SA_RESETHAND, and a mask during the handler.
#include "test.h"
static volatile int children, nested, deepest, calls;
static void on_child(int sig) {
    (void)sig;
    children++;
}
static void on_nested(int sig) {
    nested++;
    if (nested > deepest)
        deepest = nested;
    if (++calls < 3)
        raise(sig);
    nested--;
}
static void install(int sig, void (*handler)(int), int flags) {
    struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
    NEED(sigaction(sig, &action, NULL) == 0);
}
static int stop_and_go(void) {
    children = 0;
    pid_t pid = fork();
    if (pid == 0) {
        raise(SIGSTOP);
        for (;;)
            pause();
    }
    int status;
    while (waitpid(pid, &status, WUNTRACED) == -1 && errno == EINTR) {
    }
    YES(WIFSTOPPED(status));
    kill(pid, SIGCONT);
    while (waitpid(pid, &status, WCONTINUED) == -1 && errno == EINTR) {
    }
    YES(WIFCONTINUED(status));
    kill(pid, SIGTERM);
    while (waitpid(pid, &status, 0) == -1 && errno == EINTR) {
    }
    return children;
}
int main(void) {
    install(SIGCHLD, on_child, 0);
    YES(stop_and_go() >= 2);
    install(SIGCHLD, on_child, SA_NOCLDSTOP);
    R(stop_and_go());
    install(SIGCHLD, SIG_DFL, SA_NOCLDWAIT);
    pid_t pid = fork();
    if (pid == 0)
        _exit(5);
    R(waitpid(pid, NULL, 0)); // nothing is kept for anybody
    install(SIGCHLD, SIG_IGN, 0);
    pid = fork();
    if (pid == 0)
        _exit(5);
    R(waitpid(-1, NULL, 0));
    install(SIGUSR1, on_nested, 0);
    raise(SIGUSR1);
    R(calls);
    R(deepest);
    deepest = calls = 0;
    install(SIGUSR1, on_nested, SA_NODEFER);
    raise(SIGUSR1);
    R(deepest);
    install(SIGUSR2, on_nested, (int)SA_RESETHAND);
    struct sigaction now;
    sigaction(SIGUSR2, NULL, &now);
    YES(now.sa_flags & (int)SA_RESETHAND);
    // The second one finds the default action.
    install(SIGCHLD, SIG_DFL, 0);
    pid = fork();
    if (pid == 0) {
        raise(SIGUSR2);
        raise(SIGUSR2);
        _exit(0);
    }
    int status;
    waitpid(pid, &status, 0);
    R(status);
    return 0;
}

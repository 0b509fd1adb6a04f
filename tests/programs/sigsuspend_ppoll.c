// Calls that change the mask only while they wait: the handler runs inside, the old mask is back
// afterwards, and nothing gets lost between.
#include "test.h"
static volatile int count;
static sigset_t during;
static void on_signal(int sig) {
    (void)sig;
    count++;
    sigprocmask(SIG_BLOCK, NULL, &during);
}
static void blocked(const char *when) {
    sigset_t now;
    sigprocmask(SIG_BLOCK, NULL, &now);
    printf("%s: count %d, USR1 blocked %d, USR2 blocked %d\n", when, count,
           sigismember(&now, SIGUSR1), sigismember(&now, SIGUSR2));
}
int main(void) {
    signal(SIGUSR1, on_signal);
    sigset_t both, none, only_two;
    sigemptyset(&none);
    sigemptyset(&both);
    sigaddset(&both, SIGUSR1);
    sigaddset(&both, SIGUSR2);
    sigemptyset(&only_two);
    sigaddset(&only_two, SIGUSR2);
    sigprocmask(SIG_SETMASK, &both, NULL);
    raise(SIGUSR1);
    blocked("pending");
    R(sigsuspend(&only_two));
    blocked("after sigsuspend");
    printf("in the handler: USR1 %d USR2 %d\n", sigismember(&during, SIGUSR1),
           sigismember(&during, SIGUSR2));
    raise(SIGUSR1);
    R(ppoll(NULL, 0, NULL, &none));
    blocked("after ppoll");
    raise(SIGUSR1);
    R(pselect(0, NULL, NULL, NULL, NULL, &none));
    blocked("after pselect");
    // Ready at once: the signal stays pending.
    int ends[2];
    NEED(pipe(ends) == 0 && write(ends[1], "x", 1) == 1);
    raise(SIGUSR1);
    struct pollfd fd = {ends[0], POLLIN, 0};
    struct timespec zero = {0, 0};
    long ready = ppoll(&fd, 1, &zero, &none);
    YES(ready == 1 || (ready == -1 && errno == EINTR));
    sigset_t pending;
    sigpending(&pending);
    YES(sigismember(&pending, SIGUSR1) == (ready == 1));
    sigprocmask(SIG_SETMASK, &none, NULL);
    blocked("at last");
    R(syscall(SYS_rt_sigsuspend, &none, 4));
    R(syscall(SYS_rt_sigsuspend, 8, 8));
    return 0;
}

// Delivery, masks during handlers, SA_NODEFER, SA_RESETHAND, pending sets, order.
#include "test.h"
static volatile int depth, deepest, count;
static void on_signal(int sig) {
    depth++;
    count++;
    if (depth > deepest)
        deepest = depth;
    if (count < 3)
        raise(sig);
    depth--;
}
static char order[100];
static void note(int sig) {
    sprintf(order + strlen(order), "%d ", sig);
}
static void set(int sig, void (*handler)(int), int flags, int also) {
    struct sigaction a = {.sa_handler = handler, .sa_flags = flags};
    sigemptyset(&a.sa_mask);
    if (also)
        sigaddset(&a.sa_mask, also);
    R(sigaction(sig, &a, NULL));
}
int main(void) {
    set(SIGUSR1, on_signal, 0, 0);
    R(raise(SIGUSR1));
    printf("count %d deepest %d\n", count, deepest);
    count = deepest = 0;
    set(SIGUSR1, on_signal, SA_NODEFER, 0);
    R(raise(SIGUSR1));
    printf("count %d deepest %d\n", count, deepest);
    set(SIGUSR2, note, SA_RESETHAND, 0);
    R(raise(SIGUSR2));
    struct sigaction old;
    R(sigaction(SIGUSR2, NULL, &old));
    YES(old.sa_handler == SIG_DFL);
    sigset_t block, pending, before;
    sigfillset(&block);
    R(sigprocmask(SIG_BLOCK, &block, &before));
    set(SIGUSR2, note, 0, 0);
    set(SIGINT, note, 0, 0);
    set(SIGRTMIN, note, 0, 0);
    set(SIGRTMIN + 1, note, 0, 0);
    raise(SIGRTMIN + 1);
    raise(SIGRTMIN);
    raise(SIGUSR2);
    raise(SIGUSR2);
    raise(SIGRTMIN);
    raise(SIGINT);
    R(sigpending(&pending));
    for (int i = 1; i < 65; i++)
        if (sigismember(&pending, i))
            printf("pending %d\n", i);
    order[0] = 0;
    R(sigprocmask(SIG_SETMASK, &before, NULL));
    // The frame of the last delivered runs first.
    printf("order %s\n", order);
    R(sigismember(&block, SIGKILL));
    R(sigprocmask(SIG_BLOCK, &block, NULL));
    R(sigprocmask(SIG_BLOCK, NULL, &before));
    printf("kill blocked %d stop blocked %d\n", sigismember(&before, SIGKILL),
           sigismember(&before, SIGSTOP));
    R(sigaction(SIGKILL, &old, NULL));
    R(sigaction(0, &old, NULL));
    R(sigaction(65, &old, NULL));
    R(sigprocmask(9, &block, NULL));
    R(syscall(SYS_rt_sigprocmask, SIG_BLOCK, &block, NULL, 4));
    R(syscall(SYS_rt_sigaction, SIGUSR1, NULL, NULL, 16));
    R(kill(getpid(), 0));
    R(kill(getpid(), 65));
    R(kill(999999999, 0));
    R(syscall(SYS_tgkill, getpid(), 999999999, SIGUSR1));
    R(syscall(SYS_tgkill, -1, -1, SIGUSR1));
    // Ignoring discards what is pending.
    raise(SIGUSR2);
    signal(SIGUSR2, SIG_IGN);
    R(sigpending(&pending));
    R(sigismember(&pending, SIGUSR2));
    return 0;
}

// Queued signals: who may send what, RLIMIT_SIGPENDING, and what there is beyond it.
#include "test.h"
static long queue(pid_t pid, int sig, int code) {
    siginfo_t info = {.si_code = code};
    return syscall(SYS_rt_sigqueueinfo, pid, sig, &info);
}
static long queue_thread(pid_t tgid, pid_t tid, int sig, int code) {
    siginfo_t info = {.si_code = code};
    return syscall(SYS_rt_tgsigqueueinfo, tgid, tid, sig, &info);
}
static int taken(int sig) {
    sigset_t set;
    struct timespec none = {0, 0};
    sigemptyset(&set);
    sigaddset(&set, sig);
    int count = 0;
    while (sigtimedwait(&set, NULL, &none) == sig)
        count++;
    return count;
}
static void *other_thread(void *arg) {
    // Not the first thread: the process's id is not its own.
    R(queue(getpid(), SIGUSR1, SI_USER));
    R(queue(gettid(), SIGUSR1, SI_USER));
    R(queue_thread(getpid(), getpid(), SIGUSR1, SI_TKILL));
    R(queue_thread(getpid(), gettid(), SIGUSR1, SI_TKILL));
    R(taken(SIGUSR1));
    return arg;
}
int main(void) {
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    pid_t own = getpid(), child = fork();
    if (child == 0) {
        pause();
        _exit(0);
    }
    R(queue(own, SIGUSR1, SI_USER));
    R(queue(own, SIGUSR1, SI_KERNEL));
    R(taken(SIGUSR1));
    for (int code = -7; code <= 1; code++) {
        printf("code %d: ", code);
        R(queue(child, SIGUSR1, code));
    }
    R(queue(child, 0, SI_QUEUE));
    R(queue(child, 65, SI_QUEUE));
    R(queue(999999, 65, SI_QUEUE));
    R(queue(999999, 65, SI_USER));
    R(queue(-1, SIGUSR1, SI_QUEUE));
    R(queue(0, SIGUSR1, SI_QUEUE));
    R(syscall(SYS_rt_sigqueueinfo, 999999, SIGUSR1, (void *)8));
    R(queue_thread(0, own, SIGUSR1, SI_QUEUE));
    R(queue_thread(own, 0, SIGUSR1, SI_QUEUE));
    R(queue_thread(child, own, SIGUSR1, SI_QUEUE));
    R(queue_thread(own, own, 65, SI_QUEUE));
    R(queue_thread(own, own, SIGUSR1, SI_QUEUE));
    R(taken(SIGUSR1));
    // Of a kind nobody knows only with nothing behind the known part.
    union {
        siginfo_t info;
        char bytes[128];
    } odd = {.info = {.si_code = -8}};
    R(syscall(SYS_rt_sigqueueinfo, own, SIGUSR1, &odd));
    odd.bytes[127] = 1;
    R(syscall(SYS_rt_sigqueueinfo, own, SIGUSR1, &odd));
    R(taken(SIGUSR1));
    pthread_t thread;
    pthread_create(&thread, NULL, other_thread, NULL);
    pthread_join(thread, NULL);
    taken(SIGUSR1);
    // kill and its kin.
    R(kill(999999, 65));
    R(kill(own, 65));
    R(kill(-999999, 65));
    R(kill(INT_MIN, 0));
    R(syscall(SYS_tgkill, own, own, 65));
    R(syscall(SYS_tgkill, own, 999999, 65));
    R(syscall(SYS_tgkill, -1, own, 0));
    R(syscall(SYS_tgkill, child, own, 0));
    R(syscall(SYS_tkill, 0, 0));
    R(syscall(SYS_tkill, own, 65));
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    // The limit: sigqueue is refused, kill of a real-time signal loses what it tells.
    struct rlimit limit = {0, 4096};
    setrlimit(RLIMIT_SIGPENDING, &limit);
    R(queue(own, SIGRTMIN, SI_QUEUE));
    R(queue(own, SIGUSR1, SI_QUEUE));
    R(kill(own, SIGRTMIN + 1));
    R(kill(own, SIGRTMIN + 1));
    R(kill(own, SIGUSR2));
    R(syscall(SYS_tkill, own, SIGRTMIN + 2));
    timer_t timer;
    R(timer_create(CLOCK_MONOTONIC, NULL, &timer));
    R(taken(SIGRTMIN));
    R(taken(SIGUSR1));
    R(taken(SIGRTMIN + 1));
    R(taken(SIGUSR2));
    R(taken(SIGRTMIN + 2));
    limit.rlim_cur = 4000;
    setrlimit(RLIMIT_SIGPENDING, &limit);
    R(timer_create(CLOCK_MONOTONIC, NULL, &timer));
    R(queue(own, SIGRTMIN, SI_QUEUE));
    R(queue(own, SIGRTMIN, SI_QUEUE));
    R(taken(SIGRTMIN));
    return 0;
}

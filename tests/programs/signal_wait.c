// sigsuspend, sigwait, sigwaitinfo, sigtimedwait, pause, sigqueue's value, per-thread delivery.
#include "test.h"
static volatile int last;
static volatile pthread_t where;
static void note(int sig) {
    last = sig;
    where = pthread_self();
}
static void *kill_main(void *arg) {
    sleep_ms(20);
    pthread_kill(*(pthread_t *)arg, SIGUSR1);
    return NULL;
}
static void on_info(int sig, siginfo_t *info, void *context) {
    (void)context;
    printf("sig %d code %s value %d self %d\n", sig,
           info->si_code == SI_QUEUE ? "QUEUE" : info->si_code == SI_USER ? "USER"
           : info->si_code == SI_TKILL ? "TKILL" : "other",
           info->si_code == SI_QUEUE ? info->si_value.sival_int : 0, info->si_pid == getpid());
}
static void *wait_here(void *arg) {
    sigset_t *set = arg;
    int sig = 0;
    R(sigwait(set, &sig));
    R(sig);
    return NULL;
}
int main(void) {
    sigset_t set, empty;
    sigemptyset(&empty);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGRTMIN + 2);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGUSR1, note);
    raise(SIGUSR1);
    R(last);
    R(sigsuspend(&empty));
    R(last);
    sigset_t now;
    sigprocmask(SIG_SETMASK, NULL, &now);
    R(sigismember(&now, SIGUSR1));
    pthread_t self = pthread_self(), t;
    last = 0;
    pthread_create(&t, NULL, kill_main, &self);
    R(sigsuspend(&empty));
    R(last);
    YES(where == self);
    pthread_join(t, NULL);
    int sig = 0;
    raise(SIGUSR1);
    R(sigwait(&set, &sig));
    R(sig);
    sigqueue(getpid(), SIGRTMIN + 2, (union sigval){.sival_int = 1234});
    siginfo_t info;
    R(sigwaitinfo(&set, &info));
    printf("value %d code %d\n", info.si_value.sival_int, info.si_code == SI_QUEUE);
    struct timespec timeout = {0, 20000000};
    long start = now_ms();
    R(sigtimedwait(&set, &info, &timeout));
    YES(now_ms() - start >= 19);
    timeout.tv_nsec = 0;
    R(sigtimedwait(&set, &info, &timeout));
    handle(SIGRTMIN + 2, on_info, 0);
    handle(SIGUSR2, on_info, 0);
    sigqueue(getpid(), SIGRTMIN + 2, (union sigval){.sival_int = 55});
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    kill(getpid(), SIGUSR2);
    pthread_kill(pthread_self(), SIGUSR2);
    sigprocmask(SIG_BLOCK, &set, NULL);
    pthread_create(&t, NULL, wait_here, &set);
    sleep_ms(10);
    kill(getpid(), SIGUSR1); // blocked here, waited for there
    pthread_join(t, NULL);
    pthread_create(&t, NULL, kill_main, &self);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    last = 0;
    if (!last)
        R(pause());
    R(last);
    pthread_join(t, NULL);
    return 0;
}

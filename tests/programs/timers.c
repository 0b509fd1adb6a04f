// alarm, setitimer, timer_create by signal and by thread id, overruns, getitimer.
#include "test.h"
static volatile int count, value;
static void on_alarm(int sig, siginfo_t *info, void *context) {
    (void)sig, (void)context;
    count++;
    if (info->si_code == SI_TIMER)
        value = info->si_value.sival_int;
}
int main(void) {
    handle(SIGALRM, on_alarm, 0);
    handle(SIGRTMIN, on_alarm, 0);
    R(alarm(100));
    R(alarm(0));
    R(alarm(0));
    struct itimerval t = {{0, 0}, {0, 20000}}, now;
    long start = now_ms();
    R(setitimer(ITIMER_REAL, &t, NULL));
    R(pause());
    YES(now_ms() - start >= 19);
    R(count);
    R(getitimer(ITIMER_REAL, &now));
    printf("%ld %ld\n", (long)now.it_value.tv_sec, (long)now.it_value.tv_usec);
    t.it_value.tv_usec = 1000000;
    R(setitimer(ITIMER_REAL, &t, NULL));
    R(setitimer(9, &t, NULL));
    timer_t timer;
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN};
    event.sigev_value.sival_int = 42;
    R(timer_create(CLOCK_MONOTONIC, &event, &timer));
    struct itimerspec s = {{0, 10000000}, {0, 10000000}}, old;
    count = 0;
    R(timer_settime(timer, 0, &s, NULL));
    while (count < 3)
        pause();
    R(value);
    R(timer_gettime(timer, &old));
    YES(old.it_interval.tv_nsec == 10000000);
    YES(timer_getoverrun(timer) >= 0);
    R(timer_delete(timer));
    R(timer_delete(timer));
    // Blocked for a while: one signal, with overruns.
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN);
    sigprocmask(SIG_BLOCK, &set, NULL);
    R(timer_create(CLOCK_REALTIME, &event, &timer));
    R(timer_settime(timer, 0, &s, NULL));
    sleep_ms(55);
    siginfo_t info;
    R(sigwaitinfo(&set, &info) == SIGRTMIN);
    YES(info.si_overrun >= 3);
    R(timer_delete(timer));
    event.sigev_notify = SIGEV_NONE;
    R(timer_create(CLOCK_MONOTONIC, &event, &timer));
    s = (struct itimerspec){{0, 0}, {100, 0}};
    R(timer_settime(timer, 0, &s, NULL));
    R(timer_gettime(timer, &old));
    YES(old.it_value.tv_sec >= 99);
    R(timer_create(99, &event, &timer));
    return 0;
}

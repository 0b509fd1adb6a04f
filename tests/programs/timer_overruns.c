// Overruns: of timers whose time is past, of ones whose signal is blocked; errors of timers and clocks.
#include "test.h"
#include <sys/timerfd.h>
#include <sys/timex.h>
static timer_t make(clockid_t clock, int notify) {
    struct sigevent event = {.sigev_notify = notify, .sigev_signo = SIGRTMIN};
    timer_t timer;
    NEED(timer_create(clock, &event, &timer) == 0);
    return timer;
}
static int take(siginfo_t *info) {
    sigset_t set;
    struct timespec timeout = {0, 200000000};
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN);
    return sigtimedwait(&set, info, &timeout) == SIGRTMIN;
}
// A timer set to a time `ago` seconds back, with an interval.
static void past(clockid_t clock, long ago, long interval_ns, int low, int high) {
    timer_t timer = make(clock, SIGEV_SIGNAL);
    struct timespec now;
    clock_gettime(clock, &now);
    struct itimerspec spec = {.it_value = {ago ? now.tv_sec - ago : 0, ago ? now.tv_nsec : 1},
                              .it_interval = {interval_ns / 1000000000, interval_ns % 1000000000}};
    NEED(timer_settime(timer, TIMER_ABSTIME, &spec, NULL) == 0);
    siginfo_t info = {0};
    R(take(&info));
    int missed = timer_getoverrun(timer);
    printf("%d to %d: %s\n", low, high, missed >= low && missed <= high ? "yes" : "no");
    YES(info.si_overrun == missed);
    timer_delete(timer);
}
int main(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN);
    sigprocmask(SIG_BLOCK, &set, NULL);
    past(CLOCK_REALTIME, 1000, 1000000000, 1000, 1002);
    past(CLOCK_REALTIME, 10, 1, INT_MAX, INT_MAX);
    past(CLOCK_REALTIME, 0, 1000000000, 1500000000, INT_MAX);
    past(CLOCK_MONOTONIC, 0, 1, 1000000, INT_MAX);
    past(CLOCK_PROCESS_CPUTIME_ID, 0, 1000, 1, INT_MAX);
    // One signal for all that happens while it waits; then the timer goes on.
    timer_t timer = make(CLOCK_MONOTONIC, SIGEV_SIGNAL);
    struct itimerspec spec = {{0, 1000000}, {0, 1000000}}, left;
    timer_settime(timer, 0, &spec, NULL);
    sleep_ms(50);
    R(timer_getoverrun(timer));
    timer_gettime(timer, &left);
    YES(left.it_value.tv_nsec > 0 && left.it_value.tv_nsec <= 1000000);
    siginfo_t info;
    R(take(&info));
    YES(timer_getoverrun(timer) >= 48);
    R(take(&info));
    // Set anew or deleted, it does not send the signal that waits.
    sleep_ms(5);
    spec = (struct itimerspec){{0, 0}, {0, 0}};
    timer_settime(timer, 0, &spec, NULL);
    R(take(&info));
    R(timer_getoverrun(timer));
    timer_gettime(timer, &left);
    R(left.it_interval.tv_nsec);
    timer_delete(timer);
    R(timer_delete(timer));
    R(timer_getoverrun(timer));
    // One that tells nobody counts on.
    timer = make(CLOCK_MONOTONIC, SIGEV_NONE);
    spec = (struct itimerspec){{0, 10000000}, {0, 1000000}};
    timer_settime(timer, 0, &spec, NULL);
    sleep_ms(15);
    timer_gettime(timer, &left);
    YES(left.it_value.tv_nsec > 0 && left.it_value.tv_nsec <= 10000000);
    spec = (struct itimerspec){{0, 0}, {0, 1}};
    timer_settime(timer, 0, &spec, NULL);
    sleep_ms(1);
    timer_gettime(timer, &left);
    R(left.it_value.tv_nsec);
    timer_delete(timer);
    // Files that are timers.
    int fd = timerfd_create(CLOCK_REALTIME, 0);
    spec = (struct itimerspec){.it_value = {1, 0}, .it_interval = {1, 0}};
    R(timerfd_settime(fd, TFD_TIMER_ABSTIME, &spec, NULL));
    uint64_t expiries = 0;
    R(read(fd, &expiries, sizeof expiries));
    YES(expiries > 1500000000 && expiries < 10000000000);
    R(timerfd_settime(fd, 4, &spec, NULL));
    R(timerfd_settime(fd, 4, (void *)8, NULL));
    R(timerfd_settime(0, 0, &spec, NULL));
    R(timerfd_settime(-1, 4, &spec, NULL));
    R(timerfd_settime(-1, 0, &spec, NULL));
    R(timerfd_gettime(fd, (void *)8));
    int path = open("/", O_PATH);
    R(timerfd_settime(path, 0, &spec, NULL));
    R(timerfd_gettime(path, &spec));
    // What can't be.
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = 65};
    R(timer_create(CLOCK_MONOTONIC, &event, &timer));
    event.sigev_signo = 0;
    R(timer_create(CLOCK_MONOTONIC, &event, &timer));
    event = (struct sigevent){.sigev_notify = 8, .sigev_signo = 10};
    R(timer_create(CLOCK_MONOTONIC, &event, &timer));
    R(timer_create(CLOCK_MONOTONIC_RAW, NULL, &timer));
    R(timer_create(CLOCK_MONOTONIC_COARSE, NULL, &timer));
    R(timer_create(10, NULL, &timer));
    R(syscall(SYS_timer_create, 99, (void *)8, &timer));
    R(syscall(SYS_timer_create, CLOCK_MONOTONIC, NULL, (void *)8));
    R(syscall(SYS_timer_settime, 12345, 0, NULL, NULL));
    R(syscall(SYS_timer_settime, 12345, 0, (void *)8, NULL));
    R(syscall(SYS_timer_settime, 12345, 0, &spec, NULL));
    struct timespec odd = {0, 1000000000}, now;
    R(syscall(SYS_clock_settime, CLOCK_MONOTONIC, (void *)8));
    R(syscall(SYS_clock_settime, CLOCK_REALTIME, (void *)8));
    R(syscall(SYS_clock_settime, CLOCK_REALTIME, &odd));
    odd = (struct timespec){0, 0};
    R(syscall(SYS_clock_settime, CLOCK_REALTIME, &odd));
    R(syscall(SYS_clock_settime, -6, &odd));
    R(syscall(SYS_clock_settime, CLOCK_PROCESS_CPUTIME_ID, &odd));
    R(syscall(SYS_clock_gettime, 99, (void *)8));
    R(syscall(SYS_clock_gettime, -1, &now));
    R(syscall(SYS_clock_gettime, ~getpid() << 3 | 2, &now));
    odd = (struct timespec){-1, 0};
    R(syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &odd, NULL));
    R(syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 99, &odd, NULL));
    R(syscall(SYS_clock_nanosleep, 99, 0, (void *)8, NULL));
    R(syscall(SYS_clock_nanosleep, CLOCK_THREAD_CPUTIME_ID, 0, (void *)8, NULL));
    odd.tv_sec = 0;
    R(syscall(SYS_clock_nanosleep, -2, 0, &odd, NULL));
    R(syscall(SYS_nanosleep, (void *)8, NULL));
    struct timex values = {.modes = 0};
    YES(adjtimex(&values) >= 0);
    YES(values.tick == 10000 && values.time.tv_sec > 1700000000);
    values.modes = 0;
    R(clock_adjtime(CLOCK_MONOTONIC, &values));
    R(clock_adjtime(99, &values));
    R(syscall(SYS_clock_adjtime, 99, (void *)8));
    R(syscall(SYS_settimeofday, (void *)8, NULL));
    R(syscall(SYS_settimeofday, NULL, (void *)8));
    int zone[2] = {901, 0};
    R(syscall(SYS_settimeofday, NULL, zone));
    struct timeval bad[2] = {{0, 0}, {0, 1000000}};
    R(syscall(SYS_settimeofday, &bad[1], NULL));
    R(syscall(SYS_setitimer, 3, bad, NULL));
    R(syscall(SYS_setitimer, 3, (void *)8, NULL));
    R(syscall(SYS_setitimer, 0, bad, NULL));
    R(syscall(SYS_getitimer, 3, (void *)8));
    R(syscall(SYS_getitimer, 0, (void *)8));
    return 0;
}

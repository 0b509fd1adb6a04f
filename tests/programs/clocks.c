// Clocks move forward, sleeps last at least as asked, the realtime clock is plausible.
#include "test.h"
#include <sys/times.h>
static long long ns(clockid_t clock) {
    struct timespec t;
    if (clock_gettime(clock, &t))
        return -1;
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}
int main(void) {
    clockid_t clocks[] = {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_PROCESS_CPUTIME_ID,
                          CLOCK_THREAD_CPUTIME_ID, CLOCK_MONOTONIC_RAW, CLOCK_REALTIME_COARSE,
                          CLOCK_MONOTONIC_COARSE, CLOCK_BOOTTIME, CLOCK_TAI};
    for (int i = 0; i < 9; i++) {
        int backwards = 0;
        long long last = ns(clocks[i]);
        for (int j = 0; j < 2000; j++) {
            long long now = ns(clocks[i]);
            backwards += now < last;
            last = now;
        }
        struct timespec r;
        printf("clock %d reads %d backwards %d resolution %d\n", clocks[i], last >= 0, backwards,
               clock_getres(clocks[i], &r) == 0 && r.tv_sec == 0 && r.tv_nsec > 0);
    }
    R(clock_gettime(99, &(struct timespec){0}));
    R(clock_getres(99, NULL));
    YES(ns(CLOCK_REALTIME) / 1000000000 > 1700000000);
    struct timeval tv;
    R(gettimeofday(&tv, NULL));
    YES(llabs(tv.tv_sec - ns(CLOCK_REALTIME) / 1000000000) <= 1);
    YES(llabs(time(NULL) - tv.tv_sec) <= 1);
    // The vDSO and the system call agree.
    struct timespec a, b;
    syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &a);
    clock_gettime(CLOCK_MONOTONIC, &b);
    YES(b.tv_sec > a.tv_sec || (b.tv_sec == a.tv_sec && b.tv_nsec >= a.tv_nsec));
    YES(b.tv_sec - a.tv_sec <= 1);
    long long start = ns(CLOCK_MONOTONIC);
    struct timespec t = {0, 15000000};
    R(nanosleep(&t, NULL));
    YES(ns(CLOCK_MONOTONIC) - start >= 15000000);
    start = ns(CLOCK_MONOTONIC);
    R(clock_nanosleep(CLOCK_MONOTONIC, 0, &t, NULL));
    YES(ns(CLOCK_MONOTONIC) - start >= 15000000);
    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_sec += (t.tv_nsec + 20000000) / 1000000000;
    t.tv_nsec = (t.tv_nsec + 20000000) % 1000000000;
    R(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL));
    YES(ns(CLOCK_MONOTONIC) >= t.tv_sec * 1000000000LL + t.tv_nsec);
    t.tv_sec = 0;
    R(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL)); // long past
    t.tv_nsec = 1000000000;
    R(nanosleep(&t, NULL));
    t.tv_nsec = 0;
    t.tv_sec = -1;
    R(nanosleep(&t, NULL));
    R(syscall(SYS_nanosleep, (void *)8, NULL));
    // A sleeping process uses no processor time, a spinning one does.
    long long cpu = ns(CLOCK_PROCESS_CPUTIME_ID);
    sleep_ms(60);
    YES(ns(CLOCK_PROCESS_CPUTIME_ID) - cpu < 50000000);
    cpu = ns(CLOCK_THREAD_CPUTIME_ID);
    start = ns(CLOCK_MONOTONIC);
    while (ns(CLOCK_THREAD_CPUTIME_ID) - cpu < 20000000 && ns(CLOCK_MONOTONIC) - start < 5000000000) {
    }
    YES(ns(CLOCK_THREAD_CPUTIME_ID) - cpu >= 20000000);
    struct tms tms;
    YES(times(&tms) > 0);
    YES(clock() > 0);
    R(sysconf(_SC_CLK_TCK));
    return 0;
}

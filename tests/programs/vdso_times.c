// The clocks of the vDSO and of the system calls are one: interleaved, they never go backwards.
#include "test.h"
static long long raw(clockid_t clock) {
    struct timespec t;
    NEED(syscall(SYS_clock_gettime, clock, &t) == 0);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}
static long long fast(clockid_t clock) {
    struct timespec t;
    NEED(clock_gettime(clock, &t) == 0);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}
int main(void) {
    clockid_t clocks[] = {CLOCK_MONOTONIC, CLOCK_BOOTTIME, CLOCK_MONOTONIC_RAW};
    for (int c = 0; c < 3; c++) {
        long long last = 0;
        int backwards = 0;
        for (int i = 0; i < 2000; i++) {
            long long now = i % 2 ? raw(clocks[c]) : fast(clocks[c]);
            backwards += now < last;
            last = now;
        }
        printf("clock %d went backwards %d times\n", clocks[c], backwards);
    }
    YES(fast(CLOCK_MONOTONIC_COARSE) <= fast(CLOCK_MONOTONIC));
    YES(fast(CLOCK_REALTIME) / 1000000000 > 1700000000);
    long long a = fast(CLOCK_REALTIME), b = raw(CLOCK_REALTIME);
    YES(b - a > -50000000 && b - a < 2000000000);
    struct timeval tv;
    gettimeofday(&tv, NULL);
    time_t now = time(NULL);
    YES(now - tv.tv_sec >= -1 && now - tv.tv_sec <= 2);
    struct timespec res;
    R(clock_getres(CLOCK_MONOTONIC, &res));
    printf("%ld %ld\n", (long)res.tv_sec, res.tv_nsec);
    R(clock_getres(CLOCK_MONOTONIC, NULL));
    R(clock_gettime(99, &res));
    R(clock_getres(99, &res));
    R(syscall(SYS_clock_gettime, CLOCK_MONOTONIC, NULL));
    return 0;
}

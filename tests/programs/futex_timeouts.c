// Time limits of futex waits: relative, absolute by either clock, in the past, malformed.
#include "test.h"
#include <linux/futex.h>
static uint32_t word;
static long wait_for(int op, struct timespec *t) {
    return syscall(SYS_futex, &word, op, 0, t, NULL, 1);
}
static struct timespec in(clockid_t clock, long ms) {
    struct timespec t;
    clock_gettime(clock, &t);
    t.tv_nsec += ms * 1000000;
    while (t.tv_nsec >= 1000000000)
        t.tv_sec++, t.tv_nsec -= 1000000000;
    while (t.tv_nsec < 0)
        t.tv_sec--, t.tv_nsec += 1000000000;
    return t;
}
int main(void) {
    struct timespec t = {0, 30000000};
    long start = now_ms();
    R(wait_for(FUTEX_WAIT, &t));
    YES(now_ms() - start >= 29);
    start = now_ms();
    t = in(CLOCK_MONOTONIC, 30);
    R(wait_for(FUTEX_WAIT_BITSET, &t));
    YES(now_ms() - start >= 29);
    start = now_ms();
    t = in(CLOCK_REALTIME, 30);
    R(wait_for(FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME, &t));
    YES(now_ms() - start >= 28);
    t = in(CLOCK_MONOTONIC, -50);
    R(wait_for(FUTEX_WAIT_BITSET, &t));
    t = (struct timespec){0, 0};
    R(wait_for(FUTEX_WAIT, &t));
    R(wait_for(FUTEX_WAIT_BITSET, &t));
    // A value that is not there any more comes before the time.
    word = 1;
    R(wait_for(FUTEX_WAIT, &t));
    word = 0;
    t = (struct timespec){-1, 0};
    R(wait_for(FUTEX_WAIT, &t));
    t = (struct timespec){0, 1000000000};
    R(wait_for(FUTEX_WAIT, &t));
    R(wait_for(FUTEX_WAIT, (struct timespec *)8));
    t = (struct timespec){0, 1000};
    R(wait_for(FUTEX_WAKE | FUTEX_CLOCK_REALTIME, &t));
    return 0;
}

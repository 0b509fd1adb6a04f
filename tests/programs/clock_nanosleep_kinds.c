// clock_nanosleep: relative and absolute on each clock, interrupted with and without the rest,
// restarted after a stop.
#include "test.h"
static volatile int signals;
static void on_signal(int sig) {
    (void)sig;
    signals++;
}
static void in_a_while(long ms) {
    struct itimerval t = {{0, 0}, {0, ms * 1000}};
    setitimer(ITIMER_REAL, &t, NULL);
}
#define E(call) printf("%s = %s\n", #call, (error = call) ? errno_name(error) : "0")
int main(void) {
    int error;
    struct timespec t = {0, 20000000}, rest = {77, 77};
    long start = now_ms();
    E(clock_nanosleep(CLOCK_MONOTONIC, 0, &t, &rest));
    YES(now_ms() - start >= 19);
    printf("rest %ld\n", (long)rest.tv_sec);
    clock_gettime(CLOCK_REALTIME, &t);
    E(clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &t, NULL));
    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_sec -= 5;
    if (t.tv_sec < 0)
        t.tv_sec = 0;
    E(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL));
    t = (struct timespec){0, 1000000};
    E(clock_nanosleep(CLOCK_BOOTTIME, 0, &t, NULL));
    signal(SIGALRM, on_signal);
    t = (struct timespec){100, 0};
    in_a_while(20);
    E(clock_nanosleep(CLOCK_MONOTONIC, 0, &t, &rest));
    YES(rest.tv_sec >= 90 && rest.tv_sec <= 99);
    R(signals);
    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_sec += 100;
    rest = (struct timespec){77, 77};
    in_a_while(20);
    E(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, &rest));
    printf("rest untouched: %d\n", rest.tv_sec == 77);
    // An ignored signal does not end a sleep.
    signal(SIGALRM, SIG_IGN);
    in_a_while(5);
    start = now_ms();
    t = (struct timespec){0, 60000000};
    E(clock_nanosleep(CLOCK_MONOTONIC, 0, &t, &rest));
    YES(now_ms() - start >= 59);
    E(clock_nanosleep(CLOCK_THREAD_CPUTIME_ID, 0, &t, NULL));
    E(clock_nanosleep(CLOCK_MONOTONIC_RAW, 0, &t, NULL));
    E(clock_nanosleep(99, 0, &t, NULL));
    t.tv_nsec = 1000000000;
    E(clock_nanosleep(CLOCK_MONOTONIC, 0, &t, NULL));
    E(clock_nanosleep(CLOCK_MONOTONIC, 0, (struct timespec *)8, NULL));
    return 0;
}

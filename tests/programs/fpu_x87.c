// The x87 stack, tag and status words survive preemption, system calls and signal handlers.
#include "test.h"
static volatile int signals, bad, stop;
static void on_signal(int sig) {
    (void)sig;
    // A handler starts with a clean x87 and may leave anything in it.
    long double x = signals + 0.5L;
    for (int i = 0; i < 20; i++)
        x = x * 1.25L - 0.125L;
    __asm__ volatile("fldpi\n\tfldpi\n\tfldpi" ::: "st", "st(1)", "st(2)");
    if (x == 123)
        bad = 1;
    signals++;
}
static void *load(void *arg) {
    while (!stop) {
        __asm__ volatile("fninit\n\tfld1\n\tfldl2e\n\tfldz" ::: "memory", "st", "st(1)", "st(2)");
        sched_yield();
    }
    return arg;
}
int main(void) {
    pthread_t other;
    NEED(pthread_create(&other, NULL, load, NULL) == 0);
    signal(SIGALRM, on_signal);
    struct itimerval soon = {{0, 3000}, {0, 3000}};
    setitimer(ITIMER_REAL, &soon, NULL);
    for (int round = 0; signals < 15 && round < 2000000; round++) {
        double values[4];
        unsigned short status;
        __asm__ volatile("fninit\n\tfld1\n\tfldpi\n\tfldlg2\n\tfldln2" ::
                             : "st", "st(1)", "st(2)", "st(3)");
        if (round % 64 == 0)
            __asm__ volatile("syscall" : : "a"(SYS_sched_yield) : "rcx", "r11", "memory");
        for (volatile int i = 0; i < 500; i++) {
        }
        __asm__ volatile("fnstsw %0" : "=m"(status));
        __asm__ volatile("fstpl %0\n\tfstpl %1\n\tfstpl %2\n\tfstpl %3"
                         : "=m"(values[0]), "=m"(values[1]), "=m"(values[2]), "=m"(values[3]));
        bad |= ((status >> 11) & 7) != 4; // four values: the top is at 4
        bad |= values[3] != 1 || values[2] < 3.14159 || values[2] > 3.1416 || values[0] > 0.6932;
    }
    setitimer(ITIMER_REAL, &(struct itimerval){0}, NULL);
    stop = 1;
    pthread_join(other, NULL);
    printf("mixed up: %d, signals: %s\n", bad, signals >= 15 ? "enough" : "too few");
    return 0;
}

// A timer's signal reaches a thread that spins without system calls.
#include "test.h"
static volatile int ticks;
static void on_alarm(int sig) {
    (void)sig;
    ticks++;
}
int main(void) {
    signal(SIGALRM, on_alarm);
    struct itimerval t = {{0, 5000}, {0, 5000}};
    R(setitimer(ITIMER_REAL, &t, NULL));
    while (ticks < 5) {
    }
    puts("five ticks while spinning");
    t = (struct itimerval){{0, 0}, {0, 0}};
    R(setitimer(ITIMER_REAL, &t, NULL));
    signal(SIGPROF, on_alarm);
    ticks = 0;
    t = (struct itimerval){{0, 5000}, {0, 5000}};
    R(setitimer(ITIMER_PROF, &t, NULL));
    while (ticks < 3) {
    }
    puts("three profile ticks");
    return 0;
}

// setitimer: intervals repeat, old values come back, exec and fork; CPU timers count the program's
// time only.
#include "test.h"
static volatile int alarms, virtuals, profs;
static void on_signal(int sig) {
    if (sig == SIGALRM)
        alarms++;
    if (sig == SIGVTALRM)
        virtuals++;
    if (sig == SIGPROF)
        profs++;
}
static volatile unsigned long burnt;
int main(void) {
    signal(SIGALRM, on_signal);
    signal(SIGVTALRM, on_signal);
    signal(SIGPROF, on_signal);
    struct itimerval t = {{0, 5000}, {0, 5000}}, old;
    R(setitimer(ITIMER_REAL, &t, NULL));
    while (alarms < 3)
        pause();
    t = (struct itimerval){{0, 0}, {0, 0}};
    R(setitimer(ITIMER_REAL, &t, &old));
    printf("interval %ld %ld\n", (long)old.it_interval.tv_sec, (long)old.it_interval.tv_usec);
    t = (struct itimerval){{0, 0}, {3600, 0}};
    R(setitimer(ITIMER_REAL, &t, NULL));
    pid_t pid = fork();
    if (pid == 0) { // a child has none
        getitimer(ITIMER_REAL, &old);
        _exit(old.it_value.tv_sec == 0 && old.it_value.tv_usec == 0 ? 0 : 1);
    }
    int status;
    waitpid(pid, &status, 0);
    R(status);
    R(getitimer(ITIMER_REAL, &old));
    YES(old.it_value.tv_sec >= 3590);
    R(alarm(0) > 3500);
    // Sleeping costs no CPU time, counting does.
    t = (struct itimerval){{0, 0}, {0, 60000}};
    R(setitimer(ITIMER_VIRTUAL, &t, NULL));
    R(setitimer(ITIMER_PROF, &t, NULL));
    sleep_ms(150);
    printf("after sleeping: %d %d\n", virtuals, profs);
    while (!virtuals || !profs)
        for (int i = 0; i < 100000; i++)
            burnt += (unsigned long)i;
    printf("after counting: %d %d\n", virtuals, profs);
    t.it_value.tv_usec = -1;
    R(setitimer(ITIMER_REAL, &t, NULL));
    R(setitimer(3, NULL, NULL));
    R(getitimer(3, &old));
    R(getitimer(ITIMER_REAL, (struct itimerval *)8));
    return 0;
}

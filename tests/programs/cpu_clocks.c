// CPU clocks: they stand still while one sleeps, go on while one counts, and those of threads and
// children are told apart.
#include "test.h"
#include <sys/times.h>
static long cpu(clockid_t clock) {
    struct timespec t;
    NEED(clock_gettime(clock, &t) == 0);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}
static volatile unsigned long sum;
static void burn(clockid_t clock, long ms) {
    for (long end = cpu(clock) + ms; cpu(clock) < end;)
        for (int i = 0; i < 20000; i++)
            sum += (unsigned long)i;
}
static void *work(void *arg) {
    long before = cpu(CLOCK_THREAD_CPUTIME_ID);
    burn(CLOCK_THREAD_CPUTIME_ID, 40);
    *(long *)arg = cpu(CLOCK_THREAD_CPUTIME_ID) - before;
    return NULL;
}
int main(void) {
    long start = cpu(CLOCK_PROCESS_CPUTIME_ID);
    sleep_ms(120);
    YES(cpu(CLOCK_PROCESS_CPUTIME_ID) - start < 60);
    burn(CLOCK_PROCESS_CPUTIME_ID, 30);
    YES(cpu(CLOCK_PROCESS_CPUTIME_ID) - start >= 30);
    long mine = cpu(CLOCK_THREAD_CPUTIME_ID), its = 0;
    pthread_t thread;
    pthread_create(&thread, NULL, work, &its);
    clockid_t clock;
    R(pthread_getcpuclockid(thread, &clock));
    pthread_join(thread, NULL);
    YES(its >= 40);
    YES(cpu(CLOCK_THREAD_CPUTIME_ID) - mine < 40);
    YES(cpu(CLOCK_PROCESS_CPUTIME_ID) - start >= 70);
    struct rusage self, children;
    getrusage(RUSAGE_SELF, &self);
    getrusage(RUSAGE_CHILDREN, &children);
    YES(self.ru_utime.tv_sec * 1000 + self.ru_utime.tv_usec / 1000 + self.ru_stime.tv_sec * 1000 +
            self.ru_stime.tv_usec / 1000 >= 60);
    R(children.ru_utime.tv_sec);
    pid_t pid = fork();
    if (pid == 0) {
        int fresh = cpu(CLOCK_PROCESS_CPUTIME_ID) < 60;
        burn(CLOCK_PROCESS_CPUTIME_ID, 60);
        _exit(fresh);
    }
    R(clock_getcpuclockid(pid, &clock));
    int status;
    waitpid(pid, &status, 0);
    R(WEXITSTATUS(status));
    struct tms t;
    YES(times(&t) != (clock_t)-1 && t.tms_cutime + t.tms_cstime >= 4);
    return 0;
}

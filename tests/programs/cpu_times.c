// User and system time, told apart and adding up; RLIMIT_CPU; the two interval timers of CPU time.
#include "test.h"
#include <sys/times.h>
static long us(struct timeval t) {
    return t.tv_sec * 1000000 + t.tv_usec;
}
static long cpu_us(void) {
    struct timespec t;
    NEED(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t) == 0);
    return t.tv_sec * 1000000 + t.tv_nsec / 1000;
}
static volatile unsigned long sum;
static void compute(long ms) {
    for (long end = cpu_us() + ms * 1000; cpu_us() < end;)
        for (int i = 0; i < 2000000; i++)
            sum += (unsigned long)i;
}
static void call(long ms) {
    static char page[1 << 16];
    int zero = open("/dev/zero", O_RDONLY);
    for (long end = cpu_us() + ms * 1000; cpu_us() < end;)
        for (int i = 0; i < 20; i++)
            NEED(read(zero, page, sizeof page) == sizeof page);
    close(zero);
}
static volatile int exceeded, virtual, profiled;
static void on_signal(int signal) {
    *(signal == SIGXCPU ? &exceeded : signal == SIGPROF ? &profiled : &virtual) += 1;
    if (signal == SIGXCPU)
        NEED(write(1, "XCPU\n", 5) == 5);
}
static void *work(void *arg) {
    struct rusage own;
    compute(60);
    getrusage(RUSAGE_THREAD, &own);
    *(long *)arg = us(own.ru_utime) + us(own.ru_stime);
    return NULL;
}
int main(void) {
    setbuf(stdout, NULL);
    struct rusage a, b;
    getrusage(RUSAGE_SELF, &a);
    compute(80);
    getrusage(RUSAGE_SELF, &b);
    long user = us(b.ru_utime) - us(a.ru_utime), system = us(b.ru_stime) - us(a.ru_stime);
    YES(user > 4 * system);
    call(80);
    long total = cpu_us();
    getrusage(RUSAGE_SELF, &a);
    system = us(a.ru_stime) - us(b.ru_stime);
    YES(system > 0);
    YES(us(a.ru_stime) <= total + 20000);
    long sum_us = us(a.ru_utime) + us(a.ru_stime);
    YES(sum_us > total - 20000 && sum_us < total + 20000);
    long its = 0;
    pthread_t thread;
    getrusage(RUSAGE_THREAD, &a);
    pthread_create(&thread, NULL, work, &its);
    pthread_join(thread, NULL);
    getrusage(RUSAGE_THREAD, &b);
    YES(its > 40000);
    YES(us(b.ru_utime) - us(a.ru_utime) < 40000);
    pid_t pid = fork();
    if (pid == 0) {
        struct rlimit limit = {1, 2};
        signal(SIGXCPU, on_signal);
        R(setrlimit(RLIMIT_CPU, &limit));
        for (;;)
            compute(100);
    }
    int status;
    NEED(wait4(pid, &status, 0, &a) == pid);
    YES(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    getrusage(RUSAGE_CHILDREN, &b);
    YES(us(a.ru_utime) == us(b.ru_utime) && us(a.ru_stime) == us(b.ru_stime));
    YES(us(b.ru_utime) > 1500000);
    struct tms t;
    YES(times(&t) != (clock_t)-1 && t.tms_cutime > 150 && t.tms_utime > 0);
    signal(SIGVTALRM, on_signal);
    signal(SIGPROF, on_signal);
    struct itimerval once = {.it_value = {0, 30000}};
    R(setitimer(ITIMER_VIRTUAL, &once, NULL));
    R(setitimer(ITIMER_PROF, &once, NULL));
    sleep_ms(60);
    R(virtual + profiled);
    compute(120);
    R(virtual);
    R(profiled);
    return 0;
}

// `late NAME`: how late a timer or signal comes to a program; prints the median and the 99th
// percentile in microseconds.
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define COUNT 400

typedef long long ns;

static ns lateness[COUNT];
static atomic_int seen;
static atomic_int over;
static _Atomic ns due;

static void need(int ok, const char *what) {
    if (!ok) {
        perror(what);
        exit(1);
    }
}

static ns now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static struct timespec at(ns moment) {
    return (struct timespec){moment / 1000000000, moment % 1000000000};
}

// Between the moments: 0.3 to 3.3 ms, no two the same.
static ns step(int i) {
    return 300000 + (ns)i * 7919 % 3000 * 1000;
}

static void *compute(void *arg) {
    while (!atomic_load(&over))
        ;
    return arg;
}

static void record(int signal) {
    (void)signal;
    int i = atomic_load(&seen);
    if (i < COUNT)
        lateness[i] = now() - atomic_load(&due);
    atomic_store(&seen, i + 1);
}

// clock_nanosleep to a moment.
static void sleeper(void) {
    for (int i = 0; i < COUNT; i++) {
        atomic_store(&due, now() + step(i));
        struct timespec moment = at(atomic_load(&due));
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &moment, NULL);
        record(0);
    }
}

static void sleeper_beside(void) {
    pthread_t thread;
    need(pthread_create(&thread, NULL, compute, NULL) == 0, "pthread_create");
    sleeper();
    atomic_store(&over, 1);
    pthread_join(thread, NULL);
}

// A timer's signal, to this thread, which computes meanwhile.
static void timer(void) {
    timer_t id;
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
    signal(SIGUSR1, record);
    need(timer_create(CLOCK_MONOTONIC, &event, &id) == 0, "timer_create");
    for (int i = 0; i < COUNT; i++) {
        atomic_store(&due, now() + step(i));
        struct itimerspec setting = {.it_value = at(atomic_load(&due))};
        need(timer_settime(id, TIMER_ABSTIME, &setting, NULL) == 0, "timer_settime");
        while (atomic_load(&seen) == i)
            ;
    }
}

// An interval timer, against the moments it promises.
static void interval(void) {
    timer_t id;
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
    signal(SIGUSR1, record);
    need(timer_create(CLOCK_MONOTONIC, &event, &id) == 0, "timer_create");
    ns first = now() + 1000000, period = 1300000;
    struct itimerspec setting = {.it_value = at(first), .it_interval = at(period)};
    atomic_store(&due, 0);
    need(timer_settime(id, TIMER_ABSTIME, &setting, NULL) == 0, "timer_settime");
    while (atomic_load(&seen) < COUNT)
        ;
    for (int i = 0; i < COUNT; i++)
        lateness[i] = (lateness[i] - first) % period;
}

// setitimer of 20 us, set again at each signal: between the signals.
static void rearm(int signal) {
    record(signal);
    atomic_store(&due, now() + 20000);
    setitimer(ITIMER_REAL, &(struct itimerval){.it_value = {0, 20}}, NULL);
}

static void rearmed(void) {
    signal(SIGALRM, rearm);
    rearm(0);
    while (atomic_load(&seen) <= COUNT)
        ;
}

static pthread_t main_thread;

static void *send_signals(void *arg) {
    for (int i = 0; i < COUNT; i++) {
        struct timespec pause = at(step(i));
        clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
        atomic_store(&due, now());
        need(pthread_kill(main_thread, SIGUSR1) == 0, "pthread_kill");
        while (atomic_load(&seen) == i)
            clock_nanosleep(CLOCK_MONOTONIC, 0, &(struct timespec){0, 100000}, NULL);
    }
    return arg;
}

// Another thread's signal to this one, which computes.
static void killed(void) {
    pthread_t thread;
    main_thread = pthread_self();
    signal(SIGUSR1, record);
    need(pthread_create(&thread, NULL, send_signals, NULL) == 0, "pthread_create");
    while (atomic_load(&seen) < COUNT)
        ;
    pthread_join(thread, NULL);
}

// Another thread's signal to this one, which waits for it.
static void killed_idle(void) {
    pthread_t thread;
    main_thread = pthread_self();
    signal(SIGUSR1, record);
    sigset_t blocked, all;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGUSR1);
    sigprocmask(SIG_BLOCK, &blocked, &all);
    need(pthread_create(&thread, NULL, send_signals, NULL) == 0, "pthread_create");
    while (atomic_load(&seen) < COUNT)
        sigsuspend(&all);
    pthread_join(thread, NULL);
}

static const struct {
    const char *name;
    void (*run)(void);
} cases[] = {
    {"sleep", sleeper},           {"sleep-busy", sleeper_beside}, {"timer-busy", timer},
    {"interval-busy", interval},  {"signal", killed_idle},        {"signal-busy", killed},
};

static int compare(const void *a, const void *b) {
    ns x = *(const ns *)a, y = *(const ns *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv) {
    for (size_t i = 0; argc == 2 && i < sizeof cases / sizeof *cases; i++) {
        if (strcmp(argv[1], cases[i].name) != 0)
            continue;
        cases[i].run();
        qsort(lateness, COUNT, sizeof *lateness, compare);
        printf("%.1f %.1f\n", lateness[COUNT / 2] / 1e3, lateness[COUNT * 99 / 100] / 1e3);
        return 0;
    }
    fprintf(stderr, "usage: late NAME\n");
    return 2;
}

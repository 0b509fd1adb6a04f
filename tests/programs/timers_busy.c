// Timers and signals beside threads that compute: all arrive, and who sleeps runs before those that
// compute are done.
// vcpus: 2
#include "test.h"
#include <sys/timerfd.h>
#define BUSY 3
static volatile int alarms, wanted;
static _Atomic int usr, stop, done;
static void rearm(int sig) {
    (void)sig;
    struct itimerval t = {{0, 0}, {0, 20}};
    if (++alarms < wanted)
        setitimer(ITIMER_REAL, &t, NULL);
}
static void on_alarm(int sig) {
    (void)sig;
    alarms++;
}
static void on_usr(int sig) {
    (void)sig;
    usr++;
}
static void *spin(void *arg) {
    while (!stop)
        ;
    return arg;
}
// CPU time of this thread, in ms.
static long used(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}
// Asks for its CPU time now and then only: it is to compute.
static void burn(long ms) {
    for (long end = used() + ms; used() < end;)
        for (volatile int i = 0; i < 300000; i++)
            ;
}
static void *burn_300(void *arg) {
    burn(300);
    done++;
    return arg;
}
static void sleep_us(long us) {
    struct timespec t = {0, us * 1000};
    NEED(nanosleep(&t, NULL) == 0);
}
static void start(pthread_t *threads, void *(*run)(void *)) {
    sigset_t all, old;
    sigfillset(&all); // signals are the first thread's
    pthread_sigmask(SIG_BLOCK, &all, &old);
    for (int i = 0; i < BUSY; i++)
        NEED(pthread_create(&threads[i], NULL, run, NULL) == 0);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
}
static void join(pthread_t *threads) {
    for (int i = 0; i < BUSY; i++)
        pthread_join(threads[i], NULL);
}

static void rearmed(void) {
    signal(SIGALRM, rearm);
    wanted = 2000;
    struct itimerval t = {{0, 0}, {0, 20}};
    R(setitimer(ITIMER_REAL, &t, NULL));
    while (alarms < wanted)
        ;
    printf("set again at each signal: %d\n", alarms);
    R(getitimer(ITIMER_REAL, &t));
    printf("left: %ld\n", (long)t.it_value.tv_usec);
}
static void one_shots(void) {
    timer_t id;
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM};
    signal(SIGALRM, on_alarm);
    alarms = 0;
    R(timer_create(CLOCK_MONOTONIC, &event, &id));
    for (int i = 0; i < 300; i++) {
        struct itimerspec t = {.it_value = {0, 1000 + i * 1000}};
        NEED(timer_settime(id, 0, &t, NULL) == 0);
        while (alarms == i)
            ;
    }
    printf("one after the other: %d\n", alarms);
    R(timer_delete(id));
}
static void files(void) {
    int fd = timerfd_create(CLOCK_MONOTONIC, 0), reads = 0;
    uint64_t expired, sum = 0;
    struct itimerspec t = {.it_interval = {0, 200000}, .it_value = {0, 200000}};
    R(timerfd_settime(fd, 0, &t, NULL));
    for (; reads < 100; reads++) {
        NEED(read(fd, &expired, sizeof expired) == sizeof expired && expired > 0);
        sum += expired;
    }
    printf("timerfd: %d reads, each expiry counted: %d\n", reads, sum >= 100);
    close(fd);
}
static void killed(void) {
    signal(SIGUSR1, on_usr);
    usr = 0;
    for (int i = 0; i < 200; i++) {
        NEED(syscall(SYS_tgkill, getpid(), gettid(), SIGUSR1) == 0);
        NEED(usr == i + 1);
    }
    printf("to itself: %d\n", usr);
}
static _Atomic int busy_tid, hits;
static void on_hit(int sig) {
    (void)sig;
    hits++;
}
static void *target(void *arg) {
    busy_tid = gettid();
    while (!stop)
        ;
    return arg;
}
static void killed_busy(void) {
    pthread_t thread;
    signal(SIGUSR2, on_hit);
    stop = 0;
    NEED(pthread_create(&thread, NULL, target, NULL) == 0);
    while (!busy_tid)
        sched_yield();
    for (int i = 0; i < 200; i++) {
        NEED(syscall(SYS_tgkill, getpid(), busy_tid, SIGUSR2) == 0);
        while (hits == i)
            sleep_us(50);
    }
    stop = 1;
    pthread_join(thread, NULL);
    printf("to a thread that computes: %d\n", hits);
}
static int answer[2];
static void on_ask(int sig) {
    (void)sig;
    NEED(write(answer[1], "", 1) == 1);
}
static void other_process(void) {
    char byte;
    R(pipe(answer));
    signal(SIGUSR1, on_ask);
    pid_t child = fork();
    if (child == 0)
        for (;;)
            ;
    for (int i = 0; i < 100; i++) {
        NEED(kill(child, SIGUSR1) == 0);
        NEED(read(answer[0], &byte, 1) == 1);
    }
    kill(child, SIGTERM);
    int status;
    waitpid(child, &status, 0);
    printf("another process answered 100 times, ended by %d\n", WTERMSIG(status));
}
static void sleeper_first(void) {
    pthread_t threads[BUSY];
    done = 0;
    start(threads, burn_300);
    for (int i = 0; i < 100; i++)
        sleep_us(200);
    printf("slept 100 times; threads done before: %d\n", done);
    join(threads);
    printf("threads done: %d\n", done);
}
static void *wake_often(void *arg) {
    while (!stop) {
        sleep_us(50);
        burn(1);
    }
    return arg;
}
static void nobody_starves(void) {
    pthread_t threads[BUSY];
    stop = 0;
    start(threads, wake_often);
    burn(50);
    stop = 1;
    join(threads);
    puts("one that never sleeps got its time beside those that wake often");
}

int main(void) {
    pthread_t threads[BUSY];
    rearmed();
    one_shots();
    killed();
    killed_busy();
    other_process();
    sleeper_first();
    nobody_starves();
    stop = 0;
    start(threads, spin);
    puts("-- beside busy threads");
    files();
    killed();
    stop = 1;
    join(threads);
    return 0;
}

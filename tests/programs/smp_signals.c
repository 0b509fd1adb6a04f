// Signals to threads that run on other processors and never call in, timers beside them, and the
// end of a process whose threads are busy.
// vcpus: 2 4
#include "test.h"
#define THREADS 3
static __thread int mine;
static _Atomic int handled[THREADS], alarms, stop;
static _Atomic pid_t tids[THREADS];
static void on_usr1(int sig, siginfo_t *info, void *context) { handled[mine]++; }
static void on_alarm(int sig, siginfo_t *info, void *context) { alarms++; }
static void *spin(void *arg) {
    mine = (int)(long)arg;
    tids[mine] = gettid();
    volatile double x = 1;
    while (!stop)
        x = x * 1.0000001 + 0.5;
    return NULL;
}
int main(void) {
    handle(SIGUSR1, on_usr1, SA_RESTART);
    handle(SIGALRM, on_alarm, SA_RESTART);
    pthread_t threads[THREADS];
    for (long i = 0; i < THREADS; i++)
        NEED(pthread_create(&threads[i], NULL, spin, (void *)i) == 0);
    for (int i = 0; i < THREADS; i++)
        while (!tids[i])
            sched_yield();
    for (int round = 1; round <= 20; round++)
        for (int i = 0; i < THREADS; i++) {
            NEED(syscall(SYS_tgkill, getpid(), tids[i], SIGUSR1) == 0);
            while (handled[i] < round)
                sched_yield();
        }
    printf("handled %d %d %d\n", handled[0], handled[1], handled[2]);
    struct itimerval timer = {{0, 2000}, {0, 2000}};
    NEED(setitimer(ITIMER_REAL, &timer, NULL) == 0);
    while (alarms < 10) {
    }
    timer = (struct itimerval){0};
    NEED(setitimer(ITIMER_REAL, &timer, NULL) == 0);
    puts("alarms came");
    for (int i = 0; i < 5; i++)
        sleep_ms(1);
    // A child whose threads all spin dies of a signal, another one exits.
    for (int way = 0; way < 2; way++) {
        pid_t child = fork();
        NEED(child >= 0);
        if (child == 0) {
            pthread_t own;
            NEED(pthread_create(&own, NULL, spin, NULL) == 0);
            if (way == 1) {
                sleep_ms(3);
                _exit(5);
            }
            for (;;) {
            }
        }
        sleep_ms(5);
        if (way == 0)
            NEED(kill(child, SIGTERM) == 0);
        int status;
        NEED(waitpid(child, &status, 0) == child);
        if (way == 0)
            printf("killed by %d\n", WIFSIGNALED(status) ? WTERMSIG(status) : -1);
        else
            printf("exited with %d\n", WIFEXITED(status) ? WEXITSTATUS(status) : -1);
    }
    fflush(stdout);
    // The spinning threads end with the process.
    _exit(0);
}

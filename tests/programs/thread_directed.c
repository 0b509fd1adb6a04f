// Signals to threads: tgkill reaches the one named, process signals one that does not block, and
// each has a mask and pending set of its own.
#include "test.h"
static __thread int me = -1;
static volatile int by[4];
static pid_t tids[4];
static pthread_barrier_t barrier;
static void on_signal(int sig) {
    (void)sig;
    if (me >= 0)
        by[me]++;
}
static volatile int done;
static void *work(void *arg) {
    me = (int)(long)arg;
    tids[me] = (pid_t)syscall(SYS_gettid);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    if (me != 3) // only the last lets process signals in
        pthread_sigmask(SIG_BLOCK, &set, NULL);
    pthread_barrier_wait(&barrier);
    while (!done)
        sleep_ms(1);
    sigpending(&set);
    return (void *)(long)sigismember(&set, SIGUSR2);
}
static void until(int thread, int count) {
    while (by[thread] < count)
        sleep_ms(1);
}
int main(void) {
    signal(SIGUSR1, on_signal);
    signal(SIGUSR2, on_signal);
    sigset_t set;
    sigfillset(&set);
    pthread_barrier_init(&barrier, NULL, 5);
    pthread_t threads[4];
    for (long i = 0; i < 4; i++)
        NEED(pthread_create(&threads[i], NULL, work, (void *)i) == 0);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    pthread_barrier_wait(&barrier);
    for (int i = 0; i < 4; i++) {
        R(syscall(SYS_tgkill, getpid(), tids[i], SIGUSR1));
        until(i, 1);
    }
    for (int i = 0; i < 3; i++) {
        R(kill(getpid(), SIGUSR2));
        until(3, 2 + i);
    }
    R(pthread_kill(threads[1], SIGUSR2)); // blocked there: stays with it
    done = 1;
    for (int i = 0; i < 4; i++) {
        void *pending;
        pthread_join(threads[i], &pending);
        printf("thread %d: %d signals, pending %ld\n", i, by[i], (long)pending);
    }
    return 0;
}

// Waking across processors: futex ping-pong, condition variables, barriers, and time-outs meanwhile.
// vcpus: 2 4
#include "test.h"
#include <linux/futex.h>
#define ROUNDS 2000
static _Atomic int word;
static long futex(_Atomic int *at, int op, int value) {
    return syscall(SYS_futex, at, op | FUTEX_PRIVATE_FLAG, value, NULL, NULL, 0);
}
static void *ping(void *arg) {
    int turn = (int)(long)arg;
    for (int i = 0; i < ROUNDS; i++) {
        int seen;
        while ((seen = word) % 2 != turn)
            futex(&word, FUTEX_WAIT, seen);
        word = seen + 1;
        futex(&word, FUTEX_WAKE, 1);
    }
    return NULL;
}
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t full = PTHREAD_COND_INITIALIZER, empty = PTHREAD_COND_INITIALIZER;
static int queue[8], queued, produced, consumed;
static long total;
static void *produce(void *arg) {
    for (int i = 0; i < 500; i++) {
        pthread_mutex_lock(&mutex);
        while (queued == 8)
            pthread_cond_wait(&empty, &mutex);
        queue[queued++] = ++produced;
        pthread_cond_signal(&full);
        pthread_mutex_unlock(&mutex);
    }
    return NULL;
}
static void *consume(void *arg) {
    for (int i = 0; i < 500; i++) {
        pthread_mutex_lock(&mutex);
        while (!queued)
            pthread_cond_wait(&full, &mutex);
        total += queue[--queued];
        consumed++;
        pthread_cond_signal(&empty);
        pthread_mutex_unlock(&mutex);
    }
    return NULL;
}
static pthread_barrier_t barrier;
static int steps[4];
static void *step(void *arg) {
    int mine = (int)(long)arg;
    for (int i = 0; i < 200; i++) {
        steps[mine] = i;
        pthread_barrier_wait(&barrier);
        for (int other = 0; other < 4; other++)
            NEED(steps[other] == i);
        pthread_barrier_wait(&barrier);
    }
    return NULL;
}
static void *nap(void *arg) {
    for (int i = 0; i < 20; i++) {
        _Atomic int alone = 0;
        struct timespec t = {0, 1000000};
        NEED(syscall(SYS_futex, &alone, FUTEX_WAIT_PRIVATE, 0, &t, NULL, 0) == -1);
        NEED(errno == ETIMEDOUT);
    }
    return NULL;
}
int main(void) {
    pthread_t threads[5];
    NEED(pthread_create(&threads[4], NULL, nap, NULL) == 0);
    for (long i = 0; i < 2; i++)
        NEED(pthread_create(&threads[i], NULL, ping, (void *)i) == 0);
    for (int i = 0; i < 2; i++)
        NEED(pthread_join(threads[i], NULL) == 0);
    printf("ping-pong %d\n", word);
    for (int i = 0; i < 4; i++)
        NEED(pthread_create(&threads[i], NULL, i < 2 ? produce : consume, NULL) == 0);
    for (int i = 0; i < 4; i++)
        NEED(pthread_join(threads[i], NULL) == 0);
    printf("produced %d consumed %d total %ld\n", produced, consumed, total);
    pthread_barrier_init(&barrier, NULL, 4);
    for (long i = 0; i < 4; i++)
        NEED(pthread_create(&threads[i], NULL, step, (void *)i) == 0);
    for (int i = 0; i < 5; i++)
        NEED(pthread_join(threads[i], NULL) == 0);
    puts("barriers passed, naps over");
    return 0;
}

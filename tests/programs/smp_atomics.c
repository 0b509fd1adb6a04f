// Four threads on shared words: atomic additions, compare-and-swap, a spin lock that never calls in,
// and message passing by release and acquire.
// vcpus: 2 4
#include "test.h"
#define THREADS 4
#define ROUNDS 50000
static _Atomic long added, swapped;
static _Atomic int lock_word;
static long plain, pairs[2];
static _Atomic int ready;
static int message;
static void *work(void *arg) {
    long mine = (long)arg;
    for (int i = 0; i < ROUNDS; i++) {
        added++;
        long old = swapped;
        while (!__atomic_compare_exchange_n(&swapped, &old, old + mine, 1, __ATOMIC_SEQ_CST,
                                            __ATOMIC_SEQ_CST)) {
        }
        if (i % 16 == 0) {
            while (__atomic_exchange_n(&lock_word, 1, __ATOMIC_ACQUIRE))
                while (__atomic_load_n(&lock_word, __ATOMIC_RELAXED))
                    __builtin_ia32_pause();
            NEED(pairs[0] == pairs[1]);
            plain++, pairs[0]++, pairs[1]++;
            __atomic_store_n(&lock_word, 0, __ATOMIC_RELEASE);
        }
    }
    return NULL;
}
static void *pass(void *arg) {
    int turn = (int)(long)arg;
    long sum = 0;
    for (int i = 0; i < 300; i++) {
        while (__atomic_load_n(&ready, __ATOMIC_ACQUIRE) % 2 != turn)
            __builtin_ia32_pause();
        sum += message;
        message = i * 2 + turn;
        __atomic_fetch_add(&ready, 1, __ATOMIC_RELEASE);
    }
    return (void *)sum;
}
int main(void) {
    pthread_t threads[THREADS];
    for (long i = 0; i < THREADS; i++)
        NEED(pthread_create(&threads[i], NULL, work, (void *)(i + 1)) == 0);
    for (int i = 0; i < THREADS; i++)
        NEED(pthread_join(threads[i], NULL) == 0);
    printf("added %ld swapped %ld locked %ld\n", added, swapped, plain);
    for (long i = 0; i < 2; i++)
        NEED(pthread_create(&threads[i], NULL, pass, (void *)i) == 0);
    for (int i = 0; i < 2; i++) {
        void *sum;
        NEED(pthread_join(threads[i], &sum) == 0);
        printf("passed %ld\n", (long)sum);
    }
    return 0;
}

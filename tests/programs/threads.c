// 64 threads: create, thread-local storage, mutex, results through join.
#include "test.h"
static __thread int local = 5;
static int counter;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static void *work(void *arg) {
    long n = (long)arg;
    local += (int)n;
    for (int i = 0; i < 100; i++) {
        pthread_mutex_lock(&mutex);
        counter++;
        pthread_mutex_unlock(&mutex);
        if (i % 25 == 0)
            sched_yield();
    }
    return (void *)(long)local;
}
int main(void) {
    pthread_t threads[64];
    for (long i = 0; i < 64; i++)
        NEED(pthread_create(&threads[i], NULL, work, (void *)i) == 0);
    long sum = 0;
    for (int i = 0; i < 64; i++) {
        void *result;
        NEED(pthread_join(threads[i], &result) == 0);
        sum += (long)result;
    }
    printf("counter %d sum %ld local %d\n", counter, sum, local);
    // One after another: stacks and ids are reused.
    for (int i = 0; i < 200; i++) {
        NEED(pthread_create(&threads[0], NULL, work, (void *)1L) == 0);
        NEED(pthread_join(threads[0], NULL) == 0);
    }
    printf("counter %d\n", counter);
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, 64 << 10);
    NEED(pthread_create(&threads[0], &attr, work, NULL) == 0);
    while (__atomic_load_n(&counter, __ATOMIC_SEQ_CST) < 6400 + 20000 + 100)
        sched_yield();
    puts("detached ran");
    return 0;
}

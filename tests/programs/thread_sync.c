// Condition variables, barriers, semaphores, rwlocks, once, timed waits, cancellation, keys.
#include "test.h"
#include <semaphore.h>
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static pthread_barrier_t barrier;
static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
static sem_t sem;
static int turn, serial, shared_value;
static void *ping(void *arg) {
    int me = (int)(long)arg;
    for (int i = 0; i < 200; i++) {
        pthread_mutex_lock(&mutex);
        while (turn != me)
            pthread_cond_wait(&cond, &mutex);
        turn = !me;
        pthread_cond_signal(&cond);
        pthread_mutex_unlock(&mutex);
    }
    return NULL;
}
static void *meet(void *unused) {
    for (int i = 0; i < 20; i++)
        if (pthread_barrier_wait(&barrier) == PTHREAD_BARRIER_SERIAL_THREAD)
            __atomic_add_fetch(&serial, 1, __ATOMIC_SEQ_CST);
    return unused;
}
static void *lock_many(void *arg) {
    for (int i = 0; i < 200; i++) {
        if (arg) {
            pthread_rwlock_wrlock(&rwlock);
            shared_value++;
            pthread_rwlock_unlock(&rwlock);
        } else {
            pthread_rwlock_rdlock(&rwlock);
            pthread_rwlock_unlock(&rwlock);
        }
    }
    return NULL;
}
static void cleanup(void *text) { puts(text); }
static void *sleeper(void *unused) {
    pthread_cleanup_push(cleanup, "cleanup ran");
    sleep(100);
    pthread_cleanup_pop(0);
    return unused;
}
static void destroy(void *value) { printf("key value %ld destroyed\n", (long)value); }
static pthread_key_t key;
static void *with_key(void *unused) {
    pthread_setspecific(key, (void *)77L);
    return unused;
}
static void once(void) { puts("once"); }
int main(void) {
    pthread_t t[4];
    for (long i = 0; i < 2; i++)
        pthread_create(&t[i], NULL, ping, (void *)i);
    for (int i = 0; i < 2; i++)
        pthread_join(t[i], NULL);
    printf("ping-pong done, turn %d\n", turn);
    pthread_barrier_init(&barrier, NULL, 4);
    for (int i = 0; i < 4; i++)
        pthread_create(&t[i], NULL, meet, NULL);
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
    printf("barrier serial %d\n", serial);
    for (long i = 0; i < 4; i++)
        pthread_create(&t[i], NULL, lock_many, (void *)(i % 2));
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
    printf("rwlock %d\n", shared_value);
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += 20000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_mutex_lock(&mutex);
    printf("timedwait %s\n", errno_name(pthread_cond_timedwait(&cond, &mutex, &until)));
    printf("trylock %s\n", errno_name(pthread_mutex_trylock(&mutex)));
    printf("timedlock %s\n", errno_name(pthread_mutex_timedlock(&mutex, &until)));
    sem_init(&sem, 0, 1);
    R(sem_wait(&sem));
    R(sem_trywait(&sem));
    R(sem_timedwait(&sem, &until));
    R(sem_post(&sem));
    R(sem_wait(&sem));
    pthread_create(&t[0], NULL, sleeper, NULL);
    sleep_ms(20);
    NEED(pthread_cancel(t[0]) == 0);
    void *result;
    R(pthread_join(t[0], &result));
    YES(result == PTHREAD_CANCELED);
    pthread_key_create(&key, destroy);
    pthread_create(&t[0], NULL, with_key, NULL);
    pthread_join(t[0], NULL);
    pthread_once_t control = PTHREAD_ONCE_INIT;
    pthread_once(&control, once);
    pthread_once(&control, once);
    R(pthread_join(pthread_self(), NULL) == EDEADLK);
    return 0;
}

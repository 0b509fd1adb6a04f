// Condition variables, semaphores, read-write locks and barriers of the C library, with time limits.
#include "test.h"
#include <semaphore.h>
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static sem_t sem;
static pthread_rwlock_t rw = PTHREAD_RWLOCK_INITIALIZER;
static int turn, order[30], steps;
static struct timespec soon(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    t.tv_nsec += 20000000;
    if (t.tv_nsec >= 1000000000)
        t.tv_sec++, t.tv_nsec -= 1000000000;
    return t;
}
static void *player(void *arg) {
    int n = (int)(long)arg;
    for (int i = 0; i < 10; i++) {
        pthread_mutex_lock(&lock);
        while (turn != n)
            pthread_cond_wait(&cond, &lock);
        order[steps++] = n;
        turn = (turn + 1) % 3;
        pthread_cond_broadcast(&cond);
        pthread_mutex_unlock(&lock);
    }
    sem_post(&sem);
    return NULL;
}
#define E(call) printf("%s = %s\n", #call, (error = call) ? errno_name(error) : "0")
int main(void) {
    int error;
    pthread_t threads[3];
    sem_init(&sem, 0, 0);
    for (long i = 0; i < 3; i++)
        pthread_create(&threads[i], NULL, player, (void *)i);
    for (int i = 0; i < 3; i++)
        R(sem_wait(&sem));
    int good = 1;
    for (int i = 0; i < 30; i++)
        good &= order[i] == i % 3;
    printf("in turn: %d\n", good);
    struct timespec t = soon(CLOCK_REALTIME);
    pthread_mutex_lock(&lock);
    E(pthread_cond_timedwait(&cond, &lock, &t));
    E(pthread_mutex_trylock(&lock));
    t = soon(CLOCK_REALTIME);
    E(pthread_mutex_timedlock(&lock, &t));
    t = soon(CLOCK_MONOTONIC);
    E(pthread_cond_clockwait(&cond, &lock, CLOCK_MONOTONIC, &t));
    pthread_mutex_unlock(&lock);
    t = soon(CLOCK_REALTIME);
    R(sem_timedwait(&sem, &t));
    R(sem_trywait(&sem));
    pthread_rwlock_rdlock(&rw);
    E(pthread_rwlock_tryrdlock(&rw));
    E(pthread_rwlock_trywrlock(&rw));
    t = soon(CLOCK_REALTIME);
    E(pthread_rwlock_timedwrlock(&rw, &t));
    pthread_rwlock_unlock(&rw);
    pthread_rwlock_unlock(&rw);
    E(pthread_rwlock_trywrlock(&rw));
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    return 0;
}

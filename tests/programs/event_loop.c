// What an event loop like libuv's does: worker threads post results through an eventfd and a
// queue to a thread that sleeps in epoll_pwait, timers by the epoll timeout.
#include "test.h"
#include <sys/epoll.h>
#include <sys/eventfd.h>
static int efd, results[400], count, submitted, taken;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static void *worker(void *unused) {
    for (;;) {
        pthread_mutex_lock(&mutex);
        while (taken == submitted)
            pthread_cond_wait(&cond, &mutex);
        int job = taken++;
        pthread_mutex_unlock(&mutex);
        if (job >= 400)
            return unused;
        pthread_mutex_lock(&mutex);
        results[count++] = job * job;
        pthread_mutex_unlock(&mutex);
        uint64_t one = 1;
        write(efd, &one, 8);
    }
}
int main(void) {
    efd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int ep = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {EPOLLIN, {.fd = efd}};
    NEED(epoll_ctl(ep, EPOLL_CTL_ADD, efd, &event) == 0);
    pthread_t t[4];
    for (int i = 0; i < 4; i++)
        pthread_create(&t[i], NULL, worker, NULL);
    int done = 0, timeouts = 0;
    long long sum = 0;
    while (done < 400) {
        pthread_mutex_lock(&mutex);
        if (submitted < 400)
            submitted += 10;
        pthread_cond_broadcast(&cond);
        pthread_mutex_unlock(&mutex);
        int n = epoll_pwait(ep, &event, 1, submitted < 400 ? 1 : 1000, NULL);
        NEED(n >= 0);
        timeouts += n == 0;
        uint64_t value;
        if (n)
            NEED(read(efd, &value, 8) == 8);
        pthread_mutex_lock(&mutex);
        while (done < count)
            sum += results[done++];
        pthread_mutex_unlock(&mutex);
    }
    pthread_mutex_lock(&mutex);
    submitted += 4;
    pthread_cond_broadcast(&cond);
    pthread_mutex_unlock(&mutex);
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
    printf("sum %lld\n", sum);
    YES(timeouts < 400);
    return 0;
}

// timer_create by SIGEV_THREAD_ID: the signal goes to that thread alone; one-shot, absolute,
// re-arming, and what the old setting reads.
#include "test.h"
#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif
static volatile int by_thread[2];
static __thread int me;
static void on_timer(int sig) {
    (void)sig;
    by_thread[me]++;
}
static timer_t timer;
static void *work(void *arg) {
    me = 1;
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGRTMIN + 2};
    event.sigev_notify_thread_id = (pid_t)syscall(SYS_gettid);
    NEED(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
    struct itimerspec often = {{0, 2000000}, {0, 2000000}};
    R(timer_settime(timer, 0, &often, NULL));
    while (by_thread[1] < 5)
        pause();
    R(timer_settime(timer, 0, &(struct itimerspec){0}, &often));
    YES(often.it_interval.tv_nsec == 2000000);
    return arg;
}
int main(void) {
    signal(SIGRTMIN + 2, on_timer);
    pthread_t thread;
    pthread_create(&thread, NULL, work, NULL);
    pthread_join(thread, NULL);
    YES(by_thread[1] >= 5);
    R(by_thread[0]);
    R(timer_delete(timer));
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN + 2};
    NEED(timer_create(CLOCK_REALTIME, &event, &timer) == 0);
    struct itimerspec past = {{0, 0}, {1, 0}}, now;
    R(timer_settime(timer, TIMER_ABSTIME, &past, NULL)); // long ago: at once
    while (!by_thread[0])
        pause();
    R(by_thread[0]);
    R(timer_gettime(timer, &now));
    printf("%ld %ld\n", (long)now.it_value.tv_sec, now.it_value.tv_nsec);
    past.it_value.tv_nsec = 1000000000;
    R(timer_settime(timer, 0, &past, NULL));
    R(timer_settime(timer, 0, NULL, NULL));
    event.sigev_signo = 65;
    R(timer_create(CLOCK_MONOTONIC, &event, &timer));
    event.sigev_notify = 77;
    R(timer_create(CLOCK_MONOTONIC, &event, &timer));
    event.sigev_notify = SIGEV_THREAD_ID;
    event.sigev_signo = SIGALRM;
    event.sigev_notify_thread_id = 999999;
    R(timer_create(CLOCK_MONOTONIC, &event, &timer));
    R(timer_gettime((timer_t)12345, &now));
    return 0;
}

// timerfd: one shot, periodic, absolute, disarm, read semantics.
#include "test.h"
#include <sys/timerfd.h>
int main(void) {
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
    NEED(fd >= 0);
    struct itimerspec once = {{0, 0}, {0, 20000000}}, old;
    long start = now_ms();
    R(timerfd_settime(fd, 0, &once, NULL));
    uint64_t n = 0;
    R(read(fd, &n, 8));
    YES(now_ms() - start >= 19);
    R(n);
    R(timerfd_gettime(fd, &old));
    printf("%ld %ld\n", old.it_value.tv_sec, old.it_value.tv_nsec);
    struct itimerspec periodic = {{0, 10000000}, {0, 10000000}};
    R(timerfd_settime(fd, 0, &periodic, NULL));
    sleep_ms(55);
    R(read(fd, &n, 8));
    YES(n >= 5);
    R(timerfd_settime(fd, 0, &(struct itimerspec){{0, 0}, {100, 0}}, &old));
    YES(old.it_interval.tv_nsec == 10000000 && old.it_value.tv_nsec <= 10000000);
    R(timerfd_gettime(fd, &old));
    YES(old.it_value.tv_sec == 99 || old.it_value.tv_sec == 100);
    R(timerfd_settime(fd, 0, &(struct itimerspec){{0, 0}, {0, 0}}, NULL));
    R(fcntl(fd, F_SETFL, O_NONBLOCK));
    R(read(fd, &n, 8));
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    struct itimerspec past = {{0, 0}, {now.tv_sec > 5 ? now.tv_sec - 5 : 0, 1}};
    R(timerfd_settime(fd, TFD_TIMER_ABSTIME, &past, NULL));
    struct pollfd p = {fd, POLLIN, 0};
    R(poll(&p, 1, 1000));
    R(read(fd, &n, 8));
    R(n);
    R(read(fd, &n, 4));
    R(write(fd, &n, 8));
    once.it_value.tv_nsec = 1000000000;
    R(timerfd_settime(fd, 0, &once, NULL));
    R(timerfd_settime(0, 0, &periodic, NULL));
    R(timerfd_create(99, 0));
    OK(timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK));
    OK(timerfd_create(CLOCK_BOOTTIME, 0));
    return 0;
}

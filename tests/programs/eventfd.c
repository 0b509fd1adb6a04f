// eventfd: counter and semaphore, overflow, readiness, blocking hand-over.
#include "test.h"
#include <sys/eventfd.h>
static void *waker(void *fd) {
    sleep_ms(20);
    eventfd_write((int)(long)fd, 5);
    return NULL;
}
static short ready(int fd) {
    struct pollfd p = {fd, POLLIN | POLLOUT, 0};
    poll(&p, 1, 0);
    return p.revents;
}
int main(void) {
    int fd = eventfd(3, EFD_NONBLOCK | EFD_CLOEXEC);
    NEED(fd >= 0);
    uint64_t v = 0;
    R(read(fd, &v, 8));
    R(v);
    R(read(fd, &v, 8));
    R(ready(fd));
    v = 7;
    R(write(fd, &v, 8));
    R(write(fd, &v, 8));
    R(ready(fd));
    R(read(fd, &v, 8));
    R(v);
    v = UINT64_MAX - 1;
    R(write(fd, &v, 8));
    R(ready(fd));
    v = 1;
    R(write(fd, &v, 8));
    v = UINT64_MAX;
    R(write(fd, &v, 8));
    R(read(fd, &v, 4));
    R(write(fd, &v, 4));
    int sem = eventfd(2, EFD_SEMAPHORE | EFD_NONBLOCK);
    R(read(sem, &v, 8));
    R(v);
    R(read(sem, &v, 8));
    R(read(sem, &v, 8));
    R(eventfd(0, 0x10));
    int blocking = eventfd(0, 0);
    pthread_t thread;
    pthread_create(&thread, NULL, waker, (void *)(long)blocking);
    R(read(blocking, &v, 8));
    R(v);
    pthread_join(thread, NULL);
    return 0;
}

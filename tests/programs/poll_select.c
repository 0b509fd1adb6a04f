// poll, ppoll, select, pselect: readiness, timeouts, masks, bad descriptors.
#include "test.h"
#include <sys/select.h>
static void nothing(int sig) { (void)sig; }
static void *writer(void *fd) {
    sleep_ms(30);
    write((int)(long)fd, "x", 1);
    return NULL;
}
int main(void) {
    int p[2];
    NEED(pipe(p) == 0);
    struct pollfd q[3] = {{p[0], POLLIN, 0}, {p[1], POLLOUT, 0}, {-1, POLLIN, 99}};
    R(poll(q, 3, 0));
    printf("%#x %#x %#x\n", q[0].revents, q[1].revents, q[2].revents);
    long start = now_ms();
    R(poll(q, 1, 50));
    YES(now_ms() - start >= 49);
    start = now_ms();
    R(poll(NULL, 0, 20));
    YES(now_ms() - start >= 19);
    struct pollfd closed = {77, POLLIN, 0};
    R(poll(&closed, 1, -1));
    printf("%#x\n", closed.revents);
    pthread_t thread;
    pthread_create(&thread, NULL, writer, (void *)(long)p[1]);
    R(poll(q, 1, -1));
    printf("%#x\n", q[0].revents);
    pthread_join(thread, NULL);
    fd_set readable, writable;
    FD_ZERO(&readable);
    FD_ZERO(&writable);
    FD_SET(p[0], &readable);
    FD_SET(p[1], &writable);
    struct timeval tv = {1, 0};
    R(select(p[1] + 1, &readable, &writable, NULL, &tv));
    printf("%d %d\n", FD_ISSET(p[0], &readable), FD_ISSET(p[1], &writable));
    char c;
    read(p[0], &c, 1);
    FD_ZERO(&readable);
    FD_SET(p[0], &readable);
    tv = (struct timeval){0, 30000};
    start = now_ms();
    R(select(p[0] + 1, &readable, NULL, NULL, &tv));
    YES(now_ms() - start >= 29);
    R(FD_ISSET(p[0], &readable));
    printf("left %ld.%06ld\n", (long)tv.tv_sec, (long)tv.tv_usec);
    // Below 64, the smallest descriptor table: Linux ignores descriptors beyond the table's size,
    // which follows what the parent had open.
    FD_SET(60, &readable);
    R(select(61, &readable, NULL, NULL, &tv));
    R(select(-1, NULL, NULL, NULL, &tv));
    // A signal ends the wait; ppoll opens the mask just while it waits.
    signal(SIGALRM, nothing);
    struct itimerval alarm = {{0, 0}, {0, 30000}};
    setitimer(ITIMER_REAL, &alarm, NULL);
    R(poll(q, 1, 5000));
    sigset_t block, open;
    sigemptyset(&open);
    sigemptyset(&block);
    sigaddset(&block, SIGALRM);
    sigprocmask(SIG_BLOCK, &block, NULL);
    raise(SIGALRM);
    struct timespec t = {5, 0};
    R(ppoll(q, 1, &t, &open));
    sigset_t now;
    sigprocmask(SIG_SETMASK, NULL, &now);
    R(sigismember(&now, SIGALRM));
    t = (struct timespec){0, 10000000};
    R(ppoll(q, 1, &t, NULL));
    R(pselect(0, NULL, NULL, NULL, &t, NULL));
    close(p[1]);
    R(poll(q, 1, -1));
    printf("%#x\n", q[0].revents);
    return 0;
}

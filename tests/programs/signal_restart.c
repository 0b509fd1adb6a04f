// SA_RESTART restarts slow calls; without it they fail with EINTR; some never restart.
#include "test.h"
#include <sys/epoll.h>
static int p[2];
static volatile int hits;
static void on_alarm(int sig) {
    (void)sig;
    if (++hits == 2)
        write(p[1], "x", 1);
}
static void arm(int flags) {
    struct sigaction a = {.sa_handler = on_alarm, .sa_flags = flags};
    sigemptyset(&a.sa_mask);
    sigaction(SIGALRM, &a, NULL);
    hits = 0;
    struct itimerval t = {{0, 20000}, {0, 20000}};
    setitimer(ITIMER_REAL, &t, NULL);
}
static void disarm(void) {
    struct itimerval t = {{0, 0}, {0, 0}};
    setitimer(ITIMER_REAL, &t, NULL);
}
int main(void) {
    char c;
    NEED(pipe(p) == 0);
    arm(SA_RESTART);
    R(read(p[0], &c, 1)); // two signals later the handler has written
    YES(hits >= 2);
    arm(0);
    R(read(p[0], &c, 1));
    arm(SA_RESTART);
    R(poll(&(struct pollfd){p[0], POLLIN, 0}, 1, 1000));
    arm(SA_RESTART);
    struct timespec t = {1, 0}, left = {0, 0};
    R(nanosleep(&t, &left));
    YES(left.tv_sec == 0 && left.tv_nsec > 0);
    arm(SA_RESTART);
    R(pause());
    arm(SA_RESTART);
    int ep = epoll_create1(0);
    struct epoll_event e;
    R(epoll_wait(ep, &e, 1, 1000));
    arm(0);
    uint32_t word = 0;
    R(syscall(SYS_futex, &word, 0 | 128, 0, NULL, NULL, 0));
    disarm();
    close(p[1]);
    NEED(pipe(p) == 0);
    char block[4096];
    arm(0);
    long total = 0, n;
    while ((n = write(p[1], block, sizeof block)) > 0) {
        total += n;
        if (total > 60000)
            break;
    }
    disarm();
    // A full pipe and a signal: what is written already counts.
    memset(block, 1, sizeof block);
    fcntl(p[1], F_SETFL, O_NONBLOCK);
    while (write(p[1], block, sizeof block) > 0) {
    }
    fcntl(p[1], F_SETFL, 0);
    arm(0);
    hits = 5; // the handler does not write
    R(write(p[1], block, 1));
    disarm();
    int s[2];
    NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, s) == 0);
    arm(0);
    hits = 5;
    R(recv(s[0], &c, 1, 0));
    struct timeval tv = {1, 0};
    setsockopt(s[0], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
    arm(SA_RESTART);
    hits = 5;
    R(recv(s[0], &c, 1, 0)); // with a timeout set, never restarted
    disarm();
    return 0;
}

// epoll: level and edge triggering, one shot, nesting, modification, removal by close.
#include "test.h"
#include <sys/epoll.h>
static int ep;
static void wait_now(const char *label) {
    struct epoll_event events[8];
    int n = epoll_wait(ep, events, 8, 0);
    printf("%s: %d", label, n);
    for (int i = 0; i < n; i++)
        printf(" [%#x %d]", events[i].events, events[i].data.u32);
    putchar('\n');
}
static int ctl(int op, int fd, uint32_t events, uint32_t tag) {
    struct epoll_event event = {events, {.u32 = tag}};
    return epoll_ctl(ep, op, fd, &event);
}
static void *writer(void *fd) {
    sleep_ms(20);
    write((int)(long)fd, "x", 1);
    return NULL;
}
int main(void) {
    int p[2];
    char b[100];
    NEED(pipe2(p, O_NONBLOCK) == 0);
    ep = epoll_create1(EPOLL_CLOEXEC);
    NEED(ep >= 0);
    R(ctl(EPOLL_CTL_ADD, p[0], EPOLLIN, 1));
    R(ctl(EPOLL_CTL_ADD, p[0], EPOLLIN, 1));
    wait_now("empty");
    NEED(write(p[1], "ab", 2) == 2);
    wait_now("level");
    wait_now("level again");
    R(read(p[0], b, 1));
    wait_now("one byte left");
    R(ctl(EPOLL_CTL_MOD, p[0], EPOLLIN | EPOLLET, 2));
    wait_now("edge after MOD");
    wait_now("edge again");
    NEED(write(p[1], "c", 1) == 1);
    wait_now("edge, new data");
    wait_now("edge again");
    R(ctl(EPOLL_CTL_MOD, p[0], EPOLLIN | EPOLLONESHOT, 3));
    wait_now("one shot");
    wait_now("one shot again");
    R(ctl(EPOLL_CTL_MOD, p[0], EPOLLIN | EPOLLONESHOT, 4));
    wait_now("rearmed");
    R(ctl(EPOLL_CTL_ADD, p[1], EPOLLOUT | EPOLLET, 5));
    wait_now("writable once");
    wait_now("not again");
    R(ctl(EPOLL_CTL_DEL, p[0], 0, 0));
    R(ctl(EPOLL_CTL_DEL, p[0], 0, 0));
    R(ctl(EPOLL_CTL_MOD, p[0], EPOLLIN, 1));
    int inner = ep;
    ep = epoll_create1(0);
    R(ctl(EPOLL_CTL_ADD, inner, EPOLLIN, 9));
    wait_now("outer, inner idle");
    struct epoll_event event = {EPOLLIN, {.u32 = 6}};
    R(epoll_ctl(inner, EPOLL_CTL_ADD, p[0], &event));
    wait_now("outer, inner ready");
    R(epoll_ctl(inner, EPOLL_CTL_ADD, ep, &event)); // a loop
    R(ctl(EPOLL_CTL_ADD, ep, EPOLLIN, 1));
    R(ctl(EPOLL_CTL_ADD, 99, EPOLLIN, 1));
    int file = open("/tmp", O_RDONLY);
    R(ctl(EPOLL_CTL_ADD, file, EPOLLIN, 1));
    R(ctl(77, p[0], EPOLLIN, 1));
    ep = epoll_create1(0);
    while (read(p[0], b, 100) > 0) {
    }
    R(ctl(EPOLL_CTL_ADD, p[0], EPOLLIN | EPOLLRDHUP, 7));
    pthread_t thread;
    pthread_create(&thread, NULL, writer, (void *)(long)p[1]);
    struct epoll_event got;
    R(epoll_wait(ep, &got, 1, -1));
    printf("%#x %d\n", got.events, got.data.u32);
    pthread_join(thread, NULL);
    read(p[0], b, 100);
    long start = now_ms();
    R(epoll_wait(ep, &got, 1, 30));
    YES(now_ms() - start >= 29);
    close(p[1]);
    wait_now("hung up");
    close(p[0]);
    wait_now("closed");
    R(epoll_wait(ep, &got, 0, 0));
    R(epoll_wait(ep, &got, -1, 0));
    R(epoll_wait(0, &got, 1, 0));
    R(epoll_create1(1));
    R(epoll_create(0));
    return 0;
}

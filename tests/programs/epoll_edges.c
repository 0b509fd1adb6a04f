// epoll: edge-triggered, one-shot and exclusive entries, duplicates of a descriptor, nesting, and
// entries that outlive their number.
#include "test.h"
#include <sys/epoll.h>
static int ep;
static void show(const char *when) {
    struct epoll_event events[8];
    int n = epoll_wait(ep, events, 8, 0);
    printf("%s: %d", when, n);
    for (int i = 0; i < n; i++)
        printf(" %#x:%d", events[i].events, events[i].data.u32);
    putchar('\n');
}
static int control(int op, int fd, uint32_t events, uint32_t data) {
    struct epoll_event e = {.events = events, .data.u32 = data};
    return epoll_ctl(ep, op, fd, &e);
}
int main(void) {
    ep = epoll_create1(0);
    int p[2];
    char text[16];
    NEED(ep >= 0 && pipe2(p, O_NONBLOCK) == 0);
    R(control(EPOLL_CTL_ADD, p[0], EPOLLIN | EPOLLET, 1));
    show("empty");
    NEED(write(p[1], "ab", 2) == 2);
    show("written");
    show("not again");
    NEED(read(p[0], text, 1) == 1);
    show("read a part");
    NEED(write(p[1], "c", 1) == 1);
    show("written again");
    R(control(EPOLL_CTL_MOD, p[0], EPOLLIN | EPOLLONESHOT, 2));
    show("once");
    show("switched off");
    R(control(EPOLL_CTL_MOD, p[0], EPOLLIN | EPOLLONESHOT, 3));
    show("armed again");
    R(control(EPOLL_CTL_MOD, p[0], EPOLLIN, 4));
    int copy = dup(p[0]);
    R(control(EPOLL_CTL_ADD, p[0], EPOLLIN, 5));
    R(control(EPOLL_CTL_ADD, copy, EPOLLIN, 6)); // another number is another entry
    show("two entries");
    close(p[0]); // the open file lives on in the copy, and so does the entry
    show("after closing");
    R(control(EPOLL_CTL_DEL, p[0], 0, 0));
    close(copy);
    show("all closed");
    int outer = epoll_create1(0), inner = ep;
    NEED(pipe2(p, O_NONBLOCK) == 0);
    R(control(EPOLL_CTL_ADD, p[0], EPOLLIN, 7));
    ep = outer;
    R(control(EPOLL_CTL_ADD, inner, EPOLLIN, 8));
    show("nested, empty");
    NEED(write(p[1], "x", 1) == 1);
    show("nested, ready");
    R(control(EPOLL_CTL_ADD, outer, EPOLLIN, 9)); // itself
    ep = inner;
    R(control(EPOLL_CTL_ADD, outer, EPOLLIN, 9)); // a circle
    R(control(EPOLL_CTL_MOD, p[1], EPOLLOUT, 1));
    R(control(99, p[1], EPOLLOUT, 1));
    int file = open("/proc/self/exe", O_RDONLY);
    R(control(EPOLL_CTL_ADD, file, EPOLLIN, 1));
    R(control(EPOLL_CTL_ADD, p[1], EPOLLOUT | EPOLLEXCLUSIVE, 1));
    R(control(EPOLL_CTL_MOD, p[1], EPOLLOUT | EPOLLEXCLUSIVE, 1));
    return 0;
}

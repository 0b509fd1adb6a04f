// What poll reports at the ends of things: closed pipes and sockets, half-closed ones, bad
// descriptors, and requests for nothing.
#include "test.h"
static void show(const char *what, int fd, short events) {
    struct pollfd p = {fd, events, 0x7fff};
    int n = poll(&p, 1, 0);
    printf("%s: %d", what, n);
    short names[] = {POLLIN, POLLOUT, POLLPRI, POLLERR, POLLHUP, POLLNVAL, POLLRDHUP};
    const char *words[] = {"IN", "OUT", "PRI", "ERR", "HUP", "NVAL", "RDHUP"};
    for (int i = 0; i < 7; i++)
        if (p.revents & names[i])
            printf(" %s", words[i]);
    putchar('\n');
}
int main(void) {
    int p[2], s[2];
    NEED(pipe(p) == 0);
    show("empty pipe, reader", p[0], POLLIN);
    show("empty pipe, writer", p[1], POLLOUT);
    NEED(write(p[1], "x", 1) == 1);
    show("pipe with data", p[0], POLLIN);
    close(p[1]);
    show("data and no writer", p[0], POLLIN);
    char byte;
    read(p[0], &byte, 1);
    show("no writer", p[0], POLLIN);
    show("no writer, nothing asked", p[0], 0);
    NEED(pipe(p) == 0);
    close(p[0]);
    show("no reader", p[1], POLLOUT);
    NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, s) == 0);
    show("socket", s[0], POLLIN | POLLOUT | POLLRDHUP);
    shutdown(s[1], SHUT_WR);
    show("peer wrote its last", s[0], POLLIN | POLLOUT | POLLRDHUP);
    shutdown(s[0], SHUT_WR);
    show("both ways", s[0], POLLIN | POLLOUT | POLLRDHUP);
    close(s[1]);
    show("peer gone", s[0], POLLIN | POLLOUT | POLLRDHUP);
    show("closed descriptor", 99, POLLIN);
    show("negative", -1, POLLIN);
    show("/dev/null", open("/dev/null", O_RDWR), POLLIN | POLLOUT);
    int listener = socket(AF_UNIX, SOCK_STREAM, 0);
    show("unconnected", listener, POLLIN | POLLOUT);
    return 0;
}

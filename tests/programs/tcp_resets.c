// What both ends of a TCP connection are told, for every short sequence of writes, reads, shutdowns
// and closes: errors are told once, data before a reset can be read, poll says what is so.
#include "test.h"
#include <netinet/in.h>
#include <netinet/tcp.h>

static const char OPS[] = "wrsdcl";
static int listener;
static struct sockaddr_in address = {.sin_family = AF_INET};

static void result(char *out, ssize_t n) {
    if (n < 0)
        sprintf(out + strlen(out), "%s", errno_name(errno));
    else
        sprintf(out + strlen(out), "%zd", n);
}

static void act(int *fd, char op, char *out) {
    char bytes[2];
    struct linger now = {1, 0};
    errno = 0;
    switch (op) {
    case 'w':
        result(out, send(*fd, "abc", 3, MSG_NOSIGNAL | MSG_DONTWAIT));
        break;
    case 'r':
        result(out, recv(*fd, bytes, sizeof bytes, MSG_DONTWAIT));
        break;
    case 's':
        result(out, shutdown(*fd, SHUT_WR));
        break;
    case 'd':
        result(out, shutdown(*fd, SHUT_RD));
        break;
    case 'l':
        NEED(!setsockopt(*fd, SOL_SOCKET, SO_LINGER, &now, sizeof now));
        // fall through
    case 'c':
        close(*fd);
        *fd = -1;
    }
}

static void look(int fd, char *out) {
    if (fd < 0)
        return;
    struct pollfd p = {fd, POLLIN | POLLOUT | POLLRDHUP, 0};
    NEED(poll(&p, 1, 0) >= 0);
    sprintf(out + strlen(out), " [%x", p.revents);
    char bytes[16];
    for (int i = 0; i < 2; i++) {
        strcat(out, " ");
        result(out, recv(fd, bytes, sizeof bytes, MSG_DONTWAIT));
    }
    int error = -1;
    socklen_t len = sizeof error;
    NEED(!getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len));
    sprintf(out + strlen(out), " so %s ", error ? errno_name(error) : "0");
    result(out, send(fd, "z", 1, MSG_NOSIGNAL | MSG_DONTWAIT));
    strcat(out, " ");
    result(out, send(fd, "z", 1, MSG_NOSIGNAL | MSG_DONTWAIT));
    strcat(out, "]");
}

static void run(const int *steps, int count) {
    int fds[2];
    char out[512] = "";
    fds[0] = socket(AF_INET, SOCK_STREAM, 0);
    NEED(fds[0] >= 0 && !connect(fds[0], (void *)&address, sizeof address));
    NEED((fds[1] = accept(listener, NULL, NULL)) >= 0);
    int one = 1;
    for (int i = 0; i < 2; i++)
        NEED(!setsockopt(fds[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one));
    for (int i = 0; i < count; i++) {
        int side = steps[i] / 6, op = steps[i] % 6;
        if (fds[side] < 0)
            goto out;
        sprintf(out + strlen(out), "%c%c:", 'A' + side, OPS[op]);
        act(&fds[side], OPS[op], out);
        strcat(out, " ");
    }
    look(fds[0], out);
    look(fds[1], out);
    puts(out);
out:
    for (int i = 0; i < 2; i++)
        if (fds[i] >= 0) {
            struct linger now = {1, 0};
            setsockopt(fds[i], SOL_SOCKET, SO_LINGER, &now, sizeof now);
            close(fds[i]);
        }
}

int main(int argc, char **argv) {
    socklen_t len = sizeof address;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    listener = socket(AF_INET, SOCK_STREAM, 0);
    NEED(!bind(listener, (void *)&address, sizeof address) && !listen(listener, 8));
    NEED(!getsockname(listener, (void *)&address, &len));
    int depth = argc > 1 ? atoi(argv[1]) : 2, steps[8];
    // The sides are alike: the first step is A's.
    for (int first = 0; first < 6; first++) {
        int rest = 1;
        for (int i = 1; i < depth; i++)
            rest *= 12;
        for (int n = 0; n < rest; n++) {
            steps[0] = first;
            for (int i = 1, left = n; i < depth; i++, left /= 12)
                steps[i] = left % 12;
            run(steps, depth);
        }
    }
    // TLS: an alert, the end, then a close with bytes unread; and bytes that nobody is left to take.
    static const int longer[][5] = {{6, 0, 2, 4, 7}, {0, 2, 6, 4, 7}, {6, 0, 4, 7, 7}, {0, 4, 7, 6, 7}, {8, 0, 4, 7, 7}};
    for (unsigned i = 0; i < sizeof longer / sizeof *longer; i++)
        run(longer[i], 5);
}

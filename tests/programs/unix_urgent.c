// Urgent data on AF_UNIX streams, where the urgent byte is a message of its own.
#include "test.h"

#include <linux/sockios.h>
#include <sys/ioctl.h>

static int a, b;

static void show(void) {
    struct pollfd p = {b, POLLIN | POLLPRI | POLLRDHUP, 0};
    int mark = -1;
    poll(&p, 1, 0);
    ioctl(b, SIOCATMARK, &mark);
    printf("    poll %#x mark %d\n", p.revents, mark);
}

static void begin(const char *what) {
    int pair[2];
    if (a) {
        close(a);
        close(b);
    }
    NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    a = pair[0];
    b = pair[1];
    printf("-- %s\n", what);
}

static void put(const char *bytes, int flags) {
    ssize_t n = send(a, bytes, strlen(bytes), flags);
    printf("send \"%s\"%s = %s\n", bytes, flags ? " urgent" : "", n < 0 ? errno_name(errno) : "ok");
    show();
}

static void get(int len, int flags) {
    char bytes[100] = "";
    struct iovec io = {bytes, len};
    struct msghdr message = {.msg_iov = &io, .msg_iovlen = 1};
    ssize_t n = recvmsg(b, &message, flags | MSG_DONTWAIT);
    printf("receive %d%s%s = ", len, flags & MSG_OOB ? " urgent" : "",
           flags & MSG_PEEK ? " peek" : "");
    if (n < 0)
        printf("%s\n", errno_name(errno));
    else
        printf("%zd \"%s\" flags %#x\n", n, bytes, message.msg_flags);
    show();
}

static void in_line(int on) { R(setsockopt(b, SOL_SOCKET, SO_OOBINLINE, &on, sizeof on)); }

static volatile int signals;

static void on_urgent(int sig, siginfo_t *info, void *context) {
    (void)context;
    signals += sig == SIGURG && info->si_code == SI_KERNEL;
}

int main(void) {
    begin("apart");
    get(1, MSG_OOB);
    put("", MSG_OOB);
    put("abcX", MSG_OOB);
    get(10, MSG_OOB | MSG_PEEK);
    get(1, MSG_OOB);
    get(1, MSG_OOB);
    get(10, 0);
    get(10, 0);
    put("d", 0);
    get(10, 0);
    begin("reads stop");
    put("abX", MSG_OOB);
    put("cd", 0);
    get(10, MSG_PEEK);
    get(10, 0);
    get(10, MSG_PEEK);
    get(10, 0);
    get(1, MSG_OOB);
    begin("reads stop after it was read");
    put("abX", MSG_OOB);
    put("cd", 0);
    get(1, MSG_OOB);
    get(10, MSG_PEEK);
    get(10, 0);
    get(10, 0);
    begin("only it");
    put("X", MSG_OOB);
    get(10, MSG_PEEK);
    get(10, 0);
    get(10, 0);
    put("Y", MSG_OOB);
    get(0, MSG_OOB);
    put("Z", MSG_OOB);
    get(1, MSG_OOB);
    get(10, 0);
    begin("another");
    put("aX", MSG_OOB);
    put("bY", MSG_OOB);
    get(10, 0);
    get(1, MSG_OOB);
    get(10, 0);
    begin("another after the first was read");
    put("aX", MSG_OOB);
    get(1, MSG_OOB);
    put("bY", MSG_OOB);
    get(10, 0);
    get(1, MSG_OOB);
    begin("in line");
    in_line(1);
    put("abX", MSG_OOB);
    put("cd", 0);
    get(1, MSG_OOB);
    get(10, 0);
    get(10, 0);
    begin("in line, two");
    in_line(1);
    put("X", MSG_OOB);
    put("Y", MSG_OOB);
    get(10, 0);
    get(10, 0);
    begin("everything asked for");
    put("abX", MSG_OOB);
    put("cdef", 0);
    get(6, MSG_WAITALL);
    get(6, MSG_WAITALL);
    begin("end of the stream");
    put("aX", MSG_OOB);
    R(shutdown(a, SHUT_WR));
    get(10, 0);
    get(10, 0);
    get(1, MSG_OOB);
    begin("closed with what was read apart");
    put("X", MSG_OOB);
    get(1, MSG_OOB);
    close(b);
    char byte;
    R(recv(a, &byte, 1, 0));
    b = dup(a);
    begin("owner");
    handle(SIGURG, on_urgent, 0);
    R(fcntl(b, F_SETOWN, getpid()));
    YES(fcntl(b, F_GETOWN) == getpid());
    R(send(a, "ab", 2, 0));
    R(signals);
    R(send(a, "X", 1, MSG_OOB));
    R(signals);
    int messages[2];
    NEED(socketpair(AF_UNIX, SOCK_DGRAM, 0, messages) == 0);
    R(send(messages[0], "X", 1, MSG_OOB));
    R(recv(messages[1], &byte, 1, MSG_OOB | MSG_DONTWAIT));
    return 0;
}

// SOCK_SEQPACKET and SOCK_DGRAM keep messages apart: cut ones say so, empty ones arrive, MSG_PEEK
// leaves them, the end is told from an empty message.
#include "test.h"
static void get(int fd, size_t room, int flags) {
    char text[64] = "";
    struct iovec part = {text, room};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    errno = 0;
    ssize_t n = recvmsg(fd, &message, flags | MSG_DONTWAIT);
    printf("%zd %s \"%.*s\"%s%s\n", n, n < 0 ? errno_name(errno) : "ok", (int)(n > 0 ? n : 0), text,
           message.msg_flags & MSG_TRUNC ? " cut" : "", message.msg_flags & MSG_EOR ? " eor" : "");
}
int main(void) {
    int kinds[] = {SOCK_SEQPACKET, SOCK_DGRAM};
    for (int k = 0; k < 2; k++) {
        int s[2];
        NEED(socketpair(AF_UNIX, kinds[k], 0, s) == 0);
        get(s[1], 10, 0);
        R(send(s[0], "first message", 13, 0));
        R(send(s[0], "", 0, 0));
        R(send(s[0], "last", 4, 0));
        get(s[1], 5, MSG_PEEK);
        get(s[1], 5, 0);
        get(s[1], 10, 0);
        get(s[1], 10, 0);
        struct iovec parts[] = {{"in ", 3}, {"two", 3}};
        R(writev(s[0], parts, 2));
        get(s[1], 10, 0);
        R(shutdown(s[0], SHUT_WR));
        get(s[1], 10, 0);
        signal(SIGPIPE, SIG_IGN);
        R(send(s[0], "x", 1, 0));
        close(s[1]);
        R(send(s[0], "x", 1, MSG_NOSIGNAL));
    }
    return 0;
}

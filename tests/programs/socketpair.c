// socketpair: both directions, shutdown, message boundaries, descriptor passing, credentials.
#include "test.h"
#include <sys/ioctl.h>
int main(void) {
    int s[2], n;
    char b[100];
    signal(SIGPIPE, SIG_IGN);
    R(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s));
    R(fcntl(s[0], F_GETFD));
    R(write(s[0], "hello", 5));
    R(send(s[0], "world", 5, 0));
    R(ioctl(s[1], FIONREAD, &n));
    R(n);
    R(recv(s[1], b, 100, MSG_PEEK));
    R(read(s[1], b, 7));
    R(recv(s[1], b + 7, 100, MSG_DONTWAIT));
    printf("%.10s\n", b);
    R(recv(s[1], b, 100, MSG_DONTWAIT));
    R(write(s[1], "back", 4));
    R(read(s[0], b, 100));
    R(shutdown(s[0], SHUT_WR));
    R(read(s[1], b, 100));
    R(write(s[0], "x", 1));
    R(send(s[0], "x", 1, MSG_NOSIGNAL));
    R(write(s[1], "still", 5));
    R(read(s[0], b, 100));
    R(shutdown(s[0], 9));
    close(s[1]);
    R(read(s[0], b, 100));
    struct pollfd p = {s[0], POLLIN, 0};
    R(poll(&p, 1, 0));
    printf("%#x\n", p.revents);
    close(s[0]);
    R(socketpair(AF_UNIX, SOCK_DGRAM, 0, s));
    R(send(s[0], "one", 3, 0));
    R(send(s[0], "second", 6, 0));
    R(recv(s[1], b, 2, 0)); // the rest of a datagram is lost
    R(recv(s[1], b, 100, 0));
    R(send(s[0], "truncate", 8, 0));
    R(recv(s[1], b, 2, MSG_TRUNC));
    R(send(s[0], "", 0, 0));
    R(recv(s[1], b, 100, 0));
    R(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, s));
    R(send(s[0], "abc", 3, 0));
    R(send(s[0], "de", 2, 0));
    R(recv(s[1], b, 100, 0));
    R(recv(s[1], b, 100, 0));
    R(socketpair(AF_INET, SOCK_STREAM, 0, s));
    R(socketpair(AF_UNIX, 99, 0, s));
    // A descriptor travels as ancillary data.
    R(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
    int pipes[2];
    NEED(pipe(pipes) == 0);
    char control[CMSG_SPACE(sizeof(int))];
    memset(control, 0, sizeof control);
    struct iovec iov = {"F", 1};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control,
                       .msg_controllen = sizeof control};
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(c), &pipes[1], sizeof(int));
    R(sendmsg(s[0], &m, 0));
    close(pipes[1]);
    memset(control, 0, sizeof control);
    iov.iov_base = b;
    R(recvmsg(s[1], &m, MSG_CMSG_CLOEXEC));
    c = CMSG_FIRSTHDR(&m);
    YES(c && c->cmsg_type == SCM_RIGHTS);
    int got;
    memcpy(&got, CMSG_DATA(c), sizeof(int));
    R(fcntl(got, F_GETFD));
    R(write(got, "via", 3));
    R(read(pipes[0], b, 100));
    struct ucred cred;
    socklen_t len = sizeof cred;
    R(getsockopt(s[0], SOL_SOCKET, SO_PEERCRED, &cred, &len));
    YES(cred.pid == getpid() && cred.uid == getuid());
    int type;
    len = sizeof type;
    R(getsockopt(s[0], SOL_SOCKET, SO_TYPE, &type, &len));
    R(type);
    return 0;
}

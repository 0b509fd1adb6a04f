// UDP on loopback: boundaries, addresses, connected sockets, timeouts.
#include "test.h"
#include <arpa/inet.h>
#include <netinet/in.h>
int main(void) {
    struct sockaddr_in a = {.sin_family = AF_INET}, from;
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int s = socket(AF_INET, SOCK_DGRAM, 0), c = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    R(bind(s, (struct sockaddr *)&a, sizeof a));
    socklen_t len = sizeof a;
    R(getsockname(s, (struct sockaddr *)&a, &len));
    char b[100] = "";
    R(recv(c, b, 10, 0));
    R(sendto(c, "first", 5, 0, (struct sockaddr *)&a, sizeof a));
    R(sendto(c, "second one", 10, 0, (struct sockaddr *)&a, sizeof a));
    len = sizeof from;
    R(recvfrom(s, b, 3, 0, (struct sockaddr *)&from, &len));
    printf("%.3s %s %u\n", b, inet_ntoa(from.sin_addr), len);
    R(recvfrom(s, b, 100, 0, (struct sockaddr *)&from, &len));
    printf("%.10s\n", b);
    R(sendto(s, "reply", 5, 0, (struct sockaddr *)&from, len));
    R(recv(c, b, 100, 0));
    R(connect(c, (struct sockaddr *)&a, sizeof a));
    R(send(c, "connected", 9, 0));
    R(read(s, b, 100));
    R(send(s, "x", 1, 0));
    R(sendto(c, "", 0, 0, NULL, 0));
    R(read(s, b, 100));
    struct timeval t = {0, 30000};
    R(setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t));
    long start = now_ms();
    R(read(s, b, 100));
    YES(now_ms() - start >= 29);
    static char big[70000];
    R(sendto(c, big, 70000, 0, NULL, 0));
    R(sendto(c, big, 60000, 0, NULL, 0));
    static char back[70000];
    R(recv(s, back, sizeof back, 0));
    struct iovec parts[2] = {{"ab", 2}, {"cd", 2}};
    struct msghdr m = {.msg_iov = parts, .msg_iovlen = 2};
    R(sendmsg(c, &m, 0));
    R(recv(s, b, 100, 0));
    printf("%.4s\n", b);
    R(listen(s, 1));
    R(getpeername(s, (struct sockaddr *)&from, &len));
    return 0;
}

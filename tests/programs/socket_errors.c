// Which error socket calls give first: flag bits, protocols, lengths, addresses, nothing to receive.
#include "test.h"
#include <netinet/in.h>

static void calls(const char *what, int f) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    char b[64] = "";
    socklen_t l = 1;
    int v = -1;
    printf("-- %s\n", what);
    R(setsockopt(f, SOL_SOCKET, SO_REUSEADDR, &a, -1));
    R(setsockopt(f, SOL_SOCKET, SO_REUSEADDR, &a, 3));
    R(setsockopt(f, SOL_SOCKET, SO_TYPE, &a, 1));
    R(setsockopt(f, SOL_SOCKET, SO_TYPE, &a, 4));
    R(setsockopt(f, SOL_SOCKET, 999, &a, 4));
    R(setsockopt(f, 999, 2, &a, 4));
    R(getsockopt(f, SOL_SOCKET, SO_REUSEADDR, &v, &l));
    printf("length %u value %x\n", l, v);
    l = 3, v = -1;
    R(getsockopt(f, IPPROTO_IP, IP_TTL, &v, &l));
    printf("length %u value %x\n", l, v);
    l = -1;
    R(getsockopt(f, SOL_SOCKET, SO_REUSEADDR, &v, &l));
    R(recv(f, b, 9, MSG_DONTWAIT));
    R(recv(f, b, 9, MSG_ERRQUEUE));
    R(recv(f, b, 0, MSG_DONTWAIT));
    R(sendto(f, b, 9, MSG_NOSIGNAL, (void *)8, 16));
    R(sendto(f, b, 9, MSG_NOSIGNAL, (void *)&a, 1));
    R(sendto(f, b, 9, MSG_NOSIGNAL, (void *)&a, 129));
    R(bind(f, (void *)8, 16));
    R(bind(f, (void *)&a, 1));
    R(connect(f, (void *)8, 16));
    R(connect(f, (void *)&a, 1));
    R(accept4(f, NULL, NULL, 4));
    R(shutdown(f, 7));
    struct timespec negative = {-1, 0};
    struct mmsghdr m = {0};
    R(recvmmsg(f, &m, 1, MSG_DONTWAIT, &negative));
    R(recvmmsg(f, (void *)8, 1, MSG_DONTWAIT, NULL));
    R(sendmmsg(f, &m, 0, 0));
}

int main(void) {
    int path = open("/dev/null", O_PATH);
    R(listen(path, 1));
    R(accept4(path, NULL, NULL, 7));
    R(connect(path, (void *)8, 16));
    R(recv(path, NULL, 0, 0));
    R(socket(AF_INET, SOCK_STREAM | 0x100, 0));
    R(socket(AF_INET, SOCK_RAW, 0));
    R(socket(AF_INET6, SOCK_RAW, 0));
    R(socket(AF_INET, SOCK_STREAM, 300));
    R(socket(AF_INET, SOCK_STREAM, -1));
    R(socket(AF_INET, SOCK_DGRAM, IPPROTO_TCP));
    R(socket(AF_INET, SOCK_SEQPACKET, 0));
    R(socket(99, SOCK_STREAM, 0));
    calls("UDP", socket(AF_INET, SOCK_DGRAM, 0));
    calls("TCP", socket(AF_INET, SOCK_STREAM, 0));
    int udp = socket(AF_INET, SOCK_DGRAM, 0);
    char b[4];
    R(recv(udp, b, sizeof b, MSG_OOB | MSG_DONTWAIT));
}

// Socket options programs set and read, and the errors of wrong ones.
#include "test.h"
#include <netinet/in.h>
#include <netinet/tcp.h>
static void get(int s, int level, int option, const char *name) {
    int value = -1;
    socklen_t len = sizeof value;
    int r = getsockopt(s, level, option, &value, &len);
    if (r)
        printf("%s %s\n", name, errno_name(errno));
    else
        printf("%s %d len %u\n", name, value, len);
}
#define GET(s, l, o) get(s, l, o, #o)
#define SET(s, l, o, v) R(setsockopt(s, l, o, &(int){v}, sizeof(int)))
int main(void) {
    int s = socket(AF_INET, SOCK_STREAM, 0);
    GET(s, SOL_SOCKET, SO_TYPE);
    GET(s, SOL_SOCKET, SO_DOMAIN);
    GET(s, SOL_SOCKET, SO_PROTOCOL);
    GET(s, SOL_SOCKET, SO_ERROR);
    GET(s, SOL_SOCKET, SO_ACCEPTCONN);
    GET(s, SOL_SOCKET, SO_KEEPALIVE);
    SET(s, SOL_SOCKET, SO_KEEPALIVE, 1);
    GET(s, SOL_SOCKET, SO_KEEPALIVE);
    SET(s, IPPROTO_TCP, TCP_KEEPIDLE, 60);
    SET(s, IPPROTO_TCP, TCP_KEEPINTVL, 5);
    SET(s, IPPROTO_TCP, TCP_KEEPCNT, 4);
    GET(s, IPPROTO_TCP, TCP_KEEPIDLE);
    SET(s, SOL_SOCKET, SO_REUSEPORT, 1);
    SET(s, SOL_SOCKET, SO_BROADCAST, 1);
    SET(s, SOL_SOCKET, SO_SNDBUF, 65536);
    int value = 0;
    socklen_t len = sizeof value;
    getsockopt(s, SOL_SOCKET, SO_SNDBUF, &value, &len);
    YES(value >= 65536);
    SET(s, SOL_SOCKET, 9999, 1);
    SET(s, IPPROTO_TCP, 9999, 1);
    GET(s, SOL_SOCKET, 9999);
    R(setsockopt(s, SOL_SOCKET, SO_KEEPALIVE, (void *)8, sizeof(int)));
    R(setsockopt(s, SOL_SOCKET, SO_KEEPALIVE, &value, 1));
    struct linger l = {1, 2};
    R(setsockopt(s, SOL_SOCKET, SO_LINGER, &l, sizeof l));
    l.l_linger = 0;
    len = sizeof l;
    R(getsockopt(s, SOL_SOCKET, SO_LINGER, &l, &len));
    printf("%d %d\n", l.l_onoff, l.l_linger);
    R(setsockopt(0, SOL_SOCKET, SO_KEEPALIVE, &value, sizeof value));
    R(setsockopt(99, SOL_SOCKET, SO_KEEPALIVE, &value, sizeof value));
    int six = socket(AF_INET6, SOCK_STREAM, 0);
    SET(six, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    GET(six, IPPROTO_IPV6, IPV6_V6ONLY);
    return 0;
}

// Multicast on the loopback interface: who gets what is sent to a group, and what the options say.
#include "test.h"
#include <arpa/inet.h>
#include <netinet/in.h>

static struct in_addr ip(const char *text) {
    struct in_addr out;
    NEED(inet_aton(text, &out));
    return out;
}

static int udp(const char *address, in_port_t *port) {
    int fd = socket(AF_INET, SOCK_DGRAM, 0), one = 1;
    NEED(fd >= 0 && !setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one));
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = *port, .sin_addr = ip(address)};
    NEED(!bind(fd, (void *)&a, sizeof a));
    socklen_t len = sizeof a;
    NEED(!getsockname(fd, (void *)&a, &len));
    *port = a.sin_port;
    return fd;
}

static void drain(const char *who, int fd) {
    char text[64];
    ssize_t n;
    printf("%s:", who);
    while ((n = recv(fd, text, sizeof text, MSG_DONTWAIT)) >= 0)
        printf(" %.*s", (int)n, text);
    printf(" (%s)\n", errno_name(errno));
}

static int opt(int fd, int level, int name, const void *value, socklen_t len) {
    return setsockopt(fd, level, name, value, len);
}

static int number(int fd, int level, int name) {
    int value = -1;
    socklen_t len = sizeof value;
    return getsockopt(fd, level, name, &value, &len) ? -1 : value;
}

static void delivery(void) {
    in_port_t port = 0;
    int member = udp("0.0.0.0", &port), other = udp("0.0.0.0", &port), at_group = udp("239.7.7.7", &port);
    int elsewhere = udp("127.0.0.1", &port), sender = socket(AF_INET, SOCK_DGRAM, 0), zero = 0, one = 1;
    struct in_addr lo = ip("127.0.0.1");
    struct ip_mreq join = {ip("239.7.7.7"), lo};
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = port, .sin_addr = ip("239.7.7.7")};
    OK(opt(sender, IPPROTO_IP, IP_MULTICAST_IF, &lo, sizeof lo));
#define SEND(text) NEED(sendto(sender, text, strlen(text), 0, (void *)&to, sizeof to) == (ssize_t)strlen(text))
    SEND("nobody-joined");
    drain("member", member);
    OK(opt(member, IPPROTO_IP, IP_ADD_MEMBERSHIP, &join, sizeof join));
    SEND("joined");
    drain("member", member), drain("other", other), drain("at the group", at_group), drain("elsewhere", elsewhere);
    OK(opt(other, IPPROTO_IP, IP_MULTICAST_ALL, &zero, sizeof zero));
    SEND("not-all");
    drain("member", member), drain("other", other), drain("at the group", at_group);
    unsigned char off = 0;
    OK(opt(sender, IPPROTO_IP, IP_MULTICAST_LOOP, &off, 1));
    SEND("loop-off");
    drain("member", member);
    OK(opt(member, IPPROTO_IP, IP_DROP_MEMBERSHIP, &join, sizeof join));
    SEND("left");
    drain("member", member), drain("at the group", at_group);

    struct ip_mreq_source from = {.imr_multiaddr = join.imr_multiaddr, .imr_interface = lo, .imr_sourceaddr = lo};
    OK(opt(other, IPPROTO_IP, IP_ADD_SOURCE_MEMBERSHIP, &from, sizeof from));
    SEND("from-lo");
    drain("other", other);
    OK(opt(other, IPPROTO_IP, IP_DROP_SOURCE_MEMBERSHIP, &from, sizeof from));
    OK(opt(other, IPPROTO_IP, IP_ADD_MEMBERSHIP, &join, sizeof join));
    OK(opt(other, IPPROTO_IP, IP_BLOCK_SOURCE, &from, sizeof from));
    SEND("blocked");
    drain("other", other);
    OK(opt(other, IPPROTO_IP, IP_UNBLOCK_SOURCE, &from, sizeof from));
    SEND("unblocked");
    drain("other", other);

    struct sockaddr_in name;
    socklen_t len = sizeof name;
    NEED(!getsockname(at_group, (void *)&name, &len));
    printf("bound to %s\n", inet_ntoa(name.sin_addr));
    drain("at the group", at_group);
    to.sin_addr = ip("127.255.255.255");
    drain("member", member);
    R(sendto(sender, "b", 1, 0, (void *)&to, sizeof to));
    OK(opt(sender, SOL_SOCKET, SO_BROADCAST, &one, sizeof one));
    R(sendto(sender, "broadcast", 9, 0, (void *)&to, sizeof to));
    drain("member", member), drain("other", other), drain("at the group", at_group), drain("elsewhere", elsewhere);
    int tcp = socket(AF_INET, SOCK_STREAM, 0);
    to.sin_addr = ip("239.7.7.7");
    R(connect(tcp, (void *)&to, sizeof to));
    OK(connect(sender, (void *)&to, sizeof to));
    len = sizeof name;
    NEED(!getsockname(sender, (void *)&name, &len));
    printf("connected from %s\n", inet_ntoa(name.sin_addr));
}

static void ipv4_options(void) {
    int s = socket(AF_INET, SOCK_DGRAM, 0), tcp = socket(AF_INET, SOCK_STREAM, 0), v;
    struct in_addr lo = ip("127.0.0.1"), none = ip("10.99.99.99");
    struct ip_mreqn n = {.imr_multiaddr = ip("239.7.7.8"), .imr_ifindex = 1};
    OK(opt(s, IPPROTO_IP, IP_ADD_MEMBERSHIP, &n, sizeof n));
    OK(opt(s, IPPROTO_IP, IP_ADD_MEMBERSHIP, &n, sizeof n));
    n.imr_ifindex = 999;
    OK(opt(s, IPPROTO_IP, IP_ADD_MEMBERSHIP, &n, sizeof n));
    OK(opt(s, IPPROTO_IP, IP_DROP_MEMBERSHIP, &n, sizeof n));
    n.imr_ifindex = 1;
    OK(opt(s, IPPROTO_IP, IP_DROP_MEMBERSHIP, &n, sizeof n));
    OK(opt(s, IPPROTO_IP, IP_DROP_MEMBERSHIP, &n, sizeof n));
    OK(opt(s, IPPROTO_IP, IP_DROP_MEMBERSHIP, &n, 7));
    OK(opt(s, IPPROTO_IP, IP_ADD_MEMBERSHIP, &n, 7));
    OK(opt(s, IPPROTO_IP, IP_ADD_MEMBERSHIP, (void *)8, sizeof n));
    struct ip_mreq m = {ip("239.7.7.8"), none};
    OK(opt(s, IPPROTO_IP, IP_ADD_MEMBERSHIP, &m, sizeof m));
    m = (struct ip_mreq){ip("10.0.0.1"), lo};
    OK(opt(s, IPPROTO_IP, IP_ADD_MEMBERSHIP, &m, sizeof m));
    OK(opt(s, IPPROTO_IP, IP_DROP_MEMBERSHIP, &m, sizeof m));
    OK(opt(tcp, IPPROTO_IP, IP_ADD_MEMBERSHIP, &n, sizeof n));
    OK(opt(tcp, IPPROTO_IP, IP_DROP_MEMBERSHIP, &n, sizeof n));
    for (int i = 0; i < 22; i++) {
        m = (struct ip_mreq){{htonl(0xef080000 + i)}, lo};
        if (opt(s, IPPROTO_IP, IP_ADD_MEMBERSHIP, &m, sizeof m)) {
            printf("membership %d: %s\n", i, errno_name(errno));
            break;
        }
    }
    struct ip_mreq_source src = {.imr_multiaddr = ip("232.7.7.7"), .imr_interface = lo, .imr_sourceaddr = lo};
    int t = socket(AF_INET, SOCK_DGRAM, 0);
    OK(opt(t, IPPROTO_IP, IP_ADD_SOURCE_MEMBERSHIP, &src, sizeof src - 1));
    OK(opt(t, IPPROTO_IP, IP_BLOCK_SOURCE, &src, sizeof src));
    OK(opt(t, IPPROTO_IP, IP_DROP_SOURCE_MEMBERSHIP, &src, sizeof src));
    OK(opt(t, IPPROTO_IP, IP_ADD_SOURCE_MEMBERSHIP, &src, sizeof src));
    OK(opt(t, IPPROTO_IP, IP_ADD_SOURCE_MEMBERSHIP, &src, sizeof src));
    OK(opt(t, IPPROTO_IP, IP_BLOCK_SOURCE, &src, sizeof src));
    for (int i = 0; i < 12; i++) {
        src.imr_sourceaddr.s_addr = htonl(0x0a000001 + i);
        if (opt(t, IPPROTO_IP, IP_ADD_SOURCE_MEMBERSHIP, &src, sizeof src)) {
            printf("source %d: %s\n", i, errno_name(errno));
            break;
        }
    }
    char buffer[512];
    struct ip_msfilter *filter = (void *)buffer;
    memset(buffer, 0, sizeof buffer);
    filter->imsf_multiaddr = src.imr_multiaddr, filter->imsf_interface = lo, filter->imsf_numsrc = 2;
    socklen_t len = sizeof buffer;
    R(getsockopt(t, IPPROTO_IP, IP_MSFILTER, filter, &len));
    printf("length %u mode %u sources %u first %s\n", len, filter->imsf_fmode, filter->imsf_numsrc,
           inet_ntoa(filter->imsf_slist[0]));
    filter->imsf_fmode = MCAST_EXCLUDE, filter->imsf_numsrc = 1;
    OK(opt(t, IPPROTO_IP, IP_MSFILTER, filter, IP_MSFILTER_SIZE(0)));
    OK(opt(t, IPPROTO_IP, IP_MSFILTER, filter, IP_MSFILTER_SIZE(1)));
    filter->imsf_fmode = 7;
    OK(opt(t, IPPROTO_IP, IP_MSFILTER, filter, IP_MSFILTER_SIZE(1)));
    filter->imsf_numsrc = 11;
    OK(opt(t, IPPROTO_IP, IP_MSFILTER, filter, sizeof buffer));
    filter->imsf_fmode = MCAST_INCLUDE, filter->imsf_numsrc = 0;
    OK(opt(t, IPPROTO_IP, IP_MSFILTER, filter, IP_MSFILTER_SIZE(0)));
    OK(opt(t, IPPROTO_IP, IP_MSFILTER, filter, IP_MSFILTER_SIZE(0)));

    OK(opt(s, IPPROTO_IP, IP_MULTICAST_IF, &none, sizeof none));
    OK(opt(s, IPPROTO_IP, IP_MULTICAST_IF, &lo, 3));
    OK(opt(s, IPPROTO_IP, IP_MULTICAST_IF, &lo, sizeof lo));
    struct in_addr back = {0};
    len = sizeof back;
    R(getsockopt(s, IPPROTO_IP, IP_MULTICAST_IF, &back, &len));
    printf("interface %s\n", inet_ntoa(back));
    OK(opt(tcp, IPPROTO_IP, IP_MULTICAST_IF, &lo, sizeof lo));
    v = 3;
    OK(opt(tcp, IPPROTO_IP, IP_MULTICAST_TTL, &v, sizeof v));
    R(number(s, IPPROTO_IP, IP_MULTICAST_TTL));
    OK(opt(s, IPPROTO_IP, IP_MULTICAST_TTL, &v, sizeof v));
    R(number(s, IPPROTO_IP, IP_MULTICAST_TTL));
    v = 256;
    OK(opt(s, IPPROTO_IP, IP_MULTICAST_TTL, &v, sizeof v));
    v = -1;
    OK(opt(s, IPPROTO_IP, IP_MULTICAST_TTL, &v, sizeof v));
    OK(opt(s, IPPROTO_IP, IP_MULTICAST_TTL, &v, 0));
    R(number(s, IPPROTO_IP, IP_MULTICAST_TTL));
    v = 2;
    OK(opt(s, IPPROTO_IP, IP_MULTICAST_ALL, &v, sizeof v));
    OK(opt(s, IPPROTO_IP, IP_MULTICAST_LOOP, &v, sizeof v));
    R(number(s, IPPROTO_IP, IP_MULTICAST_LOOP));
    R(number(s, IPPROTO_IP, IP_MULTICAST_ALL));
    R(number(s, IPPROTO_IP, IP_ADD_MEMBERSHIP));
}

static void ipv6_options(void) {
    int s = socket(AF_INET6, SOCK_DGRAM, 0), tcp = socket(AF_INET6, SOCK_STREAM, 0), v;
    struct ipv6_mreq m = {.ipv6mr_interface = 1};
    NEED(inet_pton(AF_INET6, "ff02::77", &m.ipv6mr_multiaddr) == 1);
    OK(opt(s, IPPROTO_IPV6, IPV6_JOIN_GROUP, &m, sizeof m));
    OK(opt(s, IPPROTO_IPV6, IPV6_JOIN_GROUP, &m, sizeof m));
    OK(opt(s, IPPROTO_IPV6, IPV6_JOIN_GROUP, &m, sizeof m - 1));
    OK(opt(tcp, IPPROTO_IPV6, IPV6_JOIN_GROUP, &m, sizeof m));
    OK(opt(s, IPPROTO_IPV6, IPV6_LEAVE_GROUP, &m, sizeof m));
    OK(opt(s, IPPROTO_IPV6, IPV6_LEAVE_GROUP, &m, sizeof m));
    m.ipv6mr_interface = 999;
    OK(opt(s, IPPROTO_IPV6, IPV6_JOIN_GROUP, &m, sizeof m));
    m = (struct ipv6_mreq){.ipv6mr_multiaddr = IN6ADDR_LOOPBACK_INIT, .ipv6mr_interface = 1};
    OK(opt(s, IPPROTO_IPV6, IPV6_JOIN_GROUP, &m, sizeof m));
    OK(opt(s, IPPROTO_IPV6, IPV6_LEAVE_GROUP, &m, sizeof m));
    struct group_source_req g = {.gsr_interface = 1};
    struct sockaddr_in6 group = {.sin6_family = AF_INET6}, source = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    NEED(inet_pton(AF_INET6, "ff32::78", &group.sin6_addr) == 1);
    memcpy(&g.gsr_group, &group, sizeof group), memcpy(&g.gsr_source, &source, sizeof source);
    OK(opt(s, IPPROTO_IPV6, MCAST_JOIN_GROUP, &g, sizeof(struct group_req)));
    OK(opt(s, IPPROTO_IPV6, MCAST_JOIN_GROUP, &g, sizeof(struct group_req)));
    OK(opt(s, IPPROTO_IPV6, MCAST_JOIN_GROUP, &g, 20));
    OK(opt(s, IPPROTO_IPV6, MCAST_BLOCK_SOURCE, &g, sizeof g));
    OK(opt(s, IPPROTO_IPV6, MCAST_JOIN_SOURCE_GROUP, &g, sizeof g));
    OK(opt(s, IPPROTO_IPV6, MCAST_UNBLOCK_SOURCE, &g, sizeof g));
    OK(opt(s, IPPROTO_IPV6, MCAST_UNBLOCK_SOURCE, &g, sizeof g));
    OK(opt(s, IPPROTO_IPV6, MCAST_LEAVE_GROUP, &g, sizeof(struct group_req)));
    OK(opt(s, IPPROTO_IPV6, MCAST_LEAVE_GROUP, &g, sizeof(struct group_req)));
    OK(opt(s, IPPROTO_IPV6, MCAST_JOIN_SOURCE_GROUP, &g, sizeof g));
    OK(opt(s, IPPROTO_IPV6, MCAST_LEAVE_SOURCE_GROUP, &g, sizeof g));
    OK(opt(s, IPPROTO_IPV6, MCAST_LEAVE_SOURCE_GROUP, &g, sizeof g));
    OK(opt(s, IPPROTO_IP, MCAST_JOIN_GROUP, &g, sizeof(struct group_req)));
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_addr = ip("239.7.7.9")};
    memcpy(&g.gsr_group, &four, sizeof four);
    OK(opt(s, IPPROTO_IPV6, MCAST_JOIN_GROUP, &g, sizeof(struct group_req)));
    OK(opt(s, IPPROTO_IP, MCAST_JOIN_GROUP, &g, sizeof(struct group_req)));
    OK(opt(s, IPPROTO_IP, MCAST_LEAVE_GROUP, &g, sizeof(struct group_req)));
    v = 1;
    OK(opt(tcp, IPPROTO_IPV6, IPV6_MULTICAST_IF, &v, sizeof v));
    OK(opt(tcp, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, &v, sizeof v));
    OK(opt(s, IPPROTO_IPV6, IPV6_MULTICAST_IF, &v, sizeof v));
    R(number(s, IPPROTO_IPV6, IPV6_MULTICAST_IF));
    v = 999;
    OK(opt(s, IPPROTO_IPV6, IPV6_MULTICAST_IF, &v, sizeof v));
    OK(opt(s, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, &v, sizeof v));
    OK(opt(s, IPPROTO_IPV6, IPV6_MULTICAST_LOOP, &v, sizeof v));
    OK(opt(s, IPPROTO_IPV6, IPV6_MULTICAST_ALL, &v, sizeof v));
    OK(opt(s, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, &v, 1));
    R(number(s, IPPROTO_IPV6, IPV6_MULTICAST_HOPS));
    R(number(s, IPPROTO_IPV6, IPV6_MULTICAST_LOOP));
    R(number(s, IPPROTO_IPV6, IPV6_MULTICAST_ALL));
    int v4 = socket(AF_INET, SOCK_DGRAM, 0);
    OK(opt(v4, IPPROTO_IPV6, IPV6_JOIN_GROUP, &m, sizeof m));
}

// One datagram of several sends.
static void corked(void) {
    in_port_t port = 0;
    int to = udp("127.0.0.1", &port), s = socket(AF_INET, SOCK_DGRAM, 0), one = 1, zero = 0;
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = port, .sin_addr = ip("127.0.0.1")};
    R(sendto(s, "more-", 5, MSG_MORE, (void *)&a, sizeof a));
    drain("held back", to);
    R(send(s, "and-", 4, MSG_MORE));
    R(send(s, "end", 3, 0));
    drain("joined", to);
    OK(opt(s, IPPROTO_UDP, 1, &one, sizeof one));
    R(number(s, IPPROTO_UDP, 1));
    R(sendto(s, "cork", 4, 0, (void *)&a, sizeof a));
    R(sendto(s, "ed", 2, 0, (void *)&a, sizeof a));
    drain("corked", to);
    OK(opt(s, IPPROTO_UDP, 1, &zero, sizeof zero));
    drain("uncorked", to);
    static char big[40000];
    R(sendto(s, big, sizeof big, MSG_MORE, (void *)&a, sizeof a));
    R(sendto(s, big, sizeof big, 0, (void *)&a, sizeof a));
    R(sendto(s, "after", 5, 0, (void *)&a, sizeof a));
    drain("after", to);
}

int main(void) {
    delivery();
    ipv4_options();
    ipv6_options();
    corked();
}

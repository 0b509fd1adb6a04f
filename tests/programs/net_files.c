// /proc/net, SIOCGIF*, sysfs and sock_diag tell of this process's own sockets and of the loopback.
#include "test.h"
#include <arpa/inet.h>
#include <dirent.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <net/if.h>
#include <stdbool.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/un.h>

static unsigned long inode_of(int fd) {
    struct stat st;
    NEED(!fstat(fd, &st));
    char link[64] = "", path[64], expected[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    snprintf(expected, sizeof expected, "socket:[%lu]", (unsigned long)st.st_ino);
    NEED(readlink(path, link, sizeof link - 1) > 0 && !strcmp(link, expected));
    return st.st_ino;
}

// The line of a file that has a number as one of its words, in `line`.
static bool find_line(const char *file, unsigned long inode, char *line, size_t size) {
    FILE *in = fopen(file, "r");
    if (!in)
        return false;
    char wanted[32];
    snprintf(wanted, sizeof wanted, " %lu", inode);
    while (fgets(line, size, in)) {
        char *at = strstr(line, wanted);
        if (at && !strchr("0123456789", at[strlen(wanted)] ? at[strlen(wanted)] : ' ')) {
            fclose(in);
            return true;
        }
    }
    fclose(in);
    return false;
}

static void show(const char *file, const char *what, int fd, in_port_t port) {
    char line[512], local[64], remote[64];
    unsigned state = 0, tx = 0, rx = 0;
    if (!find_line(file, inode_of(fd), line, sizeof line)) {
        printf("%s: %s is not there\n", file, what);
        return;
    }
    NEED(sscanf(line, "%*d: %63s %63s %x %x:%x", local, remote, &state, &tx, &rx) == 5);
    char *colon = strrchr(local, ':');
    printf("%s: %s state %02X rx %u own port %s", file, what, state, rx,
           strtoul(colon + 1, NULL, 16) == ntohs(port) ? "yes" : "no");
    *colon = 0;
    printf(" at %s\n", local);
}

static in_port_t port_of(int fd) {
    struct sockaddr_in6 a;
    socklen_t len = sizeof a;
    NEED(!getsockname(fd, (void *)&a, &len));
    return a.sin6_port;
}

static int diag_state(int fd, int family, int protocol) {
    int nl = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
    NEED(nl >= 0);
    struct {
        struct nlmsghdr h;
        struct inet_diag_req_v2 r;
    } ask = {{sizeof ask, SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST | NLM_F_DUMP, 1, 0},
             {.sdiag_family = family, .sdiag_protocol = protocol, .idiag_states = -1}};
    NEED(send(nl, &ask, sizeof ask, 0) == sizeof ask);
    static char buffer[65536];
    int state = -1;
    for (;;) {
        ssize_t n = recv(nl, buffer, sizeof buffer, 0);
        NEED(n > 0);
        for (struct nlmsghdr *h = (void *)buffer; NLMSG_OK(h, n); h = NLMSG_NEXT(h, n)) {
            if (h->nlmsg_type == NLMSG_DONE || h->nlmsg_type == NLMSG_ERROR) {
                close(nl);
                return state;
            }
            struct inet_diag_msg *m = NLMSG_DATA(h);
            if (m->idiag_inode == inode_of(fd))
                state = m->idiag_state;
        }
    }
}

static void sockets(void) {
    struct sockaddr_in lo = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int l = socket(AF_INET, SOCK_STREAM, 0);
    NEED(!bind(l, (void *)&lo, sizeof lo) && !listen(l, 5));
    lo.sin_port = port_of(l);
    show("/proc/net/tcp", "listener", l, lo.sin_port);
    int c = socket(AF_INET, SOCK_STREAM, 0);
    NEED(!connect(c, (void *)&lo, sizeof lo));
    show("/proc/net/tcp", "listener with one waiting", l, lo.sin_port);
    int s = accept(l, NULL, NULL);
    NEED(s >= 0 && write(c, "hello", 5) == 5);
    show("/proc/net/tcp", "client", c, port_of(c));
    show("/proc/net/tcp", "server", s, lo.sin_port);
    R(diag_state(l, AF_INET, IPPROTO_TCP));
    R(diag_state(c, AF_INET, IPPROTO_TCP));
    shutdown(c, SHUT_WR);
    show("/proc/net/tcp", "server after FIN", s, lo.sin_port);
    int u = socket(AF_INET, SOCK_DGRAM, 0);
    show("/proc/net/udp", "unbound", u, 0);
    lo.sin_port = 0;
    NEED(!bind(u, (void *)&lo, sizeof lo));
    show("/proc/net/udp", "bound", u, port_of(u));
    R(diag_state(u, AF_INET, IPPROTO_UDP));
    lo.sin_port = port_of(u);
    NEED(!connect(u, (void *)&lo, sizeof lo));
    show("/proc/net/udp", "connected", u, port_of(u));
    int l6 = socket(AF_INET6, SOCK_STREAM, 0);
    NEED(!listen(l6, 1));
    show("/proc/net/tcp6", "listener", l6, port_of(l6));

    int x = socket(AF_UNIX, SOCK_STREAM, 0), y[2];
    struct sockaddr_un name = {.sun_family = AF_UNIX, .sun_path = "\0sprout-net-files"};
    NEED(!bind(x, (void *)&name, 2 + 1 + 16) && !listen(x, 1) && !socketpair(AF_UNIX, SOCK_DGRAM, 0, y));
    char line[512];
    unsigned flags = 0, kind = 0, state = 0;
    char path[108] = "";
    NEED(find_line("/proc/net/unix", inode_of(x), line, sizeof line));
    NEED(sscanf(line, "%*s %*x %*x %x %x %x %*u %107s", &flags, &kind, &state, path) == 4);
    printf("unix listener: flags %x type %u state %u at %s\n", flags, kind, state, path);
    NEED(find_line("/proc/net/unix", inode_of(y[0]), line, sizeof line));
    NEED(sscanf(line, "%*s %*x %*x %x %x %x", &flags, &kind, &state) == 3);
    printf("unix pair: flags %x type %u state %u\n", flags, kind, state);
}

static unsigned long counter(const char *path) {
    FILE *in = fopen(path, "r");
    unsigned long value = 0;
    NEED(in && fscanf(in, "%lu", &value) == 1);
    fclose(in);
    return value;
}

static void interface(void) {
    int s = socket(AF_INET, SOCK_DGRAM, 0);
    struct ifreq r = {.ifr_name = "lo"};
    R(ioctl(s, SIOCGIFFLAGS, &r));
    printf("flags %x\n", r.ifr_flags & (IFF_UP | IFF_LOOPBACK | IFF_RUNNING));
    R(ioctl(s, SIOCGIFADDR, &r));
    printf("address %s\n", inet_ntoa(((struct sockaddr_in *)&r.ifr_addr)->sin_addr));
    R(ioctl(s, SIOCGIFNETMASK, &r));
    printf("mask %s\n", inet_ntoa(((struct sockaddr_in *)&r.ifr_addr)->sin_addr));
    R(ioctl(s, SIOCGIFMTU, &r));
    printf("mtu %d\n", r.ifr_mtu);
    R(ioctl(s, SIOCGIFINDEX, &r));
    R(ioctl(s, SIOCGIFTXQLEN, &r));
    R(ioctl(s, SIOCGIFHWADDR, &r));
    R(ioctl(s, SIOCGIFMAP, &r));
    strcpy(r.ifr_name, "nope0");
    R(ioctl(s, SIOCGIFFLAGS, &r));
    R(ioctl(s, SIOCGIFADDR, &r));
    R(ioctl(s, SIOCGIFCONF, (void *)8));
    R(ioctl(s, 0x8944, &r));
    R(ioctl(s, 0x8944, (void *)8));
    r = (struct ifreq){.ifr_ifindex = 1};
    R(ioctl(s, SIOCGIFNAME, &r));
    printf("name %s\n", r.ifr_name);
    char text[64] = "";
    int fd = open("/sys/class/net/lo/address", O_RDONLY);
    R(read(fd, text, sizeof text));
    printf("%s", text);
    YES(counter("/sys/class/net/lo/mtu") == 65536);
    unsigned long before = counter("/sys/class/net/lo/statistics/rx_bytes");
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    NEED(sendto(s, text, 50, 0, (void *)&to, sizeof to) == 50);
    YES(counter("/sys/class/net/lo/statistics/rx_bytes") >= before + 78);
    const char *files[] = {"arp", "dev", "if_inet6", "igmp", "netlink", "netstat", "packet", "protocols", "raw", "route",
                           "snmp", "sockstat", "tcp", "tcp6", "udp", "udp6", "unix"};
    for (unsigned i = 0; i < sizeof files / sizeof *files; i++) {
        char path[64];
        snprintf(path, sizeof path, "/proc/self/net/%s", files[i]);
        printf("%s: %s\n", files[i], access(path, R_OK) ? errno_name(errno) : "readable");
    }
    char back[256] = "";
    NEED(!chdir("/proc/self/net/.."));
    R(access("fd/0", F_OK));
    ssize_t n = readlink("/proc/net", back, sizeof back);
    printf("%.*s\n", (int)n, back);
}

int main(void) {
    sockets();
    interface();
}

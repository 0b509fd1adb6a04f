// TCP on 127.0.0.1 and ::1: connect, accept, shutdown, end of file, refusal, options.
#include "test.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
static struct sockaddr_in addr = {.sin_family = AF_INET};
static char client_got[20];
static void *client(void *unused) {
    int c = socket(AF_INET, SOCK_STREAM, 0);
    NEED(connect(c, (struct sockaddr *)&addr, sizeof addr) == 0);
    char block[5000];
    memset(block, 'c', sizeof block);
    for (int i = 0; i < 100; i++)
        NEED(write(c, block, sizeof block) == sizeof block);
    shutdown(c, SHUT_WR);
    char b[20] = "";
    NEED(read(c, b, 19) > 0);
    strcpy(client_got, b);
    NEED(read(c, b, 19) == 0);
    close(c);
    return unused;
}
int main(void) {
    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    R(setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on));
    R(bind(s, (struct sockaddr *)&addr, sizeof addr));
    R(listen(s, 10));
    socklen_t len = sizeof addr;
    R(getsockname(s, (struct sockaddr *)&addr, &len));
    YES(ntohs(addr.sin_port) >= 1024);
    int second = socket(AF_INET, SOCK_STREAM, 0);
    R(bind(second, (struct sockaddr *)&addr, sizeof addr));
    pthread_t thread;
    pthread_create(&thread, NULL, client, NULL);
    struct sockaddr_in peer;
    len = sizeof peer;
    int c = accept4(s, (struct sockaddr *)&peer, &len, SOCK_CLOEXEC);
    NEED(c >= 0);
    printf("peer %s family %d len %u\n", inet_ntoa(peer.sin_addr), peer.sin_family, len);
    R(setsockopt(c, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on));
    int value = 0;
    len = sizeof value;
    R(getsockopt(c, IPPROTO_TCP, TCP_NODELAY, &value, &len));
    R(value);
    char b[3000];
    long total = 0, n, wrong = 0;
    while ((n = read(c, b, sizeof b)) > 0) {
        total += n;
        for (long i = 0; i < n; i++)
            wrong += b[i] != 'c';
    }
    printf("%ld bytes %ld wrong, end %ld\n", total, wrong, n);
    R(write(c, "goodbye", 7));
    close(c);
    pthread_join(thread, NULL);
    printf("client got %s\n", client_got);
    close(s);
    c = socket(AF_INET, SOCK_STREAM, 0);
    R(connect(c, (struct sockaddr *)&addr, sizeof addr)); // nobody listens any more
    int nb = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    R(connect(nb, (struct sockaddr *)&addr, sizeof addr) == -1 &&
      (errno == EINPROGRESS || errno == ECONNREFUSED));
    s = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    addr.sin_port = 0;
    NEED(bind(s, (struct sockaddr *)&addr, sizeof addr) == 0 && listen(s, 1) == 0);
    len = sizeof addr;
    getsockname(s, (struct sockaddr *)&addr, &len);
    R(accept(s, NULL, NULL));
    nb = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    R(connect(nb, (struct sockaddr *)&addr, sizeof addr) == 0 || errno == EINPROGRESS);
    struct pollfd p[2] = {{s, POLLIN, 0}, {nb, POLLOUT, 0}};
    R(poll(p, 1, 1000));
    R(poll(p + 1, 1, 1000));
    len = sizeof value;
    R(getsockopt(nb, SOL_SOCKET, SO_ERROR, &value, &len));
    R(value);
    R(connect(nb, (struct sockaddr *)&addr, sizeof addr));
    c = accept(s, NULL, NULL);
    NEED(c >= 0);
    R(fcntl(c, F_GETFL) & O_NONBLOCK);
    R(recv(nb, b, 10, 0));
    R(send(c, "ping", 4, MSG_NOSIGNAL));
    poll(&(struct pollfd){nb, POLLIN, 0}, 1, 1000);
    R(recv(nb, b, 10, MSG_PEEK));
    R(recv(nb, b, 10, 0));
    struct sockaddr_in a1, a2;
    len = sizeof a1;
    getsockname(nb, (struct sockaddr *)&a1, &len);
    getpeername(c, (struct sockaddr *)&a2, &len);
    YES(a1.sin_port == a2.sin_port);
    R(getpeername(s, (struct sockaddr *)&a2, &len));
    R(shutdown(s, SHUT_RDWR));
    int fresh = socket(AF_INET, SOCK_STREAM, 0);
    R(shutdown(fresh, SHUT_RD));
    signal(SIGPIPE, SIG_IGN);
    fresh = socket(AF_INET, SOCK_STREAM, 0);
    R(write(fresh, "x", 1));
    R(read(fresh, b, 1));
    R(socket(AF_INET, 99, 0));
    R(socket(199, SOCK_STREAM, 0));
    struct sockaddr_in elsewhere = {.sin_family = AF_INET};
    elsewhere.sin_addr.s_addr = inet_addr("203.0.113.7");
    R(bind(fresh, (struct sockaddr *)&elsewhere, sizeof elsewhere));
    R(bind(fresh, (struct sockaddr *)&addr, 3));
    int six = socket(AF_INET6, SOCK_STREAM, 0);
    YES(six >= 0);
    struct sockaddr_in6 a6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    R(bind(six, (struct sockaddr *)&a6, sizeof a6));
    R(listen(six, 1));
    len = sizeof a6;
    R(getsockname(six, (struct sockaddr *)&a6, &len));
    int c6 = socket(AF_INET6, SOCK_STREAM, 0);
    R(connect(c6, (struct sockaddr *)&a6, sizeof a6));
    return 0;
}

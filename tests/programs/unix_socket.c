// Named and abstract unix sockets, stream and datagram.
#include "test.h"
#include <sys/un.h>
static struct sockaddr_un at(const char *path) {
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    strcpy(a.sun_path, path);
    return a;
}
#define ADDR(a) (struct sockaddr *)&a, sizeof a
static char client_got[10];
static void *client(void *unused) {
    struct sockaddr_un a = at("sock");
    int c = socket(AF_UNIX, SOCK_STREAM, 0);
    NEED(connect(c, ADDR(a)) == 0);
    NEED(write(c, "request", 7) == 7);
    char b[10] = "";
    read(c, b, 9);
    strcpy(client_got, b);
    close(c);
    return unused;
}
int main(void) {
    enter_dir();
    signal(SIGPIPE, SIG_IGN);
    struct sockaddr_un a = at("sock"), absent = at("absent"), peer;
    int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), c = socket(AF_UNIX, SOCK_STREAM, 0);
    NEED(s >= 0 && c >= 0);
    R(connect(c, ADDR(absent)));
    R(bind(s, ADDR(a)));
    R(bind(c, ADDR(a)));
    R(bind(s, ADDR(absent)));
    struct stat st;
    R(stat("sock", &st));
    YES(S_ISSOCK(st.st_mode));
    OK(open("sock", O_RDWR));
    R(connect(c, ADDR(a)));
    R(accept(s, NULL, NULL));
    R(listen(s, 5));
    pthread_t thread;
    pthread_create(&thread, NULL, client, NULL);
    socklen_t len = sizeof peer;
    int conn = accept4(s, (struct sockaddr *)&peer, &len, SOCK_CLOEXEC);
    NEED(conn >= 0);
    R(len);
    char b[100] = "";
    R(read(conn, b, 100));
    puts(b);
    R(write(conn, "answer", 6));
    pthread_join(thread, NULL);
    printf("client got %s\n", client_got);
    R(read(conn, b, 100));
    len = sizeof peer;
    R(getsockname(s, (struct sockaddr *)&peer, &len));
    printf("%s %u\n", peer.sun_path, len);
    put_file("plain", "");
    struct sockaddr_un plain = at("plain");
    R(connect(c, ADDR(plain)));
    R(connect(c, ADDR(a))); // completes by the backlog
    R(connect(c, ADDR(a)));
    close(s);
    R(write(c, "x", 1) == 1 || errno == EPIPE || errno == ECONNRESET);
    close(c);
    c = socket(AF_UNIX, SOCK_STREAM, 0);
    R(connect(c, ADDR(a))); // the name is there, nobody listens
    struct sockaddr_un hidden = {.sun_family = AF_UNIX};
    // 15 characters: the name space is everybody's, and others may run this too.
    snprintf(hidden.sun_path + 1, sizeof hidden.sun_path - 1, "sprout-%08x", (unsigned)getpid());
    s = socket(AF_UNIX, SOCK_DGRAM, 0);
    R(bind(s, (struct sockaddr *)&hidden, 2 + 16));
    int d = socket(AF_UNIX, SOCK_DGRAM, 0);
    R(sendto(d, "gram", 4, 0, (struct sockaddr *)&hidden, 2 + 16));
    len = sizeof peer;
    R(recvfrom(s, b, 100, 0, (struct sockaddr *)&peer, &len));
    R(len);
    R(sendto(d, "gram", 4, 0, ADDR(absent)));
    R(sendto(d, "gram", 4, 0, ADDR(a)));
    struct sockaddr_un named = at("dgram");
    R(bind(d, ADDR(named)));
    R(sendto(d, "two", 3, 0, (struct sockaddr *)&hidden, 2 + 16));
    len = sizeof peer;
    memset(&peer, 0, sizeof peer);
    R(recvfrom(s, b, 100, 0, (struct sockaddr *)&peer, &len));
    printf("from %s\n", peer.sun_path);
    R(connect(s, ADDR(named)));
    R(send(s, "reply", 5, 0));
    R(recv(d, b, 100, 0));
    int other = socket(AF_UNIX, SOCK_DGRAM, 0);
    R(bind(other, (struct sockaddr *)&hidden, 2 + 16));
    R(bind(other, (struct sockaddr *)&hidden, 1));
    return 0;
}

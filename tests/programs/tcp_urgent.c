// Urgent data on TCP: MSG_OOB, SO_OOBINLINE, SIOCATMARK, what poll, select and epoll tell of it, and
// SIGURG with its owners.
#include "test.h"

#include <linux/sockios.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/select.h>

static int a, b;

static void show(void) {
    struct pollfd p = {b, POLLIN | POLLPRI | POLLRDBAND | POLLRDHUP, 0};
    int mark = -1, bytes = -1;
    poll(&p, 1, 0);
    ioctl(b, SIOCATMARK, &mark);
    ioctl(b, FIONREAD, &bytes);
    printf("    poll %#x mark %d bytes %d\n", p.revents, mark, bytes);
}

static void begin(const char *what) {
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof name;
    if (a) {
        close(a);
        close(b);
    }
    int l = socket(AF_INET, SOCK_STREAM, 0);
    NEED(bind(l, (void *)&name, len) == 0 && listen(l, 1) == 0);
    NEED(getsockname(l, (void *)&name, &len) == 0);
    a = socket(AF_INET, SOCK_STREAM, 0);
    NEED(connect(a, (void *)&name, len) == 0);
    b = accept(l, NULL, NULL);
    NEED(b >= 0);
    close(l);
    printf("-- %s\n", what);
}

static void send_one(const char *bytes, int flags) {
    ssize_t n = send(a, bytes, strlen(bytes), flags);
    struct pollfd p = {b, flags ? POLLPRI : POLLIN, 0};
    if (n > 0)
        poll(&p, 1, 1000);
    sleep_ms(1);
    printf("send \"%s\"%s = %zd\n", bytes, flags ? " urgent" : "", n);
    show();
}

static void put(const char *bytes) { send_one(bytes, 0); }
static void urgent(const char *bytes) { send_one(bytes, MSG_OOB); }

static void get(int len, int flags) {
    char bytes[100] = "";
    struct iovec io = {bytes, len};
    struct msghdr message = {.msg_iov = &io, .msg_iovlen = 1};
    ssize_t n = recvmsg(b, &message, flags | MSG_DONTWAIT);
    printf("receive %d%s%s%s = ", len, flags & MSG_OOB ? " urgent" : "",
           flags & MSG_PEEK ? " peek" : "", flags & MSG_TRUNC ? " discard" : "");
    if (n < 0)
        printf("%s\n", errno_name(errno));
    else
        printf("%zd \"%s\" flags %#x\n", n, bytes, message.msg_flags);
    show();
}

static void in_line(int on) {
    R(setsockopt(b, SOL_SOCKET, SO_OOBINLINE, &on, sizeof on));
    show();
}

static void reads(void) {
    begin("nothing urgent");
    get(1, MSG_OOB);
    put("abc");
    get(1, MSG_OOB);
    begin("apart");
    urgent("abcX");
    get(10, MSG_OOB | MSG_PEEK);
    get(1, MSG_OOB);
    get(1, MSG_OOB);
    get(10, 0);
    get(10, 0);
    put("d");
    get(10, 0);
    begin("reads stop");
    urgent("abX");
    put("cd");
    get(10, 0);
    get(10, 0);
    get(1, MSG_OOB);
    begin("reads stop after it was read");
    urgent("abX");
    put("cd");
    get(1, MSG_OOB);
    get(10, 0);
    get(10, 0);
    begin("peeks stop");
    urgent("abX");
    put("cd");
    get(10, MSG_PEEK);
    get(2, 0);
    get(1, MSG_PEEK);
    get(10, MSG_PEEK);
    get(10, 0);
    begin("read past");
    urgent("X");
    get(10, 0);
    get(1, MSG_OOB);
    put("ab");
    get(1, 0);
    begin("no room");
    urgent("");
    urgent("X");
    get(0, MSG_OOB);
    get(5, MSG_OOB);
    begin("discarded");
    urgent("aX");
    get(1, MSG_OOB | MSG_TRUNC);
    put("bc");
    get(5, MSG_TRUNC);
    get(1, MSG_TRUNC);
    get(5, 0);
    begin("everything asked for");
    urgent("abX");
    put("cdef");
    get(6, MSG_WAITALL);
    get(6, MSG_WAITALL);
}

static void in_the_stream(void) {
    begin("in line");
    in_line(1);
    urgent("abX");
    get(1, MSG_OOB);
    put("cd");
    get(10, 0);
    get(10, 0);
    begin("in line, two");
    in_line(1);
    urgent("X");
    urgent("Y");
    get(10, 0);
    get(1, 0);
    begin("in line later");
    urgent("abX");
    get(1, MSG_OOB);
    in_line(1);
    get(10, 0);
    get(10, 0);
    begin("not in line any more");
    in_line(1);
    urgent("abX");
    in_line(0);
    get(1, MSG_OOB);
    get(10, 0);
    get(10, 0);
}

static void another(void) {
    begin("another");
    urgent("aX");
    urgent("bY");
    get(1, MSG_OOB);
    get(10, 0);
    get(10, 0);
    begin("another after the first was read");
    urgent("aX");
    get(1, MSG_OOB);
    urgent("bY");
    get(10, 0);
    get(1, MSG_OOB);
    begin("another at the mark");
    urgent("X");
    urgent("Y");
    get(10, 0);
    get(1, MSG_OOB);
    begin("another behind the mark");
    urgent("aX");
    get(10, 0);
    get(1, MSG_OOB);
    urgent("cY");
    get(10, 0);
    urgent("Z");
    get(1, MSG_OOB);
    get(10, 0);
}

static void ends(void) {
    begin("end of the stream");
    urgent("aX");
    R(shutdown(a, SHUT_WR));
    R(send(a, "Y", 1, MSG_OOB | MSG_NOSIGNAL));
    sleep_ms(1);
    show();
    get(10, 0);
    get(10, 0);
    get(1, MSG_OOB);
    begin("shut by the reader");
    urgent("aX");
    R(shutdown(b, SHUT_RD));
    get(1, MSG_OOB);
    get(10, 0);
    get(10, 0);
    char c;
    int mark = -1;
    int s = socket(AF_INET, SOCK_STREAM, 0);
    R(recv(s, &c, 1, MSG_OOB));
    R(send(s, &c, 1, MSG_OOB | MSG_NOSIGNAL));
    R(ioctl(s, SIOCATMARK, &mark));
    R(mark);
    R(listen(s, 1));
    R(recv(s, &c, 1, MSG_OOB));
    R(ioctl(s, SIOCATMARK, &mark));
    R(ioctl(s, SIOCATMARK, (void *)8));
    close(s);
    s = socket(AF_INET, SOCK_DGRAM, 0);
    R(ioctl(s, SIOCATMARK, &mark));
    close(s);
}

static void *send_later(void *bytes) {
    sleep_ms(5);
    send(a, bytes, strlen(bytes), MSG_OOB);
    return NULL;
}

static void later(pthread_t *thread, const char *bytes) {
    NEED(pthread_create(thread, NULL, send_later, (void *)bytes) == 0);
}

static void waits(void) {
    pthread_t thread;
    begin("poll waits");
    struct pollfd p = {b, POLLPRI, 0};
    later(&thread, "X");
    R(poll(&p, 1, 5000));
    R(p.revents);
    pthread_join(thread, NULL);
    begin("select waits");
    fd_set in, except;
    FD_ZERO(&in);
    FD_ZERO(&except);
    FD_SET(b, &in);
    FD_SET(b, &except);
    struct timeval timeout = {5, 0};
    later(&thread, "X");
    R(select(b + 1, &in, NULL, &except, &timeout));
    YES(FD_ISSET(b, &in));
    YES(FD_ISSET(b, &except));
    pthread_join(thread, NULL);
    begin("epoll");
    int ep = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLPRI | EPOLLET};
    R(epoll_ctl(ep, EPOLL_CTL_ADD, b, &event));
    urgent("aX");
    R(epoll_wait(ep, &event, 1, 5000));
    R(event.events);
    R(epoll_wait(ep, &event, 1, 0));
    urgent("Y");
    R(epoll_wait(ep, &event, 1, 0));
    get(1, MSG_OOB);
    R(epoll_wait(ep, &event, 1, 0));
    close(ep);
    begin("a read of everything ends at what comes");
    char bytes[10] = "";
    R(send(a, "ab", 2, 0));
    later(&thread, "X");
    R(recv(b, bytes, 5, MSG_WAITALL));
    puts(bytes);
    pthread_join(thread, NULL);
}

static volatile int signals, code, taker;

static void on_urgent(int sig, siginfo_t *info, void *context) {
    (void)context;
    signals += sig == SIGURG;
    code = info->si_code;
    taker = gettid();
}

static void *be_told(void *tid) {
    *(volatile int *)tid = gettid();
    for (int i = 0; i < 2000 && !signals; i++)
        sleep_ms(1);
    return NULL;
}

static void told(void) {
    for (int i = 0; i < 2000 && !signals; i++)
        sleep_ms(1);
    YES(signals == 1);
    YES(code == SI_KERNEL);
    signals = 0;
}

static void show_owner(void) {
    struct f_owner_ex owner = {7, 7};
    R(fcntl(b, F_GETOWN_EX, &owner));
    printf("kind %d id %s\n", owner.type,
           owner.pid == 0         ? "none"
           : owner.pid == getpid() ? "me"
                                   : "other");
}

static void owners(void) {
    struct f_owner_ex owner = {3, 0};
    int who = getpid();
    begin("owners");
    handle(SIGURG, on_urgent, 0);
    show_owner();
    R(send(a, "X", 1, MSG_OOB));
    sleep_ms(2);
    YES(signals == 0);
    R(fcntl(b, F_SETOWN, 99999999));
    R(fcntl(b, F_SETOWN, -99999999));
    R(fcntl(b, F_SETOWN, INT_MIN));
    R(fcntl(b, F_SETOWN_EX, &owner));
    owner = (struct f_owner_ex){F_OWNER_TID, -5};
    R(fcntl(b, F_SETOWN_EX, &owner));
    R(fcntl(b, F_SETOWN_EX, 8));
    R(ioctl(b, FIOSETOWN, 8));
    show_owner();
    R(fcntl(b, F_SETOWN, getpid()));
    YES(fcntl(b, F_GETOWN) == getpid());
    show_owner();
    R(send(a, "X", 1, MSG_OOB));
    told();
    R(send(a, "a", 1, 0));
    sleep_ms(2);
    YES(signals == 0);
    R(ioctl(b, FIOSETOWN, &(int){0}));
    R(fcntl(b, F_GETOWN));
    show_owner();
    R(ioctl(b, FIOSETOWN, &who));
    who = 0;
    R(ioctl(b, FIOGETOWN, &who));
    YES(who == getpid());
    int tid = 0;
    pthread_t thread;
    NEED(pthread_create(&thread, NULL, be_told, &tid) == 0);
    while (!*(volatile int *)&tid)
        sleep_ms(1);
    owner = (struct f_owner_ex){F_OWNER_TID, tid};
    R(fcntl(b, F_SETOWN_EX, &owner));
    show_owner();
    R(send(a, "Y", 1, MSG_OOB));
    pthread_join(thread, NULL);
    YES(taker == tid);
    told();
    // A process that is gone.
    int child = fork();
    if (child == 0) {
        pause();
        _exit(0);
    }
    R(fcntl(b, F_SETOWN, child));
    YES(fcntl(b, F_GETOWN) == child);
    kill(child, SIGKILL);
    NEED(waitpid(child, NULL, 0) == child);
    R(fcntl(b, F_GETOWN));
    show_owner();
    // A group of its own: both its members are told.
    int pipes[2];
    NEED(pipe(pipes) == 0);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGURG);
    sigprocmask(SIG_BLOCK, &set, NULL);
    int leader = fork();
    if (leader == 0) {
        setpgid(0, 0);
        int second = fork();
        NEED(write(pipes[1], "r", 1) == 1);
        struct timespec five = {5, 0};
        int told = sigtimedwait(&set, NULL, &five) == SIGURG;
        if (second)
            NEED(waitpid(second, &child, 0) == second);
        _exit(told && (!second || child == 1 << 8));
    }
    char byte;
    NEED(read(pipes[0], &byte, 1) == 1 && read(pipes[0], &byte, 1) == 1);
    who = -leader;
    R(ioctl(b, SIOCSPGRP, &who));
    who = 0;
    R(ioctl(b, SIOCGPGRP, &who));
    YES(who == -leader);
    owner.pid = 0;
    R(fcntl(b, F_GETOWN_EX, &owner));
    YES(owner.type == F_OWNER_PGRP && owner.pid == leader);
    R(send(a, "Z", 1, MSG_OOB));
    NEED(waitpid(leader, &child, 0) == leader);
    YES(WEXITSTATUS(child) == 1);
    YES(signals == 0);
}

int main(void) {
    reads();
    in_the_stream();
    another();
    ends();
    waits();
    owners();
    return 0;
}

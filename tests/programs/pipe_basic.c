// Pipes: order, partial reads, end of file, EPIPE with and without the signal, capacity.
#include "test.h"
static volatile int signalled;
static void on_pipe(int sig) { signalled = sig; }
int main(void) {
    int p[2];
    char b[100];
    R(pipe2(p, O_CLOEXEC));
    R(fcntl(p[0], F_GETFD));
    R(fcntl(p[0], F_GETFL) & O_ACCMODE);
    R(fcntl(p[1], F_GETFL) & O_ACCMODE);
    R(write(p[1], "hello", 5));
    R(write(p[1], "world", 5));
    R(read(p[0], b, 3));
    R(read(p[0], b + 3, 100));
    printf("%.10s\n", b);
    R(write(p[0], "x", 1));
    R(read(p[1], b, 1));
    R(lseek(p[0], 0, SEEK_SET));
    R(pread(p[0], b, 1, 0));
    R(write(p[1], "end", 3));
    close(p[1]);
    R(read(p[0], b, 100));
    R(read(p[0], b, 100));
    close(p[0]);
    R(pipe2(p, O_NONBLOCK));
    R(read(p[0], b, 1));
    char block[4096];
    memset(block, 'b', sizeof block);
    long total = 0, n;
    while ((n = write(p[1], block, sizeof block)) > 0)
        total += n;
    printf("full after %ld: %s\n", total, errno_name(errno));
    R(fcntl(p[1], F_GETPIPE_SZ));
    R(read(p[0], block, 4096));
    R(write(p[1], block, 100));
    close(p[0]);
    signal(SIGPIPE, on_pipe);
    R(write(p[1], "x", 1));
    R(signalled);
    signal(SIGPIPE, SIG_IGN);
    R(write(p[1], "x", 1));
    struct pollfd q = {p[1], POLLOUT, 0};
    R(poll(&q, 1, 0));
    YES(q.revents & POLLERR);
    R(pipe2(p, 0x1));
    R(pipe(p));
    signal(SIGPIPE, SIG_DFL);
    close(p[0]);
    puts("now dying");
    write(p[1], "x", 1);
    puts("survived");
    return 1;
}

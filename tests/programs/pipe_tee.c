// tee copies from pipe to pipe and leaves what was there; vmsplice moves memory into and out of one.
#include "test.h"
static void show_pipe(int fd) {
    char text[64];
    ssize_t n = read(fd, text, sizeof text);
    printf("read %zd: %.*s\n", n, (int)(n > 0 ? n : 0), text);
}
int main(void) {
    int a[2], b[2];
    NEED(pipe2(a, O_NONBLOCK) == 0 && pipe2(b, O_NONBLOCK) == 0);
    R(tee(a[0], b[1], 10, 0)); // nothing there yet
    NEED(write(a[1], "one two three", 13) == 13);
    R(tee(a[0], b[1], 7, 0));
    R(tee(a[0], b[1], 100, SPLICE_F_NONBLOCK));
    show_pipe(a[0]);
    show_pipe(b[0]);
    R(tee(a[0], a[1], 1, 0)); // one pipe
    R(tee(a[1], b[1], 1, 0)); // wrong end
    R(tee(0, b[1], 1, 1 << 20));
    int null = open("/dev/null", O_RDWR);
    R(tee(null, b[1], 1, 0));
    R(tee(a[0], b[1], 0, 0));
    char first[] = "memory ", second[] = "in pieces";
    struct iovec parts[] = {{first, 7}, {second, 9}};
    R(vmsplice(a[1], parts, 2, 0));
    show_pipe(a[0]);
    R(vmsplice(a[0], parts, 2, SPLICE_F_NONBLOCK)); // empty: would wait, O_NONBLOCK or not
    NEED(write(a[1], "abcdefghijkl", 12) == 12);
    R(vmsplice(a[0], parts, 2, 0));
    printf("%s%s\n", first, second);
    R(vmsplice(null, parts, 2, 0));
    R(vmsplice(a[1], parts, 2, 1 << 20));
    close(a[1]);
    R(tee(a[0], b[1], 10, 0)); // the end
    R(vmsplice(a[0], parts, 1, 0));
    return 0;
}

// splice, tee, vmsplice, sendfile and copy_file_range: none waits once it could return a count,
// what is refused, and in which order it is looked at.
#include "test.h"
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/timerfd.h>
#define PIPE 65536
static char data[4 * PIPE] __attribute__((aligned(4096)));
static int in[2], out[2], sock[2];
static void fresh(void) {
    static int made;
    if (made++)
        for (int i = 0; i < 2; i++)
            close(in[i]), close(out[i]), close(sock[i]);
    NEED(pipe(in) == 0 && pipe(out) == 0 && socketpair(AF_UNIX, SOCK_STREAM, 0, sock) == 0);
}
static int unread(int fd) {
    int n = -1;
    ioctl(fd, 0x541b, &n);
    return n;
}
static void fill(int fd) {
    int flags = fcntl(fd, F_GETFL);
    fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    while (write(fd, data, 4096) == 4096) {
    }
    fcntl(fd, F_SETFL, flags);
}
int main(void) {
    enter_dir();
    signal(SIGPIPE, SIG_IGN);
    alarm(20);
    int file = open("f", O_RDWR | O_CREAT, 0600), second = open("g", O_RDWR | O_CREAT, 0600);
    NEED(write(file, data, sizeof data) == sizeof data);
    loff_t at;

    printf("-- more than fits\n");
    fresh();
    struct iovec big = {data, sizeof data}, small = {data, 100};
    R(vmsplice(out[1], &big, 1, 0));
    R(unread(out[0]));
    R(vmsplice(out[1], &big, 1, SPLICE_F_NONBLOCK));
    R(vmsplice(out[0], &big, 1, 0));
    R(vmsplice(out[0], &small, 1, SPLICE_F_NONBLOCK));
    R(vmsplice(out[1], &small, 1, 0));
    R(vmsplice(out[0], &big, 1, 0));
    fresh();
    at = 0;
    R(splice(file, &at, out[1], NULL, sizeof data, 0));
    printf("at %ld\n", (long)at);
    R(splice(file, &at, out[1], NULL, sizeof data, SPLICE_F_NONBLOCK));
    fresh();
    off_t from = 0;
    R(sendfile(out[1], file, &from, sizeof data));
    printf("from %ld\n", (long)from);
    lseek(file, 4096, SEEK_SET);
    fresh();
    R(sendfile(out[1], file, NULL, sizeof data));
    R(lseek(file, 0, SEEK_CUR));

    printf("-- between pipes\n");
    fresh();
    fill(in[1]);
    NEED(write(out[1], data, 4096) == 4096);
    R(splice(in[0], NULL, out[1], NULL, PIPE, 0));
    R(unread(in[0]));
    R(unread(out[0]));
    R(splice(in[0], NULL, out[1], NULL, PIPE, SPLICE_F_NONBLOCK));
    R(tee(in[0], out[1], PIPE, SPLICE_F_NONBLOCK));
    fcntl(out[1], F_SETFL, O_NONBLOCK);
    R(splice(in[0], NULL, out[1], NULL, PIPE, 0));
    R(tee(in[0], out[1], PIPE, 0));
    R(read(out[0], data, 2 * 4096));
    R(tee(in[0], out[1], PIPE, 0));
    R(unread(in[0]));
    fresh();
    R(write(in[1], "abc", 3));
    R(splice(in[0], NULL, out[1], NULL, PIPE, 0));
    close(in[1]);
    R(splice(in[0], NULL, out[1], NULL, PIPE, 0));
    R(tee(in[0], out[1], PIPE, 0));
    fresh();
    R(splice(in[0], NULL, out[1], NULL, 1, SPLICE_F_NONBLOCK));
    R(tee(in[0], out[1], 1, SPLICE_F_NONBLOCK));
    R(splice(sock[0], NULL, out[1], NULL, 1, SPLICE_F_NONBLOCK));
    close(out[0]);
    R(write(in[1], "abc", 3));
    R(splice(in[0], NULL, out[1], NULL, 3, 0));
    R(unread(in[0]));
    at = 0;
    R(splice(file, &at, out[1], NULL, 3, 0));
    R(vmsplice(out[1], &small, 1, 0));

    printf("-- with a socket and a file\n");
    fresh();
    R(write(sock[1], "hello", 5));
    R(splice(sock[0], NULL, out[1], NULL, PIPE, 0));
    R(splice(out[0], NULL, sock[0], NULL, PIPE, 0));
    R(read(sock[1], data, 100));
    R(write(in[1], "0123456789", 10));
    at = 3;
    R(splice(in[0], NULL, second, &at, 4, 0));
    printf("at %ld, position %ld\n", (long)at, (long)lseek(second, 0, SEEK_CUR));
    R(splice(in[0], NULL, second, NULL, 100, 0));
    printf("position %ld\n", (long)lseek(second, 0, SEEK_CUR));

    printf("-- refused\n");
    fresh();
    R(write(in[1], "abcdef", 6));
    int epoll = epoll_create1(0), event = eventfd(1, 0), timer = timerfd_create(CLOCK_MONOTONIC, 0);
    int dir = open(".", O_RDONLY), path = open("f", O_PATH), appended = open("g", O_WRONLY | O_APPEND);
    int reader = open("f", O_RDONLY), null = open("/dev/null", O_RDWR), zero = open("/dev/zero", O_RDONLY);
    R(splice(in[0], NULL, in[1], NULL, 6, 0));
    R(tee(in[0], in[1], 6, 0));
    R(splice(in[0], NULL, epoll, NULL, 6, 0));
    R(splice(epoll, NULL, out[1], NULL, 6, 0));
    R(splice(in[0], NULL, event, NULL, 6, 0));
    R(splice(event, NULL, out[1], NULL, 8, 0));
    R(splice(timer, NULL, out[1], NULL, 8, 0));
    R(splice(dir, NULL, out[1], NULL, 8, 0));
    R(splice(in[0], NULL, appended, NULL, 6, 0));
    R(splice(file, NULL, second, NULL, 6, 0));
    R(splice(in[1], NULL, out[1], NULL, 6, 0));
    R(splice(in[0], NULL, out[0], NULL, 6, 0));
    R(splice(in[0], NULL, reader, NULL, 6, 0));
    R(splice(path, NULL, out[1], NULL, 6, 0));
    R(splice(99, NULL, out[1], NULL, 6, 16));
    R(splice(99, NULL, out[1], NULL, 0, 16));
    R(splice(99, NULL, 99, (void *)8, 6, 0));
    at = 0;
    R(splice(in[0], &at, out[1], NULL, 6, 0));
    R(splice(file, (void *)8, out[1], NULL, 6, 0));
    at = -1;
    R(splice(file, &at, out[1], NULL, 6, 0));
    R(splice(in[0], NULL, second, &at, 6, 0));
    R(splice(file, &at, second, NULL, 6, 0));
    at = 0;
    R(splice(sock[0], &at, out[1], NULL, 6, 0));
    R(splice(in[0], NULL, sock[0], &at, 6, 0));
    R(splice(zero, NULL, out[1], NULL, 6, 0));
    R(splice(in[0], NULL, null, NULL, 6, 0));
    R(tee(file, out[1], 6, 0));
    R(tee(path, out[1], 6, 0));
    R(tee(in[0], out[1], 0, 16));
    R(tee(in[0], out[1], 0, 0));
    R(tee(99, out[1], 0, 0));
    R(tee(in[1], out[1], 6, 0));
    R(vmsplice(file, &small, 1, 0));
    R(vmsplice(path, &small, 1, 0));
    R(vmsplice(99, &small, 1, 16));
    R(vmsplice(out[1], (void *)8, 1, 0));
    R(vmsplice(out[1], &small, 0, 0));
    R(vmsplice(out[1], &small, 1025, 0));
    R(vmsplice(file, &small, 0, 0));
    from = -1;
    R(sendfile(99, file, &from, 1));
    R(sendfile(out[1], file, &from, 1));
    R(sendfile(out[1], 99, &from, 1));
    R(sendfile(99, 99, (void *)8, 1));
    from = 0;
    R(sendfile(out[1], in[0], &from, 1));
    R(sendfile(out[1], in[0], NULL, 1));
    R(sendfile(second, sock[0], NULL, 1));
    R(sendfile(second, dir, NULL, 1));
    R(sendfile(appended, file, &from, 1));
    R(sendfile(epoll, file, &from, 1));
    R(sendfile(path, file, &from, 1));
    R(sendfile(second, path, &from, 1));
    R(sendfile(reader, file, &from, 1));

    printf("-- copy_file_range\n");
    loff_t a = 0, b = 0;
    R(copy_file_range(file, &a, second, &b, 10, 1));
    R(copy_file_range(99, (void *)8, second, &b, 10, 1));
    R(copy_file_range(file, (void *)8, second, &b, 10, 1));
    R(copy_file_range(dir, &a, second, &b, 10, 0));
    R(copy_file_range(file, &a, dir, &b, 10, 0));
    R(copy_file_range(in[0], NULL, second, &b, 10, 0));
    R(copy_file_range(file, &a, null, &b, 10, 0));
    R(copy_file_range(file, &a, reader, &b, 10, 0));
    R(copy_file_range(file, &a, appended, &b, 10, 0));
    R(copy_file_range(path, &a, second, &b, 10, 0));
    R(copy_file_range(file, &a, file, &b, 10, 0));
    a = LONG_MAX, b = 0;
    R(copy_file_range(file, &a, second, &b, 10, 0));
    a = 0, b = LONG_MAX;
    R(copy_file_range(file, &a, second, &b, 10, 0));
    a = sizeof data, b = 0;
    R(copy_file_range(file, &a, second, &b, 10, 0));
    a = 0, b = 20;
    R(copy_file_range(file, &a, file, &b, 20, 0));
    return 0;
}

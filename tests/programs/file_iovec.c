// readv, writev, preadv, pwritev: gather and scatter, limits and bad vectors.
#include "test.h"
int main(void) {
    enter_dir();
    int fd = open("f", O_RDWR | O_CREAT, 0600);
    struct iovec out[4] = {{"ab", 2}, {"", 0}, {"cde", 3}, {"f", 1}};
    R(writev(fd, out, 4));
    show_file("f");
    char x[4] = "", y[4] = "";
    struct iovec in[2] = {{x, 3}, {y, 3}};
    R(lseek(fd, 1, SEEK_SET));
    R(readv(fd, in, 2));
    printf("%.3s %.3s\n", x, y);
    R(preadv(fd, in, 2, 0));
    printf("%.3s %.3s\n", x, y);
    R(pwritev(fd, out, 4, 4));
    show_file("f");
    R(readv(fd, in, 0));
    R(readv(fd, in, -1));
    R(readv(fd, in, 1025));
    struct iovec bad[2] = {{x, 2}, {(void *)8, 2}};
    R(preadv(fd, bad, 2, 0));
    R(preadv(fd, bad + 1, 1, 0));
    struct iovec huge[1] = {{x, (size_t)-1}};
    R(writev(fd, huge, 1));
    R(writev(fd, (struct iovec *)8, 1));
    return 0;
}

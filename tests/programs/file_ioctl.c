// Calls on files that programs try and live without: ioctl on a file, fadvise, readahead, sync.
#include "test.h"
#include <sys/ioctl.h>
#include <termios.h>
int main(void) {
    enter_dir();
    put_file("f", "0123456789");
    int fd = open("f", O_RDWR), n = -1;
    struct termios t;
    R(ioctl(fd, TCGETS, &t));
    R(ioctl(fd, FIONREAD, &n));
    R(n);
    R(ioctl(99, TCGETS, &t));
    R(ioctl(fd, FIOCLEX));
    R(fcntl(fd, F_GETFD));
    R(ioctl(fd, FIONCLEX));
    R(fcntl(fd, F_GETFD));
    int on = 1;
    R(ioctl(fd, FIONBIO, &on));
    R(fcntl(fd, F_GETFL) & O_NONBLOCK);
    R(ioctl(fd, 0x12345678, 0));
    R(posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL));
    R(posix_fadvise(fd, 0, 0, 77));
    sync();
    R(syncfs(fd));
    R(isatty(fd));
    struct pollfd p = {fd, POLLIN | POLLOUT | POLLPRI, 0};
    R(poll(&p, 1, 0));
    R(p.revents);
    return 0;
}

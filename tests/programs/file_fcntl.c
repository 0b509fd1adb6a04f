// Descriptors: dup and its variants, flags, shared positions, close_range.
#include "test.h"
int main(void) {
    enter_dir();
    put_file("f", "0123456789");
    int fd = open("f", O_RDWR);
    int copy = dup(fd);
    YES(copy > fd);
    char b[4];
    R(read(fd, b, 3));
    R(lseek(copy, 0, SEEK_CUR)); // one position for both
    R(dup2(fd, 50));
    R(dup2(fd, fd));
    R(dup2(99, 51));
    R(dup2(99, 99));
    R(dup2(fd, -1));
    R(dup3(fd, 52, O_CLOEXEC));
    R(fcntl(52, F_GETFD));
    R(dup3(fd, fd, 0));
    R(dup3(fd, 53, O_APPEND));
    R(fcntl(fd, F_DUPFD, 60));
    R(fcntl(fd, F_DUPFD, 60));
    R(fcntl(fd, F_DUPFD_CLOEXEC, 60));
    R(fcntl(62, F_GETFD));
    R(fcntl(fd, F_DUPFD, -1));
    R(fcntl(fd, F_SETFD, FD_CLOEXEC));
    R(fcntl(fd, F_GETFD));
    R(fcntl(copy, F_GETFD)); // per descriptor
    R(fcntl(fd, F_SETFL, O_APPEND | O_NONBLOCK));
    R(fcntl(copy, F_GETFL) & (O_ACCMODE | O_APPEND | O_NONBLOCK)); // per open file
    R(lseek(fd, 0, SEEK_SET));
    R(write(copy, "X", 1));
    show_file("f");
    R(fcntl(fd, 9999));
    R(fcntl(99, F_GETFD));
    R(close(50));
    R(fcntl(50, F_GETFD));
    R(fcntl(fd, F_GETFD));
    R(close_range(60, 62, 0));
    R(fcntl(61, F_GETFD));
    R(close_range(5, 4, 0));
    R(dup(99));
    struct rlimit limit = {20, 20};
    R(setrlimit(RLIMIT_NOFILE, &limit));
    OK(fcntl(fd, F_DUPFD, 20));
    R(dup2(fd, 20));
    int count = 0;
    while (open("f", O_RDONLY) >= 0)
        count++;
    printf("then %s, some opened %d\n", errno_name(errno), count > 5);
    return 0;
}

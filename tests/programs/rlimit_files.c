// RLIMIT_NOFILE bounds descriptors, RLIMIT_FSIZE the size of files (SIGXFSZ, EFBIG).
#include "test.h"
static volatile int signals;
static void on_signal(int sig) {
    signals += sig == SIGXFSZ;
}
int main(void) {
    enter_dir();
    signal(SIGXFSZ, on_signal);
    struct rlimit files = {20, 20};
    NEED(setrlimit(RLIMIT_NOFILE, &files) == 0);
    close_range(3, ~0U, 0);
    int count = 0;
    while (open("/dev/null", O_RDONLY) >= 0)
        count++;
    printf("opened %d, then %s\n", count, errno_name(errno));
    R(dup(0));
    R(fcntl(0, F_DUPFD, 20));
    R(fcntl(0, F_DUPFD, 19));
    R(dup2(0, 20));
    R(dup2(0, 19));
    close(19);
    int ends[2];
    R(pipe(ends)); // one place is not enough for two
    R(dup(0));
    close_range(3, ~0U, 0);
    struct rlimit size = {1000, 1000};
    NEED(setrlimit(RLIMIT_FSIZE, &size) == 0);
    int fd = open("f", O_RDWR | O_CREAT, 0600);
    char text[600];
    memset(text, 'x', sizeof text);
    R(write(fd, text, 600));
    R(write(fd, text, 600)); // as far as it goes
    R(write(fd, text, 600));
    R(signals);
    R(ftruncate(fd, 1001));
    R(signals);
    R(pwrite(fd, "y", 1, 999));
    R(pwrite(fd, "y", 1, 1000));
    R(signals);
    R(truncate("f", 500));
    R(lseek(fd, 0, SEEK_END));
    return 0;
}

// Arguments that are odd but not wrong, or wrong in a way that another check comes before.
#include "test.h"
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mount.h>
#include <sys/sendfile.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#define LAST 0x7fffffffffffffffL

static void masks(void) {
    // A mask for the time of a call that need not wait, and what is pending and ignored meanwhile.
    int pipes[2];
    sigset_t none, one, now;
    NEED(pipe(pipes) == 0 && write(pipes[1], "x", 1) == 1);
    sigemptyset(&none);
    sigemptyset(&one);
    sigaddset(&one, SIGURG);
    struct pollfd ready = {pipes[0], POLLIN, 0};
    struct timespec soon = {0, 1000};
    sigprocmask(SIG_BLOCK, &one, NULL);
    for (int i = 0; i < 3; i++) {
        raise(SIGURG);
        R(ppoll(&ready, 1, &soon, &none));
        raise(SIGURG);
        R(ppoll(NULL, 0, &soon, &none));
        fd_set set;
        FD_ZERO(&set);
        FD_SET(pipes[0], &set);
        raise(SIGURG);
        R(pselect(pipes[0] + 1, &set, NULL, NULL, &soon, &none));
        raise(SIGURG);
        struct epoll_event event;
        int epoll = epoll_create1(0);
        R(epoll_pwait(epoll, &event, 1, 1, &none));
        close(epoll);
        sigprocmask(SIG_SETMASK, NULL, &now);
        R(sigismember(&now, SIGURG));
    }
}

int main(void) {
    enter_dir();
    masks();
    char byte[8] = "1234567";
    struct iovec vector = {byte, 8};
    int fd = open("f", O_RDWR | O_CREAT, 0600), pipes[2];
    NEED(fd >= 0 && pipe(pipes) == 0);
    R(pread(fd, byte, 8, LAST));
    R(pwrite(fd, byte, 8, LAST));
    R(pread(fd, byte, 8, LAST - 7));
    R(preadv(fd, &vector, 1, LAST));
    R(pwritev(fd, &vector, 1, LAST - 3));
    int plain[] = {eventfd(0, 0), epoll_create1(0), timerfd_create(CLOCK_MONOTONIC, 0), inotify_init1(0)};
    for (int i = 0; i < 4; i++) {
        R(lseek(plain[i], 5, SEEK_SET));
        R(lseek(plain[i], -5, SEEK_CUR));
        R(lseek(plain[i], 5, 77));
    }
    R(lseek(pipes[0], 0, SEEK_SET));
    R(syscall(SYS_readahead, fd, 0, 4096));
    R(syscall(SYS_readahead, fd, 0, -1L));
    R(syscall(SYS_sendfile, fd, fd, NULL, -1L));
    struct stat status;
    R(fstatat(AT_FDCWD, "f", &status, 0x2000));
    R(fstatat(AT_FDCWD, "f", &status, 0x4000));
    R(fstatat(AT_FDCWD, "f", &status, 0x8000));
    for (int kind = 0; kind < 16; kind++) {
        if (kind == 8) continue; // MAP_DROPPABLE, from Linux 6.11 on
        void *at = mmap(NULL, 4096, PROT_READ, kind, fd, 0);
        printf("kind %d: %s\n", kind, at == MAP_FAILED ? strerrorname_np(errno) : "mapped");
        if (kind != 0 && kind != 3) R(mmap(NULL, 4096, PROT_READ, kind | MAP_ANONYMOUS, -1, 0) == MAP_FAILED);
    }
    R(mmap(NULL, 4096, PROT_READ, MAP_SHARED, pipes[1], 0) == MAP_FAILED);
    R(mmap(NULL, 4096, PROT_READ, MAP_SHARED, pipes[0], 0) == MAP_FAILED);
    char *page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    R(msync(page, -1L, MS_SYNC));
    R(msync(page, -4096L, MS_SYNC));
    R(umount2("f", 64));
    R(umount2("missing", 0));
    R(umount2((char *)8, 0));
    R(umount2("f/", 0));
    return 0;
}

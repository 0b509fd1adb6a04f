// What calls say of descriptors that O_PATH opened, of sizes and flags they do not know, and of
// pointers that can't be read, in the order in which they look at them.
#include "test.h"
#include <linux/openat2.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/statfs.h>
#include <sys/timerfd.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <utime.h>
#define BAD ((void *)8)
#define HIGH ((void *)0x8000000000000000)
static char buffer[8192];
static struct iovec vec = {buffer, 10};
static void on_path(int p, const char *what) {
    struct stat st;
    struct statfs fs;
    struct flock lock = {.l_type = F_RDLCK};
    struct epoll_event event = {EPOLLIN, {0}};
    struct timespec times[2] = {{1, 0}, {1, 0}};
    loff_t at = 0;
    int ends[2], n;
    printf("-- O_PATH: %s\n", what);
    NEED(pipe(ends) == 0);
    R(read(p, buffer, 1));
    R(write(p, buffer, 1));
    R(read(p, HIGH, 1));
    R(pread(p, buffer, 1, 0));
    R(pwrite(p, buffer, 1, 0));
    R(pread(p, buffer, 1, -1));
    R(readv(p, &vec, 1));
    R(writev(p, &vec, 1));
    R(preadv(p, &vec, 1, 0));
    R(pwritev2(p, &vec, 1, 0, 0x1000));
    R(lseek(p, 0, SEEK_SET));
    R(fstat(p, &st));
    R(fstatfs(p, &fs));
    R(fchmod(p, 0755));
    R(fchown(p, 0, 0));
    R(futimens(p, times));
    R(ftruncate(p, 0));
    R(ftruncate(p, -1));
    R(fallocate(p, 0, 0, 1));
    R(fallocate(p, 0x1000, -1, 1));
    R(fsync(p));
    R(fdatasync(p));
    R(syncfs(p));
    R(sync_file_range(p, 0, 0, 0));
    R(posix_fadvise(p, 0, 0, 0));
    R(readahead(p, 0, 1));
    R(ioctl(p, FIONREAD, &n));
    R(ioctl(p, FIOCLEX));
    R(flock(p, LOCK_SH));
    R(flock(p, 77));
    R(fcntl(p, F_GETFD));
    R(fcntl(p, F_SETFD, 0));
    printf("F_GETFL %#x\n", fcntl(p, F_GETFL));
    R(fcntl(p, F_SETFL, 0));
    R(fcntl(p, F_GETLK, &lock));
    R(fcntl(p, F_SETLK, &lock));
    R(fcntl(p, F_GETOWN));
    R(fcntl(p, F_GETPIPE_SZ));
    R(fcntl(p, F_GET_SEALS));
    R(fcntl(p, F_NOTIFY, 0));
    R(fcntl(p, 9999));
    R(syscall(SYS_getdents64, p, buffer, sizeof buffer) > 0 ? 1 : -1);
    OK(fchdir(p));
    OK(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, p, 0) == MAP_FAILED ? -1 : 0);
    OK(mmap(NULL, 0, PROT_READ, MAP_PRIVATE, p, 0) == MAP_FAILED ? -1 : 0);
    R(sendfile(ends[1], p, NULL, 1));
    R(splice(p, &at, ends[1], NULL, 1, 0));
    R(tee(p, ends[1], 1, 0));
    R(vmsplice(p, &vec, 1, 0));
    R(copy_file_range(p, &at, p, &at, 1, 0));
    R(fgetxattr(p, "user.x", buffer, 1));
    R(fsetxattr(p, "user.x", "v", 1, 0));
    R(flistxattr(p, buffer, 1));
    R(fremovexattr(p, "user.x"));
    R(inotify_add_watch(p, ".", IN_OPEN));
    R(inotify_rm_watch(p, 1));
    R(syscall(SYS_epoll_wait, p, &event, 1, 0));
    R(timerfd_settime(p, 0, BAD, NULL));
    R(timerfd_gettime(p, BAD));
    R(syscall(SYS_signalfd4, p, &(sigset_t){0}, 8, 0));
    int e = epoll_create1(0);
    R(epoll_ctl(e, EPOLL_CTL_ADD, p, &event));
    R(epoll_ctl(p, EPOLL_CTL_ADD, e, &event));
    struct pollfd poll_one = {p, POLLIN | POLLOUT, 0};
    R(poll(&poll_one, 1, 0));
    printf("revents %#x\n", poll_one.revents);
    fd_set set;
    FD_ZERO(&set);
    FD_SET(p, &set);
    R(select(p + 1, &set, NULL, NULL, &(struct timeval){0, 0}));
    R(getsockopt(p, SOL_SOCKET, SO_TYPE, &n, &(socklen_t){4}));
    R(bind(p, BAD, 16));
    R(listen(p, 1));
    R(shutdown(p, 0));
    int copy = dup(p);
    YES(copy >= 0);
    close(copy), close(ends[0]), close(ends[1]), close(e);
}
static long open2(const char *path, void *how, size_t size) {
    long fd = syscall(SYS_openat2, AT_FDCWD, path, how, size);
    if (fd >= 0)
        close(fd);
    return fd >= 0 ? 0 : fd;
}
static long how2(const char *path, unsigned long flags, unsigned long mode, unsigned long resolve) {
    struct open_how how = {flags, mode, resolve};
    return open2(path, &how, sizeof how);
}
int main(void) {
    enter_dir();
    put_file("f", "0123456789");
    NEED(mkdir("d", 0755) == 0 && symlink("f", "link") == 0 && symlink("d", "dlink") == 0);
    put_file("d/inner", "x");
    NEED(symlink("../f", "d/up") == 0 && symlink("/f", "d/root") == 0);
    char here[512];
    NEED(getcwd(here, sizeof here));
    on_path(open("f", O_PATH), "a file");
    on_path(open("d", O_PATH), "a directory");
    NEED(chdir(here) == 0);
    on_path(open("link", O_PATH | O_NOFOLLOW), "a link");
    R(fchdir(open("link", O_PATH | O_NOFOLLOW)));

    printf("-- openat2\n");
    struct {
        struct open_how how;
        char tail[8192];
    } big = {{O_RDONLY, 0, 0}, {0}};
    R(open2("f", &big, sizeof big.how));
    R(open2("f", &big, sizeof big.how + 8));
    R(open2("f", &big, sizeof big.how + 1));
    R(open2("f", &big, 4096));
    R(open2("f", &big, 4097));
    R(open2("f", &big, 16));
    R(open2("f", &big, 23));
    R(open2("f", &big, 0));
    big.tail[0] = 1;
    R(open2("f", &big, sizeof big.how));
    R(open2("f", &big, sizeof big.how + 8));
    R(open2(BAD, &big, sizeof big.how + 8));
    R(open2("f", BAD, sizeof big.how));
    R(open2("f", BAD, sizeof big.how + 8));
    R(open2("f", BAD, 16));
    R(open2(BAD, BAD, sizeof big.how));
    char *edge = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    munmap(edge + 4096, 4096);
    R(open2("f", edge + 4096 - 24, 24));
    R(open2("f", edge + 4096 - 24, 32));
    R(how2("f", O_RDONLY, 0, 0));
    R(how2("f", 1UL << 40, 0, 0));
    R(how2("f", 0x40000000, 0, 0));
    R(how2("f", O_RDONLY, 0644, 0));
    R(how2("new", O_CREAT | O_RDWR, 0644, 0));
    R(how2("new", O_CREAT | O_RDWR, 010644, 0));
    R(how2("f", O_RDONLY, 0, 64));
    R(how2("f", O_RDONLY, 0, 1UL << 40));
    R(how2("f", O_RDONLY, 0, RESOLVE_BENEATH | RESOLVE_IN_ROOT));
    R(how2("f", O_PATH | O_RDWR, 0, 0));
    R(how2("f", O_PATH | O_CLOEXEC, 0, 0));
    R(how2("d", O_DIRECTORY | O_CREAT | O_RDWR, 0644, 0));
    R(how2(".", O_TMPFILE | O_RDWR, 0600, 0));
    R(how2(".", O_TMPFILE | O_RDONLY, 0600, 0));
    R(how2("", O_RDONLY, 0, 0));
    printf("-- RESOLVE_NO_SYMLINKS\n");
    R(how2("f", O_RDONLY, 0, RESOLVE_NO_SYMLINKS));
    R(how2("link", O_RDONLY, 0, RESOLVE_NO_SYMLINKS));
    R(how2("link", O_PATH | O_NOFOLLOW, 0, RESOLVE_NO_SYMLINKS));
    R(how2("dlink/inner", O_RDONLY, 0, RESOLVE_NO_SYMLINKS));
    R(how2("dlink/", O_RDONLY, 0, RESOLVE_NO_SYMLINKS));
    R(how2("/proc/self/exe", O_RDONLY, 0, RESOLVE_NO_SYMLINKS));
    printf("-- RESOLVE_NO_MAGICLINKS\n");
    R(how2("link", O_RDONLY, 0, RESOLVE_NO_MAGICLINKS));
    R(how2("/proc/self/exe", O_RDONLY, 0, RESOLVE_NO_MAGICLINKS));
    R(how2("/proc/self/exe", O_PATH | O_NOFOLLOW, 0, RESOLVE_NO_MAGICLINKS));
    R(how2("/proc/self/cwd/f", O_RDONLY, 0, RESOLVE_NO_MAGICLINKS));
    R(how2("/proc/self/stat", O_RDONLY, 0, RESOLVE_NO_MAGICLINKS));
    printf("-- RESOLVE_BENEATH\n");
    R(how2("f", O_RDONLY, 0, RESOLVE_BENEATH));
    R(how2("d/../f", O_RDONLY, 0, RESOLVE_BENEATH));
    R(how2("d/up", O_RDONLY, 0, RESOLVE_BENEATH));
    R(how2("../x", O_RDONLY, 0, RESOLVE_BENEATH));
    R(how2("..", O_RDONLY, 0, RESOLVE_BENEATH));
    R(how2("d/../../x", O_RDONLY, 0, RESOLVE_BENEATH));
    R(how2("/", O_RDONLY, 0, RESOLVE_BENEATH));
    R(how2("d/root", O_RDONLY, 0, RESOLVE_BENEATH));
    R(how2("d/root", O_PATH | O_NOFOLLOW, 0, RESOLVE_BENEATH));
    R(how2("absent", O_RDONLY, 0, RESOLVE_BENEATH));
    R(how2("made", O_RDWR | O_CREAT, 0600, RESOLVE_BENEATH));
    printf("-- RESOLVE_IN_ROOT\n");
    R(how2("/f", O_RDONLY, 0, RESOLVE_IN_ROOT));
    R(how2("../../f", O_RDONLY, 0, RESOLVE_IN_ROOT));
    R(how2("d/root", O_RDONLY, 0, RESOLVE_IN_ROOT));
    R(how2("/proc", O_RDONLY, 0, RESOLVE_IN_ROOT));
    printf("-- RESOLVE_NO_XDEV\n");
    R(how2("f", O_RDONLY, 0, RESOLVE_NO_XDEV));
    R(how2("/proc", O_RDONLY, 0, RESOLVE_NO_XDEV));
    R(how2("/proc/self/stat", O_RDONLY, 0, RESOLVE_NO_XDEV));

    printf("-- unknown flags\n");
    int fd = open("f", O_RDWR), dir = open("d", O_RDONLY);
    struct stat st;
    R(dup3(fd, 20, 1));
    R(dup3(99, 20, 1));
    R(dup3(fd, fd, O_CLOEXEC));
    R(pipe2((int *)buffer, 1));
    R(pipe2(BAD, 1));
    R(pipe2(BAD, 0));
    R(syscall(SYS_close_range, 50, 60, 8));
    R(syscall(SYS_close_range, 60, 50, 0));
    R(fstatat(AT_FDCWD, BAD, &st, 1));
    R(fstatat(AT_FDCWD, "f", BAD, 0));
    R(fstatat(AT_FDCWD, "absent", BAD, 0));
    R(syscall(SYS_statx, AT_FDCWD, BAD, 1, 0, buffer));
    R(syscall(SYS_statx, AT_FDCWD, "f", 0x6000, 0, buffer));
    R(syscall(SYS_statx, AT_FDCWD, "f", 0, 0x80000000u, buffer));
    R(syscall(SYS_statx, AT_FDCWD, "f", 0, 0x40000000u, buffer));
    R(syscall(SYS_statx, AT_FDCWD, "f", 0, 0, BAD));
    R(syscall(SYS_statx, AT_FDCWD, "absent", 0, 0, BAD));
    R(unlinkat(AT_FDCWD, BAD, 1));
    R(linkat(AT_FDCWD, BAD, AT_FDCWD, BAD, 1));
    R(linkat(fd, "", AT_FDCWD, "linked", 0));
    R(linkat(fd, "", AT_FDCWD, "linked", AT_EMPTY_PATH));
    R(syscall(SYS_renameat2, AT_FDCWD, BAD, AT_FDCWD, BAD, 8));
    R(syscall(SYS_renameat2, AT_FDCWD, "f", AT_FDCWD, "d", 3));
    R(fchownat(AT_FDCWD, BAD, 0, 0, 1));
    R(syscall(SYS_faccessat2, AT_FDCWD, BAD, 0, 1));
    R(syscall(SYS_faccessat2, AT_FDCWD, BAD, 8, 0));
    R(syscall(452, AT_FDCWD, BAD, 0, 1));
    R(syscall(SYS_utimensat, AT_FDCWD, BAD, NULL, 1));
    R(syscall(SYS_utimensat, AT_FDCWD, "f", BAD, 1));
    R(syscall(SYS_utimensat, 99, NULL, NULL, 0));
    R(syscall(SYS_utimensat, fd, NULL, NULL, AT_SYMLINK_NOFOLLOW));
    R(syscall(SYS_utimensat, AT_FDCWD, NULL, NULL, 0));
    R(syscall(SYS_memfd_create, BAD, 0x1000));
    R(syscall(SYS_memfd_create, BAD, 0));
    R(syscall(SYS_memfd_create, "x", 0x18));
    R(preadv2(fd, &vec, 1, 0, 0x1000));
    R(preadv2(99, BAD, 1, 0, 0x1000));
    R(preadv2(fd, BAD, 1, 0, 0x1000));
    R(preadv2(fd, &vec, 1, -2, 0));
    R(preadv2(fd, &vec, 0, 0, 0x1000));
    R(preadv2(dir, &vec, 1, 0, 0));
    R(pwritev2(fd, &vec, 1, 0, 0x30));
    R(pwritev2(fd, &vec, 1, 0, 0x10));
    R(pwritev2(fd, &vec, 1, -1, 0x20));
    R(readv(fd, &vec, 1025));
    R(readv(99, &vec, 1025));
    R(readv(fd, BAD, 1));
    R(readv(fd, BAD, 0));
    R(fallocate(fd, 0x1000, 0, 1));
    R(fallocate(fd, 0x1000, 0, 0));
    R(fallocate(fd, 2, 0, 1));
    R(fallocate(fd, 0, LONG_MAX, 1));
    R(fallocate(dir, 0, 0, 1));
    R(fallocate(open("f", O_RDONLY), 0, 0, 1));
    R(sync_file_range(fd, 0, 0, 8));
    R(sync_file_range(fd, -1, 0, 0));
    R(sync_file_range(99, -1, 0, 8));
    R(posix_fadvise(fd, 0, 0, 9));
    R(posix_fadvise(fd, 0, -1, 0));
    R(posix_fadvise(99, 0, -1, 9));
    int ends[2];
    NEED(pipe(ends) == 0);
    R(posix_fadvise(ends[0], 0, 0, 9));
    R(readahead(ends[0], 0, 1));
    R(readahead(dir, 0, 1));
    R(lseek(fd, 0, 9));
    R(lseek(ends[0], 0, 9));
    R(lseek(99, 0, 9));
    R(lseek(fd, -1, SEEK_SET));
    R(lseek(fd, 100, SEEK_DATA));
    R(lseek(fd, -1, SEEK_HOLE));
    R(fcntl(ends[0], F_SETPIPE_SZ, 1) > 0 ? 0 : -1);
    R(fcntl(ends[0], F_SETPIPE_SZ, -1));
    R(fcntl(ends[0], F_SETPIPE_SZ, 0));
    R(fcntl(fd, F_SETPIPE_SZ, 4096));
    R(fcntl(fd, F_DUPFD, -1));
    R(fcntl(99, F_DUPFD, -1));

    printf("-- owners and modes\n");
    put_file("m", "");
    mode_t modes[] = {04755, 02755, 06755, 02745, 06745, 06644};
    for (int i = 0; i < 6; i++)
        for (int change = 0; change < 3; change++) {
            NEED(chmod("m", modes[i]) == 0);
            if (change == 0)
                NEED(chown("m", 0, 0) == 0);
            else if (change == 1)
                NEED(chown("m", -1, -1) == 0);
            else {
                int w = open("m", O_WRONLY);
                NEED(write(w, "x", 1) == 1 && ftruncate(w, 0) == 0);
                close(w);
            }
            NEED(stat("m", &st) == 0);
            printf("%o, change %d: %o\n", modes[i], change, st.st_mode & 07777);
        }
    NEED(chmod("d", 06755) == 0 && chown("d", 0, 0) == 0 && stat("d", &st) == 0);
    printf("directory %o\n", st.st_mode & 07777);
    return 0;
}

// stat, statx, newfstatat: types, sizes, links, times that move as they should.
#include "test.h"
#include <sys/sysmacros.h>
static int later(struct timespec a, struct timespec b) {
    return a.tv_sec > b.tv_sec || (a.tv_sec == b.tv_sec && a.tv_nsec > b.tv_nsec);
}
int main(void) {
    enter_dir();
    put_file("f", "12345");
    struct stat st, second;
    R(stat("f", &st));
    printf("mode %o nlink %ld size %ld uid same %d gid same %d blksize %ld\n", st.st_mode,
           (long)st.st_nlink, (long)st.st_size, st.st_uid == getuid(), st.st_gid == getgid(),
           (long)st.st_blksize);
    put_file("g", "");
    stat("g", &second);
    YES(st.st_dev == second.st_dev);
    YES(st.st_ino != second.st_ino);
    sleep_ms(20);
    put_file("f", "123456");
    stat("f", &second);
    YES(later(second.st_mtim, st.st_mtim));
    YES(later(second.st_ctim, st.st_ctim));
    YES(st.st_ino == second.st_ino);
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    YES(now.tv_sec - second.st_mtim.tv_sec <= 2);
    sleep_ms(20);
    NEED(chmod("f", 0600) == 0);
    stat("f", &st);
    YES(later(st.st_ctim, second.st_ctim));
    YES(!later(st.st_mtim, second.st_mtim));
    stat(".", &st);
    sleep_ms(20);
    put_file("h", "");
    stat(".", &second);
    YES(later(second.st_mtim, st.st_mtim));
    R(stat("absent", &st));
    R(stat("f/x", &st));
    R(fstat(99, &st));
    int fd = open("f", O_RDONLY);
    R(fstatat(fd, "", &st, AT_EMPTY_PATH));
    R(fstatat(AT_FDCWD, "", &st, 0));
    R(fstatat(fd, "x", &st, 0));
    R(fstatat(99, "x", &st, 0));
    R(fstatat(99, "/tmp", &st, 0));
    R(fstatat(AT_FDCWD, "f", &st, 0x100000));
    struct statx x;
    R(statx(AT_FDCWD, "f", 0, STATX_BASIC_STATS, &x));
    printf("mode %o nlink %u size %lld all %d\n", x.stx_mode, x.stx_nlink, (long long)x.stx_size,
           (x.stx_mask & STATX_BASIC_STATS) == STATX_BASIC_STATS);
    R(statx(fd, "", AT_EMPTY_PATH, STATX_SIZE, &x));
    R(statx(AT_FDCWD, "absent", 0, STATX_SIZE, &x));
    R(stat("/dev/null", &st));
    printf("char %d rdev %d:%d\n", S_ISCHR(st.st_mode), major(st.st_rdev), minor(st.st_rdev));
    int pipes[2];
    NEED(pipe(pipes) == 0);
    R(fstat(pipes[0], &st));
    YES(S_ISFIFO(st.st_mode));
    int sock = socket(AF_UNIX, SOCK_STREAM, 0);
    R(fstat(sock, &st));
    YES(S_ISSOCK(st.st_mode));
    return 0;
}

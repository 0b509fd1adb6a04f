// chmod, chown, access, utimensat, umask as root sees them.
#include "test.h"
static void mode(const char *path) {
    struct stat st;
    if (stat(path, &st))
        printf("%s: %s\n", path, errno_name(errno));
    else
        printf("%s: %o %u:%u\n", path, st.st_mode, st.st_uid, st.st_gid);
}
static void times_of(const char *path) {
    struct stat st;
    stat(path, &st);
    printf("atime %ld.%09ld mtime %ld.%09ld\n", st.st_atim.tv_sec, st.st_atim.tv_nsec,
           st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
}
int main(void) {
    enter_dir();
    put_file("f", "x");
    R(chmod("f", 04755));
    mode("f");
    R(chmod("absent", 0644));
    int fd = open("f", O_RDWR);
    R(fchmod(fd, 0));
    mode("f");
    R(access("f", F_OK));
    R(access("f", X_OK));
    R(access("f", 99));
    R(access("absent", F_OK));
    R(fchmodat(AT_FDCWD, "f", 0600, 0));
    R(faccessat(AT_FDCWD, "f", R_OK, AT_EACCESS));
    R(chown("f", 12, 34));
    mode("f");
    R(chown("f", -1, 56));
    mode("f");
    R(fchown(fd, 0, 0));
    NEED(symlink("f", "s") == 0);
    R(lchown("s", 7, 7));
    mode("f");
    R(umask(0));
    R(umask(027));
    R(mkdir("d", 0777));
    mode("d");
    struct timespec t[2] = {{1000, 5}, {2000, 999999999}};
    R(utimensat(AT_FDCWD, "f", t, 0));
    times_of("f");
    t[0].tv_nsec = UTIME_OMIT;
    t[1].tv_sec = 3000;
    R(utimensat(AT_FDCWD, "f", t, 0));
    times_of("f");
    t[1].tv_nsec = 1000000000;
    R(utimensat(AT_FDCWD, "f", t, 0));
    R(utimensat(AT_FDCWD, "absent", NULL, 0));
    R(futimens(fd, NULL));
    struct stat st;
    struct timespec now;
    fstat(fd, &st);
    clock_gettime(CLOCK_REALTIME, &now);
    YES(now.tv_sec - st.st_mtim.tv_sec <= 2);
    struct timeval tv[2] = {{10, 20}, {30, 40}};
    R(utimes("f", tv));
    times_of("f");
    return 0;
}

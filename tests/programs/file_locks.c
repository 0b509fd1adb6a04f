// flock and fcntl locks on tmpfs, seen from two open files of one process.
#include "test.h"
#include <sys/file.h>
int main(void) {
    enter_dir();
    put_file("f", "0123456789");
    int a = open("f", O_RDWR), b = open("f", O_RDWR);
    R(flock(a, LOCK_EX | LOCK_NB));
    R(flock(b, LOCK_EX | LOCK_NB));
    R(flock(b, LOCK_SH | LOCK_NB));
    R(flock(a, LOCK_SH | LOCK_NB));
    R(flock(b, LOCK_SH | LOCK_NB));
    R(flock(a, LOCK_EX | LOCK_NB));
    R(flock(b, LOCK_UN));
    R(flock(a, LOCK_EX | LOCK_NB));
    close(a); // releases
    R(flock(b, LOCK_EX | LOCK_NB));
    R(flock(99, LOCK_EX));
    R(flock(b, 77));
    a = open("f", O_RDWR);
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 2, .l_len = 3};
    R(fcntl(a, F_SETLK, &lock));
    R(fcntl(b, F_SETLK, &lock)); // same process: no conflict
    lock.l_type = F_RDLCK;
    R(fcntl(b, F_GETLK, &lock));
    printf("type %d\n", lock.l_type == F_UNLCK);
    struct flock ofd = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 6, .l_len = 2};
    R(fcntl(a, F_OFD_SETLK, &ofd));
    R(fcntl(b, F_OFD_SETLK, &ofd));
    ofd.l_start = 8;
    R(fcntl(b, F_OFD_SETLK, &ofd));
    ofd.l_type = 42;
    R(fcntl(b, F_OFD_SETLK, &ofd));
    return 0;
}

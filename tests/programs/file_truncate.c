// truncate, ftruncate, fallocate: sizes change, cut bytes are gone for good.
#include "test.h"
int main(void) {
    enter_dir();
    put_file("f", "0123456789");
    int fd = open("f", O_RDWR);
    R(ftruncate(fd, 5));
    R(ftruncate(fd, 8));
    char b[20];
    R(pread(fd, b, 20, 0));
    printf("%.5s %d %d %d\n", b, b[5], b[6], b[7]);
    R(truncate("f", 3));
    R(lseek(fd, 0, SEEK_END));
    R(truncate("f", -1));
    R(truncate("absent", 1));
    R(truncate(".", 1));
    R(ftruncate(fd, -1));
    int reader = open("f", O_RDONLY);
    R(ftruncate(reader, 1));
    R(fallocate(fd, 0, 0, 100));
    R(lseek(fd, 0, SEEK_END));
    R(fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 10000));
    R(lseek(fd, 0, SEEK_END));
    R(fallocate(fd, 0, 0, 0));
    R(fallocate(fd, 0, -1, 5));
    R(posix_fallocate(fd, 50, 100));
    R(lseek(fd, 0, SEEK_END));
    R(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 2));
    R(pread(fd, b, 3, 0));
    printf("%d %d %c\n", b[0], b[1], b[2]);
    R(fsync(fd));
    R(fdatasync(fd));
    R(fsync(99));
    return 0;
}

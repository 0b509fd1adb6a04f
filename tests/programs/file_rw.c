// Positions: read, write, pread, pwrite, lseek in all directions, holes read as zeros.
#include "test.h"
int main(void) {
    enter_dir();
    int fd = open("f", O_RDWR | O_CREAT, 0600);
    char b[100];
    R(write(fd, "0123456789", 10));
    R(read(fd, b, 5));
    R(lseek(fd, -4, SEEK_END));
    R(read(fd, b, 100));
    printf("%.4s\n", b);
    R(pread(fd, b, 3, 2));
    printf("%.3s\n", b);
    R(lseek(fd, 0, SEEK_CUR));
    R(pwrite(fd, "XY", 2, 1));
    R(lseek(fd, 0, SEEK_CUR));
    show_file("f");
    R(lseek(fd, 100, SEEK_SET));
    R(read(fd, b, 1));
    R(write(fd, "z", 1));
    struct stat st;
    fstat(fd, &st);
    printf("size %ld\n", (long)st.st_size);
    memset(b, 1, sizeof b);
    R(pread(fd, b, 90, 10));
    int zeros = 1;
    for (int i = 0; i < 90; i++)
        zeros &= b[i] == 0;
    YES(zeros);
    R(lseek(fd, -1, SEEK_SET));
    R(lseek(fd, -200, SEEK_END));
    R(lseek(fd, 0, 99));
    R(pread(fd, b, 1, -1));
    R(pwrite(fd, b, 1, -1));
    R(read(fd, b, 0));
    R(write(fd, b, 0));
    R(lseek(fd, 1L << 40, SEEK_SET));
    R(read(fd, b, 1));
    R(read(-1, b, 1));
    R(write(99, b, 1));
    R(lseek(99, 0, SEEK_SET));
    // A bigger file, page boundaries crossed.
    char *big = malloc(300000);
    for (int i = 0; i < 300000; i++)
        big[i] = (char)(i * 7 + i / 4096);
    R(pwrite(fd, big, 300000, 4000));
    char *back = malloc(300000);
    R(pread(fd, back, 300000, 4000));
    R(memcmp(big, back, 300000));
    R(pread(fd, back, 10, 4090));
    R(memcmp(big + 90, back, 10));
    R(pread(fd, back, 300000, 303000));
    R(lseek(fd, 0, SEEK_HOLE) > 0);
    R(lseek(fd, 400000, SEEK_DATA));
    R(close(fd));
    R(close(fd));
    return 0;
}

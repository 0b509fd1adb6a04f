// Several MiB written, read, mapped and cut again: contents agree by every way to look.
#include "test.h"
#define SIZE (6 << 20)
int main(void) {
    enter_dir();
    int fd = open("big", O_RDWR | O_CREAT, 0600);
    char *block = malloc(70001);
    unsigned value = 1;
    long written = 0;
    while (written < SIZE) {
        for (int i = 0; i < 70001; i++)
            block[i] = (char)((value = value * 1664525 + 1013904223) >> 24);
        long n = SIZE - written < 70001 ? SIZE - written : 70001;
        NEED(write(fd, block, n) == n);
        written += n;
    }
    char *map = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, fd, 0);
    NEED(map != MAP_FAILED);
    long wrong = 0;
    value = 1;
    for (long at = 0; at < SIZE; at++)
        wrong += map[at] != (char)((value = value * 1664525 + 1013904223) >> 24);
    printf("wrong in the mapping %ld\n", wrong);
    NEED(lseek(fd, 0, SEEK_SET) == 0);
    wrong = 0;
    value = 1;
    for (long n; (n = read(fd, block, 65537)) > 0;)
        for (long i = 0; i < n; i++)
            wrong += block[i] != (char)((value = value * 1664525 + 1013904223) >> 24);
    printf("wrong by read %ld\n", wrong);
    munmap(map, SIZE);
    R(ftruncate(fd, 100));
    R(lseek(fd, 0, SEEK_END));
    // Write it again: the memory came back.
    for (int round = 0; round < 8; round++) {
        NEED(ftruncate(fd, 0) == 0 && lseek(fd, 0, SEEK_SET) == 0);
        for (int i = 0; i < 60; i++)
            NEED(write(fd, block, 70001) == 70001);
    }
    puts("rewritten");
    return 0;
}

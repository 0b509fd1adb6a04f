// Huge reservations cost nothing until touched: 10 GiB areas, a few pages each.
#include "test.h"
#define GIB (1UL << 30)
int main(void) {
    char *areas[4];
    for (int i = 0; i < 4; i++) {
        areas[i] = mmap(NULL, 10 * GIB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        NEED(areas[i] != MAP_FAILED);
        R(mprotect(areas[i] + 3 * GIB, 4096 * 4, PROT_READ | PROT_WRITE));
        areas[i][3 * GIB + 4096] = (char)(i + 1);
    }
    for (int i = 0; i < 4; i++)
        R(areas[i][3 * GIB + 4096]);
    for (int i = 0; i < 4; i++)
        R(munmap(areas[i], 10 * GIB));
    char *writable =
        mmap(NULL, 10 * GIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    NEED(writable != MAP_FAILED);
    long sum = 0;
    for (unsigned long at = 0; at < 10 * GIB; at += GIB / 4) {
        sum += writable[at]; // reads of untouched pages
        writable[at + 8192] = 1;
    }
    for (unsigned long at = 0; at < 10 * GIB; at += GIB / 4)
        sum += writable[at + 8192];
    printf("sum %ld\n", sum);
    R(munmap(writable + GIB, 8 * GIB));
    R(writable[8192] + writable[9 * GIB + 8192]);
    R(munmap(writable, 10 * GIB));
    return 0;
}

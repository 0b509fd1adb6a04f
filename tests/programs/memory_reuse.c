// Memory given back can be had again, far beyond the machine's size in sum, and always zeroed.
#include "test.h"
int main(void) {
    int dirty = 0;
    for (int round = 0; round < 40; round++) {
        size_t size = 4 << 20;
        char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        NEED(p != MAP_FAILED);
        for (size_t i = 0; i < size; i += 4096) {
            dirty += p[i] != 0;
            p[i] = 1;
        }
        if (round % 2)
            NEED(madvise(p, size, MADV_DONTNEED) == 0);
        NEED(munmap(p, size) == 0);
    }
    printf("160 MiB through, %d dirty pages\n", dirty);
    return 0;
}

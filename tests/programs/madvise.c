// MADV_DONTNEED gives zeros again; the rest are hints with checked arguments.
#include "test.h"
#define PAGE 4096L
int main(void) {
    char *p = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    NEED(p != MAP_FAILED);
    memset(p, 1, 8 * PAGE);
    R(madvise(p + 2 * PAGE, 3 * PAGE, MADV_DONTNEED));
    for (int i = 0; i < 8; i++)
        printf("%d", p[i * PAGE + 100]);
    putchar('\n');
    p[3 * PAGE] = 4;
    R(p[3 * PAGE]);
    R(madvise(p, 8 * PAGE, MADV_WILLNEED));
    R(madvise(p, 8 * PAGE, MADV_RANDOM));
    R(madvise(p, 8 * PAGE, MADV_DONTFORK));
    R(madvise(p, 8 * PAGE, MADV_DOFORK));
    R(madvise(p, 8 * PAGE, MADV_DONTDUMP));
    R(madvise(p, 8 * PAGE, MADV_NOHUGEPAGE));
    R(madvise(p, 8 * PAGE, 12345));
    R(madvise(p + 1, PAGE, MADV_DONTNEED));
    R(madvise(p, 0, MADV_DONTNEED));
    munmap(p + 4 * PAGE, PAGE);
    p[5 * PAGE] = 6;
    R(madvise(p, 8 * PAGE, MADV_DONTNEED)); // meets a hole: the rest is done all the same
    R(p[5 * PAGE]);
    R(p[0]);
    char *shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    shared[0] = 8;
    R(madvise(shared, PAGE, MADV_DONTNEED));
    R(shared[0]); // shared pages keep their content
    return 0;
}

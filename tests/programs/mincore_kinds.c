// mincore: anonymous memory before and after a touch, after DONTNEED, of a file, and its errors.
#include "test.h"
#define PAGE 4096L
static unsigned char in[16];
static void show(const char *what, int pages) {
    printf("%s: ", what);
    for (int i = 0; i < pages; i++)
        putchar('0' + (in[i] & 1));
    putchar('\n');
}
int main(void) {
    char *p = mmap(NULL, 64 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    NEED(p != MAP_FAILED);
    madvise(p, 64 * PAGE, MADV_NOHUGEPAGE);
    R(mincore(p, 4 * PAGE, in));
    show("untouched", 4);
    memset(p, 1, 4 * PAGE);
    R(mincore(p, 4 * PAGE, in));
    show("written", 4);
    madvise(p + PAGE, PAGE, MADV_DONTNEED);
    R(mincore(p, 4 * PAGE, in));
    show("given back", 4);
    int fd = memfd_create("m", 0);
    NEED(ftruncate(fd, 4 * PAGE) == 0 && pwrite(fd, "x", 1, 0) == 1);
    char *f = mmap(NULL, 4 * PAGE, PROT_READ, MAP_SHARED, fd, 0);
    R(mincore(f, PAGE, in));
    show("page of a file that has data", 1);
    R(mincore(p + 1, PAGE, in));
    R(mincore(p, 0, in));
    R(mincore(p, 64 * PAGE, (unsigned char *)8));
    munmap(p + 2 * PAGE, PAGE);
    R(mincore(p, 4 * PAGE, in));
    R(mincore(p, 1, in));
    R(mincore((void *)0xffff800000000000, PAGE, in));
    return 0;
}

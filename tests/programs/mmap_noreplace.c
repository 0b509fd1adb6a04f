// MAP_FIXED_NOREPLACE refuses what MAP_FIXED replaces; hints move out of the way.
#include "test.h"
#define PAGE 4096L
static char *map(void *at, long pages, int flags) {
    return mmap(at, (size_t)(pages * PAGE), PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
}
int main(void) {
    char *p = map(NULL, 8, 0);
    NEED(p != MAP_FAILED);
    memset(p, 1, 8 * PAGE);
    munmap(p + 2 * PAGE, 2 * PAGE);
    OK(map(p, 1, MAP_FIXED_NOREPLACE));
    OK(map(p + PAGE, 2, MAP_FIXED_NOREPLACE)); // half of it is taken
    YES(map(p + 2 * PAGE, 2, MAP_FIXED_NOREPLACE) == p + 2 * PAGE);
    printf("%d %d\n", p[PAGE], p[2 * PAGE]);
    YES(map(p, 2, MAP_FIXED) == p);
    printf("%d %d\n", p[0], p[4 * PAGE]);
    char *hint = map(p, 1, 0);
    YES(hint != MAP_FAILED && hint != p);
    munmap(p + 6 * PAGE, PAGE);
    YES(map(p + 6 * PAGE, 1, 0) == p + 6 * PAGE); // a hint at a free place is taken
    munmap(p + 6 * PAGE, PAGE);
    YES(map(p + 6 * PAGE + 100, 1, 0) == p + 6 * PAGE); // and rounded
    OK(map(p + 1, 1, MAP_FIXED));
    OK(map((void *)0x7ffffffff000, 2, MAP_FIXED));
    OK(map((void *)0xffff800000000000, 1, MAP_FIXED));
    OK(map(NULL, 1L << 40, MAP_NORESERVE) == MAP_FAILED ? -1L : 0);
    OK(map(NULL, 1L << 52, 0));
    OK(mmap(NULL, 0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    OK(mmap(NULL, PAGE, PROT_READ, MAP_ANONYMOUS, -1, 0));
    OK(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 100));
    char *low = map((void *)0x10000, 1, 0);
    YES(low != MAP_FAILED);
    char *in_low_half = map(NULL, 1, MAP_32BIT);
    YES(in_low_half != MAP_FAILED && (uintptr_t)in_low_half < 1UL << 32);
    return 0;
}

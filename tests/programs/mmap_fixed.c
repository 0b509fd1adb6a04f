// MAP_FIXED replaces, MAP_FIXED_NOREPLACE refuses, and only the pages asked for change.
#include "test.h"
#define RW (PROT_READ | PROT_WRITE)
#define PRIV (MAP_PRIVATE | MAP_ANONYMOUS)
int main(void) {
    char *p = mmap(NULL, 5 * 4096, RW, PRIV, -1, 0);
    NEED(p != MAP_FAILED);
    memset(p, 'a', 5 * 4096);
    YES(mmap(p + 4096, 2 * 4096, RW, PRIV | MAP_FIXED, -1, 0) == p + 4096);
    printf("%d %d %d %d %d\n", p[0], p[4096], p[8192], p[12288], p[4 * 4096]);
    OK(mmap(p + 4096, 4096, RW, PRIV | MAP_FIXED_NOREPLACE, -1, 0));
    OK(mmap(p + 4 * 4096, 8192, RW, PRIV | MAP_FIXED_NOREPLACE, -1, 0));
    munmap(p + 2 * 4096, 4096);
    YES(mmap(p + 2 * 4096, 4096, RW, PRIV | MAP_FIXED_NOREPLACE, -1, 0) == p + 2 * 4096);
    printf("%d %d %d\n", p[4096], p[8192], p[12288]);
    // A low address outside everything, and one just below the top of the user half.
    YES(mmap((void *)0x10000000, 4096, RW, PRIV | MAP_FIXED, -1, 0) == (void *)0x10000000);
    *(volatile char *)0x10000000 = 3;
    R(*(volatile char *)0x10000000);
    OK(mmap((void *)0x7ffffffff000UL, 4096, RW, PRIV | MAP_FIXED, -1, 0));
    OK(mmap((void *)0x7fffffffe000UL, 8192, RW, PRIV | MAP_FIXED, -1, 0));
    return 0;
}

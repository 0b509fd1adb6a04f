// Anonymous mappings: zeroed, separate, page-granular; and the calls' error cases.
#include "test.h"
#define RW (PROT_READ | PROT_WRITE)
#define PRIV (MAP_PRIVATE | MAP_ANONYMOUS)
int main(void) {
    char *p = mmap(NULL, 10000, RW, PRIV, -1, 0);
    YES(p != MAP_FAILED);
    YES((uintptr_t)p % 4096 == 0);
    R(p[0] + p[9999] + p[12287]);
    p[12287] = 5; // the mapping is whole pages
    R(p[12287]);
    R(munmap(p, 10000));
    R(munmap(p, 10000)); // nothing there: still fine
    OK(mmap(NULL, 0, RW, PRIV, -1, 0));
    OK(mmap(NULL, 4096, RW, MAP_ANONYMOUS, -1, 0));
    OK(mmap(NULL, 4096, RW, MAP_PRIVATE, -1, 0));
    OK(mmap(NULL, 4096, RW, MAP_PRIVATE, 77, 0));
    OK(mmap(NULL, 4096, RW, PRIV, -1, 123));
    OK(mmap((void *)123, 4096, RW, PRIV | MAP_FIXED, -1, 0));
    OK(mmap(NULL, 1UL << 60, RW, PRIV, -1, 0));
    OK(mmap((void *)0xffff800000000000UL, 4096, RW, PRIV | MAP_FIXED, -1, 0));
    OK(munmap((void *)1, 4096));
    OK(munmap((void *)4096, 0));
    OK(munmap((void *)0xffff800000000000UL, 4096));
    char *big = mmap(NULL, 16 << 20, RW, PRIV, -1, 0);
    NEED(big != MAP_FAILED);
    for (int i = 0; i < 16; i++)
        big[(i << 20) + i] = (char)i;
    int sum = 0;
    for (int i = 0; i < 16; i++)
        sum += big[(i << 20) + i] + big[(i << 20) + 4096 + i];
    R(sum);
    char *hint = mmap(big + (8 << 20), 4096, RW, PRIV, -1, 0);
    YES(hint != MAP_FAILED && hint != big + (8 << 20)); // taken: elsewhere
    R(big[(8 << 20) + 8]);
    R(munmap(big, 16 << 20));
    hint = mmap(big, 4096, RW, PRIV, -1, 0);
    YES(hint == big); // free: as hinted
    char *shared = mmap(NULL, 8192, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    YES(shared != MAP_FAILED);
    shared[5000] = 9;
    R(shared[5000]);
    char *populated = mmap(NULL, 1 << 20, RW, PRIV | MAP_POPULATE, -1, 0);
    YES(populated != MAP_FAILED);
    R(populated[1 << 19]);
    return 0;
}

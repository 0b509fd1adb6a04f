// A reservation far larger than memory: PROT_NONE or MAP_NORESERVE costs nothing until touched.
#include "test.h"
int main(void) {
    size_t huge = 1UL << 40;
    char *p = mmap(NULL, huge, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    YES(p != MAP_FAILED);
    for (int i = 0; i < 16; i++) {
        char *at = p + ((size_t)i << 36);
        R(mprotect(at, 8192, PROT_READ | PROT_WRITE));
        at[5000] = (char)i;
    }
    int sum = 0;
    for (int i = 0; i < 16; i++)
        sum += p[((size_t)i << 36) + 5000];
    R(sum);
    R(madvise(p, huge, MADV_DONTNEED));
    R(p[(3UL << 36) + 5000]);
    R(munmap(p + (1UL << 36), 1UL << 38));
    R(p[5000]);
    R(munmap(p, huge));
    char *q = mmap(NULL, 1UL << 36, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    YES(q != MAP_FAILED);
    q[1UL << 35] = 7;
    R(q[1UL << 35] + q[0]);
    return 0;
}

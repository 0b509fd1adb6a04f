// mlock and friends accept what is mapped and refuse what is not.
#include "test.h"
int main(void) {
    char *p = mmap(NULL, 4 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    NEED(p != MAP_FAILED);
    p[0] = 1;
    R(mlock(p, 4096));
    R(munlock(p, 4096));
    munmap(p + 4096, 4096);
    R(mlock(p, 3 * 4096));
    unsigned char in_core[4];
    R(mincore(p, 4096, in_core));
    R(in_core[0] & 1);
    R(mincore(p, 3 * 4096, in_core));
    R(mincore(p + 1, 4096, in_core));
    return 0;
}

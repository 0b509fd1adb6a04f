// The break grows, shrinks, reads as zeros after growing again, and refuses nonsense.
#include "test.h"
int main(void) {
    char *start = sbrk(0);
    R(brk(start + 100000));
    YES((char *)sbrk(0) == start + 100000);
    int zeros = 1;
    for (int i = 0; i < 100000; i++)
        zeros &= start[i] == 0;
    YES(zeros);
    memset(start, 7, 100000);
    R(brk(start + 50000));
    R(start[49999]);
    R(brk(start + 200000));
    R(start[49999]);
    R(start[60000]); // its page was given back
    R(start[199999]);
    R(brk(start));
    YES(sbrk(0) == start);
    // The raw call answers the current break when it can't move it.
    YES((char *)syscall(SYS_brk, 0) == start);
    YES((char *)syscall(SYS_brk, 0x1000) == start);
    YES((char *)syscall(SYS_brk, -1L) == start);
    return 0;
}

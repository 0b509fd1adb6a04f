// mremap grows, shrinks, moves, and keeps the content.
#include "test.h"
#define PAGE 4096L
int main(void) {
    char *p = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    NEED(p != MAP_FAILED);
    for (int i = 0; i < 4; i++)
        p[i * PAGE] = (char)(i + 1);
    YES(mremap(p, 4 * PAGE, 2 * PAGE, 0) == p); // shrink
    // The freed tail makes room to grow in place.
    YES(mremap(p, 2 * PAGE, 4 * PAGE, 0) == p);
    printf("%d %d %d %d\n", p[0], p[PAGE], p[2 * PAGE], p[3 * PAGE]);
    char *wall = mmap(p + 4 * PAGE, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (wall != p + 4 * PAGE) // something else stands there already: as good
        NEED(wall != MAP_FAILED);
    OK(mremap(p, 4 * PAGE, 400 * PAGE, 0));
    char *q = mremap(p, 4 * PAGE, 400 * PAGE, MREMAP_MAYMOVE);
    YES(q != MAP_FAILED && q != p);
    printf("%d %d %d\n", q[0], q[PAGE], q[399 * PAGE]);
    char *target = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    target[0] = 99;
    YES(mremap(q, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, target) == target);
    printf("%d %d %d\n", target[0], target[PAGE], target[2 * PAGE]);
    OK(mremap(q, PAGE, 2 * PAGE, MREMAP_MAYMOVE)); // moved away: nothing there
    OK(mremap(q + 1, PAGE, PAGE, 0));
    OK(mremap(target, PAGE, 0, 0));
    OK(mremap(target, 2 * PAGE, PAGE, MREMAP_FIXED, target + PAGE));
    OK(mremap(target, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, target + PAGE));
    OK(mremap(target, PAGE, PAGE, 1 << 20));
    return 0;
}

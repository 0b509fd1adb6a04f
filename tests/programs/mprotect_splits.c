// mprotect over several areas: splits and joins show in /proc/self/maps; a hole stops it, with what
// came before changed.
#include "test.h"
#define PAGE 4096L
static char *base;
static void show(const char *when) {
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[512], perms[8];
    unsigned long start, end;
    printf("%s:", when);
    while (maps && fgets(line, sizeof line, maps))
        if (sscanf(line, "%lx-%lx %7s", &start, &end, perms) == 3 && end > (unsigned long)base &&
            start < (unsigned long)base + 16 * PAGE)
            printf(" %ld-%ld %s", ((long)start - (long)base) / PAGE,
                   ((long)end - (long)base) / PAGE, perms);
    putchar('\n');
    if (maps)
        fclose(maps);
}
int main(void) {
    // With nothing around it that it could join.
    char *room = mmap(NULL, 18 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    NEED(room != MAP_FAILED);
    base = room + PAGE;
    munmap(room, 18 * PAGE);
    base = mmap(base, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
                -1, 0);
    show("one");
    R(mprotect(base + 4 * PAGE, 4 * PAGE, PROT_READ));
    show("three");
    R(mprotect(base + 6 * PAGE, 4 * PAGE, PROT_NONE));
    show("four");
    R(mprotect(base, 16 * PAGE, PROT_READ | PROT_WRITE));
    show("one again");
    munmap(base + 8 * PAGE, PAGE);
    R(mprotect(base + 6 * PAGE, 4 * PAGE, PROT_READ));
    show("up to the hole");
    R(mprotect(base + 8 * PAGE, PAGE, PROT_READ));
    R(mprotect(base + 1, PAGE, PROT_READ));
    R(mprotect(base, 0, PROT_READ));
    R(mprotect(base, 1, PROT_READ));
    show("a byte is a page");
    R(mprotect(base, PAGE, 0x40));
    return 0;
}

// mremap of old length 0 makes a second view of a shared mapping; growing a shared file mapping
// shows more of the file; protections move along.
#include "test.h"
#define PAGE 4096L
int main(void) {
    int fd = memfd_create("views", 0);
    NEED(ftruncate(fd, 3 * PAGE) == 0);
    NEED(pwrite(fd, "one", 3, 0) == 3 && pwrite(fd, "two", 3, PAGE) == 3 &&
         pwrite(fd, "three", 5, 2 * PAGE) == 5);
    char *p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    NEED(p != MAP_FAILED);
    char *grown = mremap(p, PAGE, 3 * PAGE, MREMAP_MAYMOVE);
    YES(grown != MAP_FAILED);
    puts(grown);
    puts(grown + PAGE);
    puts(grown + 2 * PAGE);
    char *again = mremap(grown, 0, 2 * PAGE, MREMAP_MAYMOVE);
    YES(again != MAP_FAILED && again != grown);
    strcpy(again + PAGE, "changed");
    puts(grown + PAGE);
    char text[8] = "";
    R(pread(fd, text, 7, PAGE));
    puts(text);
    char *private = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    OK(mremap(private, 0, PAGE, MREMAP_MAYMOVE));
    // Areas of two kinds are not one.
    char *two = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(two, PAGE, PROT_READ);
    OK(mremap(two, 2 * PAGE, 4 * PAGE, MREMAP_MAYMOVE));
    R(munmap(grown, 3 * PAGE));
    puts(again);
    return 0;
}

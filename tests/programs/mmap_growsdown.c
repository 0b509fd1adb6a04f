// MAP_GROWSDOWN: an area that grows when touched just below, stops before its neighbour, and keeps
// its protection.
#include "test.h"
#define PAGE 4096L
static sigjmp_buf back;
static void on_fault(int sig) {
    (void)sig;
    siglongjmp(back, 1);
}
static int touch(volatile char *p) {
    if (sigsetjmp(back, 1))
        return 0;
    *p = 1;
    return 1;
}
int main(void) {
    signal(SIGSEGV, on_fault);
    // Room of 2 MiB, so that it is known what lies below.
    char *room = mmap(NULL, 512 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    NEED(room != MAP_FAILED);
    munmap(room, 512 * PAGE);
    char *top = room + 500 * PAGE;
    char *area = mmap(top, PAGE, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN | MAP_FIXED, -1, 0);
    NEED(area == top);
    R(touch(top + 100));
    R(touch(top - 8));
    R(touch(top - PAGE - 8));
    R(touch(top - 3 * PAGE));
    unsigned char pages[3];
    R(mincore(top - 3 * PAGE, 3 * PAGE, pages));
    // A neighbour far below: the gap of 256 pages before it stays free.
    char *wall = mmap(room + 100 * PAGE, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
                      -1, 0);
    NEED(wall == room + 100 * PAGE);
    R(touch(room + 101 * PAGE + 256 * PAGE + 8));
    R(touch(room + 101 * PAGE + 255 * PAGE));
    // mprotect with PROT_GROWSDOWN reaches down to wherever it has grown.
    R(mprotect(top, PAGE, PROT_READ | PROT_GROWSDOWN));
    R(touch(top - 2 * PAGE));
    R(mprotect(wall, PAGE, PROT_READ | PROT_GROWSDOWN));
    return 0;
}

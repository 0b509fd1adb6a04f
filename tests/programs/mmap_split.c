// munmap and mprotect in the middle split a mapping; neighbours keep their content and rights.
#include "test.h"
#define PAGE 4096L
static sigjmp_buf out;
static volatile int code;
static void on_segv(int sig, siginfo_t *info, void *context) {
    (void)sig, (void)context;
    code = info->si_code;
    siglongjmp(out, 1);
}
// r: readable, w: writable too, -: unmapped (MAPERR), x: mapped without rights (ACCERR)
static void map(const char *label, volatile char *p, int pages) {
    printf("%-24s", label);
    for (int i = 0; i < pages; i++) {
        if (sigsetjmp(out, 1)) {
            putchar(code == SEGV_MAPERR ? '-' : 'x');
            continue;
        }
        char value = p[i * PAGE];
        if (sigsetjmp(out, 1)) {
            putchar('r');
            continue;
        }
        p[i * PAGE] = value;
        putchar('w');
    }
    putchar('\n');
}
int main(void) {
    handle(SIGSEGV, on_segv, 0);
    char *p = mmap(NULL, 10 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    NEED(p != MAP_FAILED);
    for (int i = 0; i < 10; i++)
        p[i * PAGE] = (char)(i + 1);
    map("fresh", p, 10);
    R(munmap(p + 3 * PAGE, 2 * PAGE));
    map("hole 3-4", p, 10);
    R(mprotect(p + 6 * PAGE, PAGE, PROT_READ));
    map("6 read-only", p, 10);
    R(mprotect(p + 7 * PAGE, 2 * PAGE, PROT_NONE));
    map("7-8 none", p, 10);
    R(mprotect(p, 10 * PAGE, PROT_READ)); // meets the hole
    map("protect across hole", p, 10);
    R(mprotect(p + 5 * PAGE, 5 * PAGE, PROT_READ | PROT_WRITE));
    map("tail writable again", p, 10);
    printf("kept: %d %d %d %d\n", p[5 * PAGE], p[7 * PAGE], p[8 * PAGE], p[9 * PAGE]);
    R(munmap(p + 1 * PAGE, 8 * PAGE));
    map("only the ends", p, 10);
    OK(mprotect(p + 2 * PAGE, PAGE, PROT_READ));
    OK(mprotect(p + 1, PAGE, PROT_READ));
    OK(mprotect(p, 0, PROT_READ));
    R(munmap(p, 10 * PAGE));
    map("all gone", p, 10);
    return 0;
}

// What a SIGSEGV handler is told: code, address, and the context it may change.
#include "test.h"
#include <ucontext.h>
static char *page;
static volatile int count;
static void on_segv(int sig, siginfo_t *info, void *context) {
    ucontext_t *uc = context;
    long err = uc->uc_mcontext.gregs[REG_ERR];
    printf("sig %d code %s offset %ld write %ld trap %lld cr2 same %d\n", sig,
           info->si_code == SEGV_MAPERR   ? "MAPERR"
           : info->si_code == SEGV_ACCERR ? "ACCERR"
                                          : "other",
           (long)((char *)info->si_addr - page), err >> 1 & 1, uc->uc_mcontext.gregs[REG_TRAPNO],
           (void *)uc->uc_mcontext.gregs[REG_CR2] == info->si_addr);
    count++;
    if (info->si_code == SEGV_MAPERR)
        NEED(mmap((void *)((uintptr_t)info->si_addr & ~4095UL), 4096, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED);
    else
        NEED(mprotect((void *)((uintptr_t)info->si_addr & ~4095UL), 4096,
                      PROT_READ | PROT_WRITE) == 0);
}
int main(void) {
    handle(SIGSEGV, on_segv, 0);
    page = mmap(NULL, 3 * 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    NEED(page != MAP_FAILED);
    volatile char *p = page;
    R(p[10]);
    p[10] = 1; // write to a read-only page that has been read
    R(p[10]);
    p[4096 + 20] = 2; // write to a read-only page never touched
    R(p[4096 + 20]);
    NEED(mprotect(page + 8192, 4096, PROT_NONE) == 0);
    R(p[8192 + 30]); // read of a PROT_NONE page
    munmap(page, 4096);
    R(p[40]); // read of a hole
    printf("%d faults\n", count);
    return 0;
}

// siginfo and ucontext of faults: address, code, error code, trap number, for each kind of access.
#include "test.h"
#include <sys/ucontext.h>
static sigjmp_buf back;
static volatile struct {
    int sig, code;
    long addr, trap, error, cr2;
} got;
static void on_fault(int sig, siginfo_t *info, void *context) {
    greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;
    got.sig = sig;
    got.code = info->si_code;
    got.addr = (long)info->si_addr;
    got.trap = r[REG_TRAPNO];
    got.error = r[REG_ERR];
    got.cr2 = r[REG_CR2];
    siglongjmp(back, 1);
}
static char *base;
#define TRY(what, statement)                                                                       \
    do {                                                                                           \
        if (sigsetjmp(back, 1) == 0) {                                                             \
            statement;                                                                             \
            printf("%s: nothing happened\n", what);                                                \
        } else                                                                                     \
            printf("%s: signal %d code %d at base%+ld trap %ld error %#lx cr2 %d\n", what,         \
                   got.sig, got.code, got.addr - (long)base, got.trap, got.error & ~0x20,          \
                   got.cr2 == got.addr);                                                           \
    } while (0)
int main(void) {
    for (int sig = 1; sig < 32; sig++)
        if (sig == SIGSEGV || sig == SIGBUS || sig == SIGILL || sig == SIGTRAP || sig == SIGFPE)
            handle(sig, on_fault, 0);
    base = mmap(NULL, 16384, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    NEED(base != MAP_FAILED);
    memset(base, 0xc3, 16384); // ret
    mprotect(base + 4096, 4096, PROT_READ);
    mprotect(base + 8192, 4096, PROT_NONE);
    munmap(base + 12288, 4096);
    volatile char *p = base, c;
    TRY("write to read-only", p[4096 + 7] = 1);
    TRY("read of none", c = p[8192 + 9]);
    TRY("write to none", p[8192 + 3] = 1);
    TRY("read of nothing", c = p[12288 + 1]);
    TRY("write to nothing", p[12288 + 2] = 1);
    TRY("jump to data", ((void (*)(void))(base + 16))());
    TRY("jump to nothing", ((void (*)(void))(base + 12288 + 32))());
    int fd = memfd_create("short", 0);
    NEED(ftruncate(fd, 100) == 0);
    base = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    p = base;
    TRY("beyond the end of a file", c = p[4096 + 5]);
    base = NULL;
    got.addr = 0;
    (void)c;

    TRY("no address at all", __asm__ volatile("movb $0, (%0)" ::"r"(0x800000000000UL)));
    TRY("privileged", __asm__ volatile("hlt"));
    return 0;
}

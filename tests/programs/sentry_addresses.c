// Every way to the sentry's memory and to ring 0: each must end in the signal that Linux gives for
// its own. Where the sentry is mapped beside the program (ring-3 mode, shared) they would succeed.
// needs wall
// case survive: survive
// case read: read
// case write: write
// case jump: jump
#include "test.h"
#include <ucontext.h>

#define TABLES 0xffffffff80200000UL     // GDT, TSS, IDTs, boot stack
#define STUBS 0xffffffff80210000UL      // entry code, then all code
#define IMAGE_END 0xffffffff80400000UL
#define DIRECT_MAP 0xffff808000000000UL // all guest-physical memory; its first pages are the VMM's
#define IMAGES (DIRECT_MAP + (64UL << 30))
#define NON_CANONICAL 0x8000000000000000UL

static sigjmp_buf back;
static volatile unsigned long want;
static volatile int good, bad;

// What a fault at `want` looks like on Linux; `error` has no say about what is mapped there.
static void check(int sig, siginfo_t *info, void *context) {
    greg_t *regs = ((ucontext_t *)context)->uc_mcontext.gregs;
    int page_fault = info->si_code == SEGV_MAPERR && (unsigned long)info->si_addr == want &&
                     regs[REG_TRAPNO] == 14 && (unsigned long)regs[REG_CR2] == want;
    if (sig == SIGSEGV && page_fault && (regs[REG_ERR] & ~0x12) == 5)
        good++;
    else if (bad++ < 10)
        printf("%#lx: signal %d code %d trap %lld error %lld\n", want, sig, info->si_code,
               (long long)regs[REG_TRAPNO], (long long)regs[REG_ERR]);
    siglongjmp(back, 1);
}

static void show(int sig, siginfo_t *info, void *context) {
    greg_t *regs = ((ucontext_t *)context)->uc_mcontext.gregs;
    printf("  signal %d code %d trap %lld, at the target: %d\n", sig, info->si_code,
           (long long)regs[REG_TRAPNO], (unsigned long)regs[REG_RIP] == want);
    siglongjmp(back, 1);
}

static void try_read(unsigned long at) {
    want = at;
    if (!sigsetjmp(back, 1))
        printf("read %d from %#lx\n", *(volatile char *)at, at);
}

static void try_write(unsigned long at) {
    want = at;
    if (!sigsetjmp(back, 1)) {
        *(volatile char *)at = 1;
        printf("wrote to %#lx\n", at);
    }
}

// RAX and the argument registers say getpid-like harmless things, should it be a way in after all.
static void try_jump(unsigned long at, unsigned long rcx, unsigned long r11) {
    want = at;
    if (!sigsetjmp(back, 1)) {
        __asm__ volatile("mov %1, %%rcx\n mov %2, %%r11\n mov $39, %%eax\n jmp *%0\n" ::"r"(at),
                         "r"(rcx), "r"(r11)
                         : "rax", "rcx", "r11", "memory");
        __builtin_unreachable();
    }
}

static void report(const char *what) {
    printf("%s: %d refused, %d otherwise\n", what, good, bad);
    good = bad = 0;
}

static void sweep(const char *what, unsigned long start, unsigned long end, unsigned long step) {
    for (unsigned long at = start; at < end; at += step) {
        try_read(at);
        try_write(at + 8);
        try_jump(at, at, 0x202);
    }
    report(what);
}

static int here(void) {
    return 1;
}

#define TRY(text, ...)                                                                             \
    do {                                                                                           \
        puts(text);                                                                                \
        if (!sigsetjmp(back, 1)) {                                                                 \
            __asm__ volatile(text __VA_ARGS__);                                                    \
            puts("  nothing");                                                                     \
        }                                                                                          \
    } while (0)

static void instructions(void) {
    unsigned long memory[2] = {0, 0};
    unsigned word;
    for (long service = 0; service < 8; service++)
        TRY("int $4", ::"a"(service), "D"(memory), "S"(0), "c"(0xc0000082), "d"(0x0e70));
    TRY("int3", ::"a"(0x20000), "D"(memory));
    TRY("mov %0, %%cr3", ::"r"(0x20000UL));
    TRY("mov %%cr2, %0", : "=r"(memory[0]));
    TRY("lidt %0", ::"m"(memory));
    TRY("lgdt %0", ::"m"(memory));
    TRY("ltr %w0", ::"r"(0x40));
    TRY("wrmsr", ::"c"(0xc0000082), "a"(0), "d"(0));
    TRY("rdmsr", : "=a"(memory[0]), "=d"(memory[1]) : "c"(0xc0000080));
    TRY("invlpg %0", ::"m"(memory));
    TRY("cli", );
    TRY("hlt", );
    TRY("outl %0, %1", ::"a"(0x3000), "d"((uint16_t)0x0e70));
    TRY("outb %b0, %1", ::"a"(0), "d"((uint16_t)0x80));
    TRY("inl %1, %0", : "=a"(word) : "d"((uint16_t)0x0e70));
}

static void handlers(void) {
    static const unsigned long places[] = {STUBS, TABLES, DIRECT_MAP + 0x1000, IMAGES,
                                           0x7ffffffff000UL, 0x800000000000UL, NON_CANONICAL};
    handle(SIGSEGV, show, 0);
    for (unsigned i = 0; i < sizeof places / sizeof *places; i++) {
        printf("handler at %#lx\n", places[i]);
        want = places[i];
        handle(SIGUSR1, (void (*)(int, siginfo_t *, void *))places[i], 0);
        if (!sigsetjmp(back, 1))
            raise(SIGUSR1);
    }
    for (unsigned i = 0; i < sizeof places / sizeof *places; i++) {
        printf("jump to %#lx\n", places[i]);
        try_jump(places[i], (unsigned long)here, ~0UL);
        if (!sigsetjmp(back, 1)) {
            printf("stack at %#lx\n", places[i]);
            __asm__ volatile("mov %%rsp, %%rbx\n mov %0, %%rsp\n mov $39, %%eax\n syscall\n"
                             "mov %%rbx, %%rsp\n" ::"r"(places[i])
                             : "rax", "rbx", "rcx", "r11", "memory");
            puts("  a system call on it");
        }
    }
}

int main(int argc, char **argv) {
    NEED(argc == 2);
    if (!strcmp(argv[1], "read"))
        return *(volatile char *)(DIRECT_MAP + 0x2000);
    if (!strcmp(argv[1], "write"))
        return *(volatile char *)TABLES = 1;
    if (!strcmp(argv[1], "jump"))
        return ((int (*)(void))(STUBS + 0x3000))();
    int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGTRAP};
    for (unsigned i = 0; i < sizeof signals / sizeof *signals; i++)
        handle(signals[i], check, SA_NODEFER);
    // LSTAR is one of these; a jump there must not be taken for a system call.
    for (unsigned long at = STUBS; at < STUBS + 0x8000; at += 64) {
        try_jump(at, (unsigned long)here, ~0UL);
        try_jump(at, at, 0);
        try_jump(at, NON_CANONICAL, 0x3302);
    }
    report("entry code");
    sweep("tables, code and data", TABLES, IMAGE_END, 4096);
    sweep("boot structures and page tables", DIRECT_MAP, DIRECT_MAP + 0x100000, 4096);
    sweep("memory", DIRECT_MAP, DIRECT_MAP + (64 << 20), 1 << 19);
    sweep("images", IMAGES, IMAGES + (4 << 20), 1 << 20);
    for (unsigned i = 0; i < sizeof signals / sizeof *signals; i++)
        handle(signals[i], show, SA_NODEFER);
    instructions();
    handlers();
    return 0;
}

// No jump, access, stack, instruction or signal frame of a program is more than a signal to itself,
// whatever address or register value it has: each is tried, in the way of a fuzzer but always with
// the same values, and what it did is counted. In ring-3 mode without a wall the sentry's own memory
// is not tried: there a program can break its machine (but only that).
// case jumps: jumps
// case returns: returns
// QEMU 7 applies SMAP to the stack of IRET and of far returns in ring 3; its own Linux falls over it.
// not under TCG: returns
#include "test.h"
#include <ucontext.h>

static sigjmp_buf back;
static char alt[1 << 16] __attribute__((aligned(64)));
static volatile unsigned counts[3][66];

// Where a kernel may have something, and where none has; none of it is the sentry's.
static const unsigned long places[] = {
    0, 1, 8, 0xfff, 0x1000, 0xffff, 0x7fffffffe000UL, 0x7fffffffefffUL, 0x7ffffffff000UL,
    0x7fffffffffffUL, 0x800000000000UL, 0x800000000001UL, 0x7fffffffffffffffUL,
    0x8000000000000000UL, 0xffff7fffffffffffUL, 0xffff800000000000UL, 0xffff800000001000UL,
    0xffff807ffffffff8UL, 0xffff900000000000UL, 0xffffc00000000000UL, 0xffffe00000000000UL,
    0xffffff0000000000UL, 0xffffff7ffffffff8UL, 0xfffffe0000000000UL, 0xffffffff00000000UL,
    0xffffffff7fffffffUL, 0xffffffffa0000000UL, 0xffffffffc0000000UL, 0xffffffffff000000UL,
    0xffffffffff5ff000UL, 0xffffffffff600001UL, 0xffffffffff601000UL, 0xfffffffffffff000UL,
    0xfffffffffffffff8UL, 0xffffffffffffffffUL,
};
enum { PLACES = sizeof places / sizeof *places };

static void caught(int sig, siginfo_t *info, void *context) {
    (void)info;
    counts[0][sig]++;
    counts[1][((ucontext_t *)context)->uc_mcontext.gregs[REG_TRAPNO] & 31]++;
    siglongjmp(back, 1);
}

// Where emulated processors and KVMs differ in which fault comes first: only how many there were.
static void tally(const char *what) {
    unsigned faults = 0;
    for (unsigned sig = 1; sig < 65; sig++)
        faults += counts[0][sig];
    printf("%s: %u signals, nothing: %u\n", what, faults, counts[2][0]);
    memset((void *)counts, 0, sizeof counts);
}

static void report(const char *what) {
    printf("%s:", what);
    for (unsigned sig = 1; sig < 65; sig++)
        if (counts[0][sig])
            printf(" signal %u: %u", sig, counts[0][sig]);
    for (unsigned trap = 0; trap < 32; trap++)
        if (counts[1][trap] && trap != 0)
            printf(", trap %u: %u", trap, counts[1][trap]);
    printf(", nothing: %u\n", counts[2][0]);
    memset((void *)counts, 0, sizeof counts);
}

#define TRY(...)                                                                                   \
    do {                                                                                           \
        if (!sigsetjmp(back, 1)) {                                                                 \
            __asm__ volatile(__VA_ARGS__);                                                         \
            counts[2][0]++;                                                                        \
        }                                                                                          \
    } while (0)
#define EVERYWHERE(...)                                                                            \
    for (unsigned i = 0; i < PLACES; i++) {                                                        \
        unsigned long at = places[i];                                                              \
        TRY(__VA_ARGS__);                                                                          \
    }
#define CLOBBERED "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "r8", "r11", "memory", "cc"

static void jumps(void) {
    EVERYWHERE("jmp *%0" ::"r"(at) : CLOBBERED);
    report("jmp");
    EVERYWHERE("call *%0" ::"r"(at) : CLOBBERED);
    report("call");
    EVERYWHERE("push %0\n ret" ::"r"(at) : CLOBBERED);
    report("ret");
    // With flags that are the sentry's to be free of: TF, AC, DF, NT.
    static const unsigned long flags[] = {0x100, 0x40000, 0x400, 0x4000, 0x44500, 0x200000};
    for (unsigned f = 0; f < sizeof flags / sizeof *flags; f++) {
        unsigned long set = flags[f];
        EVERYWHERE("pushf\n orq %1, (%%rsp)\n popf\n jmp *%0" ::"r"(at), "r"(set) : CLOBBERED);
        __asm__ volatile("pushf\n andq $~0x44500, (%%rsp)\n popf" ::: "memory", "cc");
    }
    report("jmp with flags");
}

static void returns(void) {
    EVERYWHERE("mov %%ss, %%eax\n mov %%rsp, %%rcx\n push %%rax\n push %%rcx\n pushf\n"
               "mov %%cs, %%eax\n push %%rax\n push %0\n iretq" ::"r"(at) : CLOBBERED);
    tally("iret");
    EVERYWHERE("mov %%cs, %%eax\n push %%rax\n push %0\n lretq" ::"r"(at) : CLOBBERED);
    tally("far ret");
    EVERYWHERE("mov %%rsp, %%rbx\n mov %0, %%rsp\n iretq" ::"r"(at) : CLOBBERED);
    tally("iret from it");
}

static void selectors(void) {
    static const unsigned long codes[] = {0, 3, 8, 0x10, 0x13, 0x18, 0x2b, 0x30, 0x40, 0x43, 0x48,
                                          0x50, 0x53, 0x78, 0xfff8, 0xffff, 7, 0xf};
    for (unsigned i = 0; i < sizeof codes / sizeof *codes; i++) {
        unsigned long cs = codes[i];
        TRY("push %0\n lea 1f(%%rip), %%rax\n push %%rax\n lretq\n 1:" ::"r"(cs) : CLOBBERED);
        TRY("mov %%ss, %%eax\n mov %%rsp, %%rcx\n push %%rax\n push %%rcx\n pushf\n push %0\n"
            "lea 1f(%%rip), %%rax\n push %%rax\n iretq\n 1:" ::"r"(cs) : CLOBBERED);
    }
    tally("code selectors");
    for (unsigned i = 0; i < sizeof codes / sizeof *codes; i++) {
        unsigned long ss = codes[i];
        if (ss == 0x2b)
            continue;
        TRY("mov %%rsp, %%rcx\n push %0\n push %%rcx\n pushf\n mov %%cs, %%eax\n push %%rax\n"
            "lea 1f(%%rip), %%rax\n push %%rax\n iretq\n 1:" ::"r"(ss) : CLOBBERED);
    }
    tally("stack selectors");
}

static void accesses(void) {
    EVERYWHERE("movb (%0), %%al" ::"r"(at) : CLOBBERED);
    report("read");
    EVERYWHERE("movq (%0), %%rax" ::"r"(at) : CLOBBERED);
    tally("read of eight");
    EVERYWHERE("movb $0, (%0)" ::"r"(at) : CLOBBERED);
    report("write");
    EVERYWHERE("lock incq (%0)" ::"r"(at) : CLOBBERED);
    tally("locked");
    EVERYWHERE("movups (%0), %%xmm0" ::"r"(at) : CLOBBERED);
    tally("vector");
    EVERYWHERE("fxrstor (%0)" ::"r"(at) : CLOBBERED);
    tally("fxrstor");
}

// The handler runs on a stack of its own, so that there is one.
static void stacks(void) {
    EVERYWHERE("mov %%rsp, %%rbx\n mov %0, %%rsp\n push %%rax\n mov %%rbx, %%rsp" ::"r"(at) : CLOBBERED);
    report("push on it");
    EVERYWHERE("mov %%rsp, %%rbx\n mov %0, %%rsp\n pop %%rax\n mov %%rbx, %%rsp" ::"r"(at) : CLOBBERED);
    report("pop from it");
    EVERYWHERE("mov %%rsp, %%rbx\n mov %0, %%rsp\n mov $39, %%eax\n syscall\n mov %%rbx, %%rsp" ::"r"(at) : CLOBBERED);
    report("a system call on it");
    EVERYWHERE("mov %%rsp, %%rbx\n mov %0, %%rsp\n int3\n mov %%rbx, %%rsp" ::"r"(at) : CLOBBERED);
    report("int3 on it");
    EVERYWHERE("mov %%rsp, %%rbx\n mov %0, %%rsp\n ud2\n mov %%rbx, %%rsp" ::"r"(at) : CLOBBERED);
    report("ud2 on it");
    EVERYWHERE("mov %%rsp, %%rbx\n mov %0, %%rsp\n movb 0, %%al\n mov %%rbx, %%rsp" ::"r"(at) : CLOBBERED);
    report("a fault on it");
    EVERYWHERE("mov %%rsp, %%rbx\n mov %0, %%rsp\n mov $15, %%eax\n syscall\n mov %%rbx, %%rsp" ::"r"(at) : CLOBBERED);
    report("sigreturn from it");
}

static void instructions(void) {
    TRY("int $0" ::: CLOBBERED);
    TRY("int $1" ::: CLOBBERED);
    TRY("int $2" ::: CLOBBERED);
    TRY("int $8" ::: CLOBBERED);
    TRY("int $13" ::: CLOBBERED);
    TRY("int $14" ::: CLOBBERED);
    TRY("int $32" ::: CLOBBERED);
    TRY("int $33" ::: CLOBBERED);
    TRY("int $128" ::: CLOBBERED, "r9", "r10");
    TRY("int $255" ::: CLOBBERED);
    memset((void *)counts, 0, sizeof counts); // Linux gives some of them a meaning; all must return.
    TRY("hlt" ::: CLOBBERED);
    TRY("cli" ::: CLOBBERED);
    TRY("sti" ::: CLOBBERED);
    TRY("in $0x60, %%al" ::: CLOBBERED);
    TRY("out %%al, $0x80" ::: CLOBBERED);
    TRY("mov $0x3f8, %%edx\n insb" ::: CLOBBERED);
    TRY("clts" ::: CLOBBERED);
    TRY("invd" ::: CLOBBERED);
    TRY("wbinvd" ::: CLOBBERED);
    TRY("mov %%cr0, %%rax" ::: CLOBBERED);
    TRY("mov %%rax, %%cr4" ::: CLOBBERED);
    TRY("mov %%dr7, %%rax" ::: CLOBBERED);
    TRY("mov $0x1b, %%ecx\n rdmsr" ::: CLOBBERED);
    TRY("mov $0x1b, %%ecx\n wrmsr" ::: CLOBBERED);
    TRY("swapgs" ::: CLOBBERED);
    TRY("sysretq" ::: CLOBBERED);
    TRY("lmsw %%ax" ::: CLOBBERED);
    tally("privileged");
    TRY("ud2" ::: CLOBBERED);
    TRY(".byte 0x0f, 0xff, 0xc0" ::: CLOBBERED);
    TRY(".byte 0x06" ::: CLOBBERED);
    TRY(".byte 0xf0, 0x90" ::: CLOBBERED);
    tally("undefined");
    TRY("xor %%ecx, %%ecx\n mov $1, %%eax\n xor %%edx, %%edx\n div %%ecx" ::: CLOBBERED);
    report("division");
}

static void steps(void) {
    // Single steps into a system call, an int3 and a fault: the first ends the try.
    TRY("pushf\n orq $0x100, (%%rsp)\n popf\n mov $39, %%eax\n syscall\n nop" ::: CLOBBERED);
    report("first step");
    TRY("mov $39, %%eax\n pushf\n orq $0x100, (%%rsp)\n popf\n syscall\n nop" ::: CLOBBERED);
    tally("step over a system call");
    TRY("pushf\n orq $0x100, (%%rsp)\n popf\n int3\n nop" ::: CLOBBERED);
    report("step over int3");
    TRY("pushf\n orq $0x100, (%%rsp)\n popf\n movb 0, %%al\n nop" ::: CLOBBERED);
    report("step over a fault");
    for (unsigned long bit = 0; bit < 32; bit++) {
        if (bit == 8 || bit == 18)
            continue; // TF and AC have a say in what comes next
        unsigned long flags = 1UL << bit;
        TRY("pushf\n orq %0, (%%rsp)\n popf\n mov $39, %%eax\n syscall\n cld\n"
            "pushf\n andq $~0x4400, (%%rsp)\n popf" ::"r"(flags) : CLOBBERED);
    }
    report("flags over a system call");
    EVERYWHERE("mov %0, %%rcx\n mov %0, %%r11\n mov %0, %%rdi\n mov %0, %%rsi\n mov %0, %%rdx\n"
               "mov $39, %%eax\n syscall" ::"r"(at) : CLOBBERED);
    report("odd registers");
}

// Signal frames whose contents a handler changes.
static volatile unsigned which;
static volatile unsigned long value;

static void change(int sig, siginfo_t *info, void *context) {
    ucontext_t *frame = context;
    greg_t *regs = frame->uc_mcontext.gregs;
    unsigned char *fp = (unsigned char *)frame->uc_mcontext.fpregs;
    (void)sig, (void)info;
    switch (which) {
    case 0: regs[REG_RIP] = value; break;
    case 1: regs[REG_RSP] = value, regs[REG_RIP] = 0; break;
    case 2: regs[REG_EFL] = value & ~0x40100UL; break;
    case 3: frame->uc_mcontext.fpregs = (void *)value; break;
    case 4: memcpy(fp + 24, (void *)&value, 4); break;                  // MXCSR
    case 5: memcpy(fp + 512, (void *)&value, 8); break;                 // XSTATE_BV
    case 6: memcpy(fp + 520, (void *)&value, 8); break;                 // XCOMP_BV
    case 7: memcpy(fp + 464, (void *)&value, 8); break;                 // magic and size
    case 8: memset(fp, (int)value, 464); break;                         // all of x87 and SSE
    case 9: frame->uc_stack.ss_sp = (void *)value, frame->uc_stack.ss_size = value; break;
    }
}

static void frames(void) {
    static const char *const names[] = {"rip",  "rsp",        "flags",     "fpstate", "mxcsr",
                                        "parts", "compaction", "fp magic", "fp",      "alternate stack"};
    handle(SIGUSR1, change, SA_ONSTACK);
    for (which = 0; which < sizeof names / sizeof *names; which++) {
        for (unsigned i = 0; i < PLACES; i++) {
            value = places[i];
            if (!sigsetjmp(back, 1)) {
                raise(SIGUSR1);
                counts[2][0]++;
            }
            __asm__ volatile("fninit\n cld" ::: "memory", "cc");
            unsigned mxcsr = 0x1f80;
            __asm__ volatile("ldmxcsr %0" ::"m"(mxcsr));
            sigaltstack(&(stack_t){.ss_sp = alt, .ss_size = sizeof alt}, NULL);
        }
        // What is left of odd floating-point frames is the processor's business; none may break it.
        if (which >= 3) {
            memset((void *)counts, 0, sizeof counts);
            printf("%s: survived\n", names[which]);
        } else
            report(names[which]);
    }
}

int main(int argc, char **argv) {
    sigaltstack(&(stack_t){.ss_sp = alt, .ss_size = sizeof alt}, NULL);
    static const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGTRAP, SIGFPE};
    for (unsigned i = 0; i < sizeof signals / sizeof *signals; i++)
        handle(signals[i], caught, SA_NODEFER | SA_ONSTACK);
    if (argc > 1 && !strcmp(argv[1], "returns")) {
        returns();
        selectors();
        return 0;
    }
    jumps();
    accesses();
    stacks();
    instructions();
    steps();
    frames();
    return 0;
}

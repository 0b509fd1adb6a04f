// The CPU's exceptions as signals: number, si_code, and where they happened.
#include "test.h"
#include <ucontext.h>
static sigjmp_buf out;
static void show(int sig, siginfo_t *info, void *context) {
    ucontext_t *uc = context;
    printf("SIG%s code %d trap %lld addr==rip %d\n", sigabbrev_np(sig), info->si_code,
           uc->uc_mcontext.gregs[REG_TRAPNO],
           info->si_addr == (void *)uc->uc_mcontext.gregs[REG_RIP]);
    siglongjmp(out, 1);
}
#define TRY(label, code)                                                                           \
    do {                                                                                           \
        printf("%-22s", label);                                                                    \
        if (!sigsetjmp(out, 1)) {                                                                  \
            code;                                                                                  \
            puts("nothing happened");                                                              \
        }                                                                                          \
    } while (0)
int main(void) {
    int signals[] = {SIGSEGV, SIGILL, SIGFPE, SIGTRAP, SIGBUS};
    for (int i = 0; i < 5; i++)
        handle(signals[i], show, 0);
    volatile int zero = 0, sink;
    TRY("divide", sink = 100 / zero);
    TRY("divide overflow", __asm__ volatile("mov $0x80000000, %%eax\n cltd\n mov $-1, %%ecx\n"
                                            "idiv %%ecx" ::: "rax", "rcx", "rdx"));
    TRY("ud2", __asm__ volatile("ud2"));
    TRY("int3", __asm__ volatile("int3"));
    TRY("hlt", __asm__ volatile("hlt"));
    TRY("cli", __asm__ volatile("cli"));
    TRY("in", __asm__ volatile("in $0x60, %%al" ::: "rax"));
    TRY("mov cr0", __asm__ volatile("mov %%cr0, %%rax" ::: "rax"));
    TRY("rdmsr", __asm__ volatile("mov $0xc0000080, %%ecx\n rdmsr" ::: "rax", "rcx", "rdx"));
    TRY("non-canonical", sink = *(volatile int *)0xdead00000000beefUL);
    TRY("unaligned sse", __asm__ volatile("movaps 1(%%rsp), %%xmm0" ::: "xmm0"));
    TRY("trap flag", __asm__ volatile("pushfq\n orl $0x100, (%rsp)\n popfq\n nop\n nop"));
    unsigned short cw = 0x037b; // divide by zero unmasked
    TRY("x87", __asm__ volatile("fninit\n fldcw %0\n fldz\n fld1\n fdiv %%st(1), %%st\n fwait" ::"m"(cw)));
    __asm__ volatile("fninit");
    unsigned mxcsr = 0x1d80;
    TRY("sse divide", {
        __asm__ volatile("ldmxcsr %0\n xorps %%xmm0, %%xmm0\n mov $0x3f800000, %%eax\n"
                         "movd %%eax, %%xmm1\n divss %%xmm0, %%xmm1" ::"m"(mxcsr)
                         : "rax", "xmm0", "xmm1");
    });
    mxcsr = 0x1f80;
    __asm__ volatile("ldmxcsr %0" ::"m"(mxcsr));
    puts("done");
    (void)sink;
    return 0;
}

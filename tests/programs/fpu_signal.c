// A handler may use the FPU freely: the interrupted state comes back, and the frame holds it.
#include "test.h"
#include <immintrin.h>
#include <ucontext.h>
static volatile int handled;
static void on_signal(int sig, siginfo_t *info, void *context) {
    (void)sig, (void)info;
    ucontext_t *uc = context;
    printf("xmm7 in the frame: %#x %#x, cw %#x mxcsr rounding %d\n",
           uc->uc_mcontext.fpregs->_xmm[7].element[0], uc->uc_mcontext.fpregs->_xmm[7].element[3],
           uc->uc_mcontext.fpregs->cwd, uc->uc_mcontext.fpregs->mxcsr >> 13 & 3);
    printf("handler mxcsr %#x\n", _mm_getcsr() & ~0x3fu);
    __asm__ volatile("pxor %%xmm7, %%xmm7\n pxor %%xmm15, %%xmm15\n fninit\n fldz" ::
                         : "xmm7", "xmm15");
    volatile double x = 1.0;
    for (int i = 0; i < 100; i++)
        x *= 1.01;
    _mm_setcsr(0x1f80 | 2 << 13);
    if (uc->uc_mcontext.gregs[REG_RIP])
        handled++;
    // A changed frame changes the resumed state.
    uc->uc_mcontext.fpregs->_xmm[7].element[3] = 0xabcd;
}
int main(void) {
    handle(SIGUSR1, on_signal, 0);
    unsigned v[4] = {0x1111, 0x2222, 0x3333, 0x4444}, out[8] = {0}, mxcsr;
    _mm_setcsr(0x1f80 | 1 << 13);
    long pid = getpid(), result;
    __asm__ volatile("movdqu (%[v]), %%xmm7\n movdqu (%[v]), %%xmm15\n syscall\n"
                     "movdqu %%xmm7, (%[out])\n movdqu %%xmm15, 16(%[out])\n"
                     : "=a"(result)
                     : "a"(SYS_kill), "D"(pid), "S"(SIGUSR1), [v] "r"(v), [out] "r"(out)
                     : "rcx", "r11", "xmm7", "xmm15", "memory");
    mxcsr = _mm_getcsr() & ~0x3fu;
    for (int i = 0; i < 8; i++)
        printf("%#x ", out[i]);
    printf("\nmxcsr %#x handled %d kill %ld\n", mxcsr, handled, result);
    return 0;
}

// What a handler finds on its stack: the red zone is left alone, the frame is aligned, changes to
// the saved registers and mask take effect.
#include "test.h"
#include <sys/ucontext.h>
static volatile long aligned = -1;
static void change(int sig, siginfo_t *info, void *context) {
    (void)info;
    ucontext_t *u = context;
    aligned = ((long)__builtin_frame_address(0) + 16) % 16;
    u->uc_mcontext.gregs[REG_RBX] = 0x1234567;
    sigaddset(&u->uc_sigmask, sig);
}
int main(void) {
    handle(SIGUSR1, change, 0);
    long rbx = 1, damaged = 0;
    // A leaf function's red zone: 128 bytes under the stack pointer, while a signal comes.
    __asm__ volatile("movq $0x5a5a5a5a, -8(%%rsp)\n\tmovq $0x6b6b6b6b, -128(%%rsp)\n\t"
                     "mov $0x1, %%ebx\n\tsyscall\n\tmov %%rbx, %0\n\t"
                     "cmpq $0x5a5a5a5a, -8(%%rsp)\n\tsetne %b1\n\t"
                     "cmpq $0x6b6b6b6b, -128(%%rsp)\n\tsetne %%al\n\tor %%al, %b1"
                     : "=&r"(rbx), "+&r"(damaged)
                     : "a"(SYS_tgkill), "D"(getpid()), "S"(syscall(SYS_gettid)), "d"(SIGUSR1)
                     : "rbx", "rcx", "r11", "memory");
    printf("rbx %#lx, red zone damaged %ld, alignment %ld\n", rbx, damaged & 0xff, aligned);
    sigset_t now;
    sigprocmask(SIG_BLOCK, NULL, &now);
    R(sigismember(&now, SIGUSR1));
    return 0;
}

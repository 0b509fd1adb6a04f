// A child by fork has its parent's vector registers and rounding modes; a program by exec starts
// with fresh ones.
#include "test.h"
#include <immintrin.h>
extern char **environ;
static void show(const char *who) {
    unsigned short word;
    __asm__ volatile("fnstcw %0" : "=m"(word));
    printf("%s: mxcsr %#x, control word %#x\n", who, _mm_getcsr() & ~0x3fU, word);
}
int main(int argc, char **argv) {
    if (argc > 1) {
        show(argv[1]);
        return 0;
    }
    unsigned short word = 0x0e7f; // rounds toward zero, double precision
    _mm_setcsr(0x1f80 | 2 << 13); // rounds up
    __asm__ volatile("fldcw %0" ::"m"(word));
    show("parent");
    fflush(stdout);
    unsigned long value = 0x123456789abcdefUL, after = 0;
    long pid;
    // The fork itself, so that nothing else uses the register between.
    __asm__ volatile("movq %2, %%xmm11\n\tsyscall\n\tmovq %%xmm11, %1"
                     : "=a"(pid), "=r"(after)
                     : "r"(value), "0"((long)SYS_fork)
                     : "rcx", "r11", "memory", "xmm11");
    if (pid == 0) {
        show("child");
        printf("child's register kept: %d\n", after == value);
        fflush(stdout);
        char *args[] = {"fpu_fork_exec", "program", NULL};
        execve("/proc/self/exe", args, environ);
        _exit(1);
    }
    int status;
    waitpid((pid_t)pid, &status, 0);
    R(status);
    printf("parent's register kept: %d\n", after == value);
    show("parent again");
    return 0;
}

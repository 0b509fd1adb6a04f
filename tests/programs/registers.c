// A system call changes only rax, rcx and r11; flags survive, rcx is the return address.
#include "test.h"
int main(void) {
    unsigned long before[6] = {0x1111, 0x2222, 0x3333, 0x4444, 0x5555, 0x6666}, after[8];
    unsigned long rcx, r11, next;
    __asm__ volatile("mov %[b], %%rbx\n mov 0(%%rbx), %%rdi\n mov 8(%%rbx), %%rsi\n"
                     "mov 16(%%rbx), %%rdx\n mov 24(%%rbx), %%r10\n mov 32(%%rbx), %%r8\n"
                     "mov 40(%%rbx), %%r9\n mov $0x7777, %%r12\n mov $0x8888, %%r13\n"
                     "mov $39, %%eax\n stc\n syscall\n 1: setc %%al\n movzbl %%al, %%eax\n"
                     "mov %[a], %%rbx\n mov %%rdi, 0(%%rbx)\n mov %%rsi, 8(%%rbx)\n"
                     "mov %%rdx, 16(%%rbx)\n mov %%r10, 24(%%rbx)\n mov %%r8, 32(%%rbx)\n"
                     "mov %%r9, 40(%%rbx)\n mov %%r12, 48(%%rbx)\n mov %%rax, 56(%%rbx)\n"
                     "mov %%rcx, %[rcx]\n mov %%r11, %[r11]\n lea 1b(%%rip), %%rax\n"
                     "mov %%rax, %[next]\n"
                     : [rcx] "=m"(rcx), [r11] "=m"(r11), [next] "=m"(next)
                     : [b] "m"((unsigned long *){before}), [a] "m"((unsigned long *){after})
                     : "rax", "rbx", "rcx", "rdx", "rdi", "rsi", "r8", "r9", "r10", "r11", "r12",
                       "r13", "memory", "cc");
    for (int i = 0; i < 6; i++)
        printf("%#lx\n", after[i]);
    printf("r12 %#lx carry %lu\n", after[6], after[7]);
    YES(rcx == next);
    YES((r11 & 1) == 1);
    YES((r11 & 0x200) == 0x200);
    // SSE state too.
    double values[4] = {1.5, 2.5, 3.5, 4.5};
    __asm__ volatile("movupd (%0), %%xmm5\n movupd 16(%0), %%xmm15\n mov $39, %%eax\n syscall\n"
                     "movupd %%xmm15, (%0)\n movupd %%xmm5, 16(%0)\n" ::"r"(values)
                     : "rax", "rcx", "r11", "xmm5", "xmm15", "memory");
    printf("%g %g %g %g\n", values[0], values[1], values[2], values[3]);
    return 0;
}

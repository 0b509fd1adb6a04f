// The registers a program starts with: a stack aligned to 16 with argc on it, and no leftovers.
// Linked as any other, but entered ahead of the C library.
#include "test.h"
unsigned long first[18];
__attribute__((naked, used)) void entered(void) {
    __asm__("mov %rax, first(%rip)\n\tmov %rbx, first+8(%rip)\n\tmov %rcx, first+16(%rip)\n\t"
            "mov %rdx, first+24(%rip)\n\tmov %rsi, first+32(%rip)\n\tmov %rdi, first+40(%rip)\n\t"
            "mov %rbp, first+48(%rip)\n\tmov %rsp, first+56(%rip)\n\tmov %r8, first+64(%rip)\n\t"
            "mov %r9, first+72(%rip)\n\tmov %r10, first+80(%rip)\n\tmov %r12, first+88(%rip)\n\t"
            "mov %r13, first+96(%rip)\n\tmov %r14, first+104(%rip)\n\tmov %r15, first+112(%rip)\n\t"
            "pushfq\n\tpopq first+120(%rip)\n\tstmxcsr first+128(%rip)\n\tfnstcw first+136(%rip)\n\t"
            "xor %edx, %edx\n\tmov %rsp, %rdi\n\tjmp _start");
}
extern char **environ;
// Where execve is to begin is said in the ELF header, so the test gives itself another one.
#include <elf.h>
static void write_copy(const char *path) {
    int in = open("/proc/self/exe", O_RDONLY), out = open(path, O_WRONLY | O_CREAT | O_EXCL, 0755);
    char buffer[65536];
    ssize_t n, at = 0;
    NEED(in >= 0 && out >= 0);
    while ((n = read(in, buffer, sizeof buffer)) > 0) {
        if (at == 0)
            ((Elf64_Ehdr *)buffer)->e_entry = (Elf64_Addr)(uintptr_t)entered;
        NEED(write(out, buffer, (size_t)n) == n);
        at += n;
    }
    close(in);
    close(out);
}
int main(int argc, char **argv) {
    if (argc > 1) {
        for (int i = 0; i < 15; i++)
            if (i != 7 && first[i])
                printf("register %d starts as %#lx\n", i, first[i]);
        R(first[7] % 16);
        YES(*(long *)first[7] == argc);
        YES((char **)(first[7] + 8) == argv);
        printf("flags %#lx\n", first[15] & ~0x200UL);
        printf("mxcsr %#x control word %#x\n", (unsigned)first[16], (unsigned)(first[17] & 0xffff));
        return 0;
    }
    enter_dir();
    write_copy("copy");
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        char *args[] = {"copy", "again", NULL};
        // What a program leaves in its registers must not reach the next one.
        execve("copy", args, environ);
        _exit(9);
    }
    int status;
    waitpid(pid, &status, 0);
    R(status);
    return 0;
}

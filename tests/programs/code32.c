// 32-bit code by a far jump: whatever a kernel makes of it, it is the program that ends.
#include "test.h"
int main(void) {
    // mov eax, 20 (getpid); syscall; hlt
    static const unsigned char code[] = {0xb8, 20, 0, 0, 0, 0x0f, 0x05, 0xf4};
    unsigned char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    NEED(page != MAP_FAILED && (uintptr_t)page < 1ul << 31);
    memcpy(page, code, sizeof code);
    // The selectors of Linux: 32-bit code of programs, 32-bit code of the kernel, an unused one.
    for (int selector = 0x03; selector < 0x80; selector += 8) {
        pid_t pid = fork();
        if (pid == 0) {
            // Not a far return: QEMU 7 reads its operands as the kernel, and falls over SMAP.
            struct {
                uint32_t offset;
                uint16_t selector;
            } target = {(uint32_t)(uintptr_t)page, selector};
            __asm__ volatile("ljmpl *%0" : : "m"(target) : "rax", "rcx", "r11", "memory");
            _exit(0);
        }
        int status = 0;
        NEED(waitpid(pid, &status, 0) == pid);
        int fault = WIFSIGNALED(status) &&
                    (WTERMSIG(status) == SIGSEGV || WTERMSIG(status) == SIGILL ||
                     WTERMSIG(status) == SIGBUS);
        printf("selector %#x: %s\n", selector, fault ? "a fault" : "something else");
    }
    return 0;
}

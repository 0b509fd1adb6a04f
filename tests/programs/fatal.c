// Faults without a handler kill by the right signal.
// case null-read: null-read
// case null-write: null-write
// case wild-jump: wild-jump
// case non-canonical-jump: non-canonical-jump
// case non-canonical-read: non-canonical-read
// case kernel-half-read: kernel-half-read
// case kernel-half-write: kernel-half-write
// case nx: nx
// case text-write: text-write
// case divide: divide
// case illegal: illegal
// case breakpoint: breakpoint
// case privileged: privileged
// case stack-overflow: stack-overflow
// case bad-stack: bad-stack
// case blocked-fault: blocked-fault
// case ignored-fault: ignored-fault
// case thread-fault: thread-fault
#include "test.h"
static volatile int sink;
#pragma GCC diagnostic ignored "-Winfinite-recursion"
static int deep(int n) {
    volatile char frame[4096];
    frame[0] = (char)n;
    return deep(n + 1) + frame[0];
}
static void *fault(void *unused) {
    *(volatile int *)16 = 1;
    return unused;
}
int main(int argc, char **argv) {
    NEED(argc == 2);
    const char *kind = argv[1];
    printf("%s\n", kind);
    volatile int zero = 0;
    if (!strcmp(kind, "null-read"))
        sink = *(volatile int *)8;
    if (!strcmp(kind, "null-write"))
        *(volatile int *)0 = 1;
    if (!strcmp(kind, "wild-jump"))
        ((void (*)(void))0x1234560)();
    if (!strcmp(kind, "non-canonical-jump"))
        ((void (*)(void))0x1234567890abcdefUL)();
    if (!strcmp(kind, "non-canonical-read"))
        sink = *(volatile int *)0xdead000000000000UL;
    if (!strcmp(kind, "kernel-half-read"))
        sink = *(volatile int *)0xffffffffff000000UL;
    if (!strcmp(kind, "kernel-half-write"))
        *(volatile int *)0xfffffffffe000000UL = 1;
    if (!strcmp(kind, "nx")) {
        unsigned char *page =
            mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        page[0] = 0xc3;
        ((void (*)(void))page)();
    }
    if (!strcmp(kind, "text-write"))
        *(volatile char *)(uintptr_t)&main = 1;
    if (!strcmp(kind, "divide"))
        sink = 100 / zero;
    if (!strcmp(kind, "illegal"))
        __asm__ volatile("ud2");
    if (!strcmp(kind, "breakpoint"))
        __asm__ volatile("int3");
    if (!strcmp(kind, "privileged"))
        __asm__ volatile("hlt");
    if (!strcmp(kind, "stack-overflow"))
        sink = deep(0);
    if (!strcmp(kind, "bad-stack"))
        __asm__ volatile("mov $0x10, %%rsp\n push %%rax" ::: "memory");
    if (!strcmp(kind, "blocked-fault")) {
        sigset_t set;
        sigfillset(&set);
        sigprocmask(SIG_BLOCK, &set, NULL);
        *(volatile int *)0 = 1;
    }
    if (!strcmp(kind, "ignored-fault")) {
        signal(SIGSEGV, SIG_IGN);
        *(volatile int *)0 = 1;
    }
    if (!strcmp(kind, "thread-fault")) {
        pthread_t thread;
        NEED(pthread_create(&thread, NULL, fault, NULL) == 0);
        pthread_join(thread, NULL);
    }
    puts("survived");
    return 1;
}

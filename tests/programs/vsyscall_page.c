// The vsyscall page, by which programs of old C libraries ask for the time: three addresses can be
// called; everything else about the page, and everything odd about such a call, is a fault.
#include "test.h"
#include <ucontext.h>

#define PAGE 0xffffffffff600000UL

static sigjmp_buf back;
static volatile unsigned long want;
static char alt[1 << 16];

static void show(int sig, siginfo_t *info, void *context) {
    greg_t *regs = ((ucontext_t *)context)->uc_mcontext.gregs;
    printf("  signal %d code %d, address: %s, at the page: %d", sig, info->si_code,
           !info->si_addr                              ? "none"
           : (unsigned long)info->si_addr == want      ? "that one"
                                                       : "another",
           (unsigned long)regs[REG_RIP] == want);
    if (info->si_code > 0 && info->si_code < SI_KERNEL)
        printf(", trap %lld error %lld", (long long)regs[REG_TRAPNO], (long long)regs[REG_ERR]);
    puts("");
    siglongjmp(back, 1);
}

static long call(unsigned long address, void *first, void *second, void *third) {
    long result = 4711;
    register void *di __asm__("rdi") = first;
    register void *si __asm__("rsi") = second;
    register void *dx __asm__("rdx") = third;
    __asm__ volatile("call *%1"
                     : "+a"(result)
                     : "r"(address), "r"(di), "r"(si), "r"(dx)
                     : "rcx", "r11", "memory");
    return result;
}

static void try_call(const char *what, unsigned long address, void *first, void *second) {
    printf("%s\n", what);
    if (!sigsetjmp(back, 1))
        printf("  %s\n", call(address, first, second, NULL) >= 0 ? "done" : "an error");
}

// What a call leaves of the registers that a system call changes.
static void registers(void) {
    unsigned long rcx = 1, r11 = 2, flags = 0, rsp = 0, after = 0;
    struct timeval now;
    __asm__ volatile("mov %%rsp, %2\n mov $77, %%rcx\n mov $88, %%r11\n stc\n call *%5\n"
                     "mov %%r11, %1\n pushf\n pop %3\n mov %%rsp, %4\n"
                     : "=c"(rcx), "=&r"(r11), "=&r"(rsp), "=&r"(flags), "=&r"(after)
                     : "r"(PAGE), "D"(&now), "S"(0)
                     : "rax", "rdx", "r11", "memory", "cc");
    printf("rcx %lu r11 %lu carry %lu, stack where it was: %d\n", rcx, r11, flags & 1, rsp == after);
}

int main(void) {
    struct timeval now = {0};
    struct timezone zone = {9, 9};
    time_t seconds = 0;
    unsigned cpu = ~0u, node = ~0u;
    stack_t stack = {.ss_sp = alt, .ss_size = sizeof alt};
    sigaltstack(&stack, NULL);
    handle(SIGSEGV, show, SA_NODEFER | SA_ONSTACK);
    handle(SIGBUS, show, SA_NODEFER | SA_ONSTACK);

    long done = call(PAGE, &now, &zone, NULL);
    printf("gettimeofday: %ld, near: %d, zone %d\n", done, labs(now.tv_sec - time(NULL)) <= 1,
           zone.tz_minuteswest);
    long returned = call(PAGE + 0x400, &seconds, NULL, NULL);
    printf("time: %d %d\n", returned == seconds, labs(seconds - time(NULL)) <= 1);
    done = call(PAGE + 0x800, &cpu, &node, NULL);
    printf("getcpu: %ld %d %d\n", done, cpu < 4096, node < 64);
    printf("with nothing to fill: %ld %d %ld\n", call(PAGE, NULL, NULL, NULL),
           call(PAGE + 0x400, NULL, NULL, NULL) >= seconds, call(PAGE + 0x800, NULL, NULL, NULL));
    registers();

    static const unsigned others[] = {1, 2, 9, 0x100, 0x3ff, 0x401, 0x7f8, 0x801, 0xc00, 0xfff};
    for (unsigned i = 0; i < sizeof others / sizeof *others; i++) {
        char what[40];
        snprintf(what, sizeof what, "call of +%#x", others[i]);
        want = PAGE + others[i];
        try_call(what, want, &now, NULL);
    }
    want = PAGE - 1;
    try_call("call just below", want, NULL, NULL);
    want = PAGE + 4096;
    try_call("call just above", want, NULL, NULL);

    static const unsigned long pointers[] = {8, 0x7fffffffefffUL, 0x7ffffffff000UL, PAGE,
                                             0x800000000000UL, 0x8000000000000000UL, ~0UL};
    for (unsigned i = 0; i < sizeof pointers / sizeof *pointers; i++)
        for (unsigned entry = 0; entry < 3; entry++) {
            char what[60];
            void *bad = (void *)pointers[i];
            snprintf(what, sizeof what, "entry %u with %#lx", entry, pointers[i]);
            want = PAGE + 0x400 * entry;
            try_call(what, want, bad, NULL);
            snprintf(what, sizeof what, "entry %u with %#lx as the second", entry, pointers[i]);
            try_call(what, want, NULL, bad);
        }
    const char *constant = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    want = PAGE;
    try_call("into memory that cannot be written", PAGE, (void *)constant, NULL);

    want = PAGE + 8;
    puts("read");
    if (!sigsetjmp(back, 1))
        printf("  %d\n", *(volatile char *)want);
    puts("write");
    if (!sigsetjmp(back, 1))
        *(volatile char *)want = 1;
    puts("as a system call's buffer");
    OK(write(1, (void *)PAGE, 1));
    OK(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, (void *)PAGE));
    puts("to be executed only");
    OK(mmap((void *)PAGE, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
    OK(mprotect((void *)PAGE, 4096, PROT_READ));
    OK(munmap((void *)PAGE, 4096));

    // A jump, with a stack that says where to go on; and with stacks that do not.
    static const unsigned long stacks[] = {8, 0x7fffffffeff9UL, 0x800000000000UL, PAGE, ~7UL};
    for (unsigned i = 0; i < sizeof stacks / sizeof *stacks; i++) {
        printf("stack at %#lx\n", stacks[i]);
        want = PAGE + 0x400;
        if (!sigsetjmp(back, 1))
            __asm__ volatile("mov %0, %%rsp\n xor %%edi, %%edi\n jmp *%1\n" ::"r"(stacks[i]), "r"(want)
                             : "rdi", "memory");
    }
    // The way back leads to nowhere: the fault is of the place it leads to.
    static const unsigned long callers[] = {0, 0x7ffffffff000UL, PAGE + 1, 0xffffffff80000000UL};
    for (unsigned i = 0; i < sizeof callers / sizeof *callers; i++) {
        printf("back to %#lx\n", callers[i]);
        want = callers[i];
        if (!sigsetjmp(back, 1))
            __asm__ volatile("push %0\n xor %%edi, %%edi\n jmp *%1\n" ::"r"(callers[i]),
                             "r"(PAGE + 0x400)
                             : "rdi", "memory");
    }
    // From one entry straight to the next.
    unsigned long chained = 0;
    __asm__ volatile("lea 1f(%%rip), %%rax\n push %%rax\n push %1\n xor %%edi, %%edi\n"
                     "xor %%esi, %%esi\n jmp *%2\n 1:\n"
                     : "=&a"(chained)
                     : "r"(PAGE + 0x400), "r"(PAGE)
                     : "rdi", "rsi", "rcx", "r11", "memory");
    printf("one after the other: %d\n", labs((long)chained - time(NULL)) <= 1);
    // As a signal's handler.
    want = PAGE + 0x400;
    puts("handler");
    signal(SIGUSR1, (void (*)(int))(PAGE + 0x400));
    if (!sigsetjmp(back, 1))
        raise(SIGUSR1);
    return 0;
}

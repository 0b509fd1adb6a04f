// Faults as a tool: a handler repairs memory or moves RIP on, thousands of times, in any thread.
#include "test.h"
#include <ucontext.h>
#define PAGES 300
static char *area;
static volatile int faults;
static void repair(int sig, siginfo_t *info, void *context) {
    (void)sig, (void)context;
    __atomic_add_fetch(&faults, 1, __ATOMIC_SEQ_CST);
    NEED(mprotect((void *)((uintptr_t)info->si_addr & ~4095UL), 4096, PROT_READ | PROT_WRITE) == 0);
}
static void skip(int sig, siginfo_t *info, void *context) {
    (void)sig, (void)info;
    ucontext_t *uc = context;
    uc->uc_mcontext.gregs[REG_RIP] += 3; // mov (%rax), %rax
    uc->uc_mcontext.gregs[REG_RAX] = 4711;
}
static void *touch(void *from) {
    for (int i = 0; i < PAGES / 2; i++)
        ((char *)from)[i * 4096L] = 1;
    return NULL;
}
int main(void) {
    handle(SIGSEGV, repair, 0);
    area = mmap(NULL, PAGES * 4096L, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    NEED(area != MAP_FAILED);
    pthread_t t;
    pthread_create(&t, NULL, touch, area + PAGES / 2 * 4096L);
    touch(area);
    pthread_join(t, NULL);
    printf("%d faults repaired\n", faults);
    handle(SIGSEGV, skip, 0);
    long value;
    __asm__ volatile("mov $16, %%eax\n mov (%%rax), %%rax\n" : "=a"(value));
    printf("skipped, rax %ld\n", value);
    // Fault inside a handler of another signal.
    handle(SIGUSR1, (void (*)(int, siginfo_t *, void *))repair, 0);
    handle(SIGSEGV, repair, SA_NODEFER);
    mprotect(area, 4096, PROT_NONE);
    faults = 0;
    area[0]++;
    printf("value %d, faults %d\n", area[0], faults);
    return 0;
}

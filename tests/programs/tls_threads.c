// Thread-local storage: initialised and zeroed for every thread, aligned, found again by %fs.
#include "test.h"
#include <asm/prctl.h>
static __thread int counter = 7;
static __thread char big[3000] __attribute__((aligned(64)));
static __thread const char *name = "unset";
static void *work(void *arg) {
    long n = (long)arg, bad = 0;
    bad |= counter != 7 || strcmp(name, "unset") || ((uintptr_t)big & 63);
    for (size_t i = 0; i < sizeof big; i++)
        bad |= big[i];
    name = n % 2 ? "odd" : "even";
    for (int i = 0; i < 1000; i++) {
        counter += (int)n;
        memset(big, (int)n, sizeof big);
        if (i % 100 == 0)
            sched_yield();
        bad |= big[i] != (char)n;
    }
    bad |= counter != 7 + 1000 * n || strcmp(name, n % 2 ? "odd" : "even");
    unsigned long base = 0, word;
    syscall(SYS_arch_prctl, ARCH_GET_FS, &base);
    __asm__("mov %%fs:0, %0" : "=r"(word));
    bad |= base != word; // the thread control block begins with its own address
    return (void *)bad;
}
int main(void) {
    pthread_t threads[8];
    void *bad = NULL, *one;
    for (long i = 0; i < 8; i++)
        NEED(pthread_create(&threads[i], NULL, work, (void *)i) == 0);
    for (int i = 0; i < 8; i++) {
        pthread_join(threads[i], &one);
        bad = (void *)((long)bad | (long)one);
    }
    R((long)bad);
    R(counter);
    // A child by fork has its parent's.
    counter = 42;
    pid_t pid = fork();
    if (pid == 0)
        _exit(counter++);
    int status;
    waitpid(pid, &status, 0);
    R(WEXITSTATUS(status));
    R(counter);
    R(syscall(SYS_arch_prctl, ARCH_SET_FS, 0xffff800000000000UL));
    R(syscall(SYS_arch_prctl, 0x9999, 0));
    return 0;
}

// Translations are gone from every processor when the call that removes them returns: a page made
// inaccessible is, an unmapped frame gets no late writes, and replaced content is seen.
// vcpus: 2 4
#include "test.h"
#define READERS 2
static volatile char *volatile page;
// Even: accessible; odd: protected (set after mprotect returned, cleared before the next call).
static _Atomic int epoch;
static _Atomic int stop;
static _Atomic long violations, reads, faults;
static __thread sigjmp_buf back;
static void on_fault(int sig, siginfo_t *info, void *context) { siglongjmp(back, 1); }
static void *reader(void *arg) {
    while (!stop) {
        if (sigsetjmp(back, 0)) {
            faults++;
            continue;
        }
        int before = epoch;
        char value = page[0];
        if (before % 2 && before == epoch)
            violations++;
        reads += value & 1;
    }
    return NULL;
}
static void *writer(void *arg) {
    while (!stop) {
        if (sigsetjmp(back, 0)) {
            faults++;
            continue;
        }
        for (int i = 0; i < 100; i++)
            page[64] = 0x55;
    }
    return NULL;
}
static _Atomic char expected;
static _Atomic long wrong;
static void *look(void *arg) {
    while (!stop) {
        char before = expected;
        char seen = page[0];
        if (before && before == expected && seen != before)
            wrong++;
    }
    return NULL;
}
int main(void) {
    handle(SIGSEGV, on_fault, SA_NODEFER);
    pthread_t threads[READERS];
    page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    page[0] = 1;
    for (int i = 0; i < READERS; i++)
        NEED(pthread_create(&threads[i], NULL, reader, NULL) == 0);
    while (!reads)
        sched_yield();
    for (int i = 0; i < 150; i++) {
        NEED(mprotect((void *)page, 4096, PROT_NONE) == 0);
        epoch++;
        for (int j = 0; j < 2000; j++)
            __builtin_ia32_pause();
        epoch++;
        NEED(mprotect((void *)page, 4096, PROT_READ | PROT_WRITE) == 0);
    }
    stop = 1;
    for (int i = 0; i < READERS; i++)
        NEED(pthread_join(threads[i], NULL) == 0);
    printf("reads of a protected page: %ld\n", (long)violations);

    // Frames that are unmapped under a writer come back as fresh memory elsewhere.
    stop = 0;
    char *area = mmap(NULL, 64 << 12, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    page = area;
    page[64] = 0x55;
    NEED(pthread_create(&threads[0], NULL, writer, NULL) == 0);
    long dirty = 0;
    for (int i = 0; i < 150; i++) {
        NEED(madvise(area, 4096, MADV_DONTNEED) == 0);
        NEED(mprotect(area, 4096, PROT_NONE) == 0);
        NEED(madvise(area, 4096, MADV_DONTNEED) == 0);
        char *fresh = mmap(NULL, 16 << 12, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        for (int at = 0; at < 16; at++)
            fresh[at << 12] = 1;
        for (int j = 0; j < 500; j++)
            __builtin_ia32_pause();
        for (int at = 0; at < 16; at++)
            dirty += fresh[(at << 12) + 64] != 0;
        NEED(munmap(fresh, 16 << 12) == 0);
        NEED(mprotect(area, 4096, PROT_READ | PROT_WRITE) == 0);
    }
    stop = 1;
    NEED(pthread_join(threads[0], NULL) == 0);
    printf("late writes to freed pages: %ld\n", dirty);

    // A page replaced by another is the new one for everybody.
    stop = 0;
    int fds[2];
    for (int i = 0; i < 2; i++) {
        fds[i] = memfd_create("page", 0);
        char text[8] = {(char)('a' + i)};
        NEED(ftruncate(fds[i], 4096) == 0 && pwrite(fds[i], text, 1, 0) == 1);
    }
    NEED(mmap(area, 4096, PROT_READ, MAP_SHARED | MAP_FIXED, fds[0], 0) == area);
    NEED(pthread_create(&threads[0], NULL, look, NULL) == 0);
    for (int i = 0; i < 200; i++) {
        expected = 0;
        NEED(mmap(area, 4096, PROT_READ, MAP_SHARED | MAP_FIXED, fds[i % 2], 0) == area);
        expected = (char)('a' + i % 2);
        for (int j = 0; j < 200; j++)
            __builtin_ia32_pause();
    }
    stop = 1;
    NEED(pthread_join(threads[0], NULL) == 0);
    printf("reads of a replaced page: %ld\n", (long)wrong);
    return 0;
}

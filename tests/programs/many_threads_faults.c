// Threads that map, fault, protect and unmap at once: the address space stays consistent.
#include "test.h"
static volatile int bad;
static void *churn(void *arg) {
    unsigned seed = (unsigned)(long)arg;
    for (int i = 0; i < 150; i++) {
        seed = seed * 1103515245 + 12345;
        size_t pages = 1 + (seed >> 16) % 30;
        char *p = mmap(NULL, pages * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (p == MAP_FAILED) {
            bad++;
            continue;
        }
        for (size_t j = 0; j < pages; j++) {
            bad += p[j * 4096] != 0;
            p[j * 4096 + 1] = (char)(long)arg;
        }
        if (i % 7 == 0)
            sched_yield();
        for (size_t j = 0; j < pages; j++)
            bad += p[j * 4096 + 1] != (char)(long)arg;
        if (pages > 4) {
            // Another thread may be given the hole at once: it is not unmapped a second time.
            bad += munmap(p + 4096, 4096) != 0;
            bad += mprotect(p, 4096, PROT_READ) != 0;
            bad += munmap(p, 4096) != 0;
            p += 2 * 4096;
            pages -= 2;
        }
        bad += munmap(p, pages * 4096) != 0;
    }
    return NULL;
}
int main(void) {
    pthread_t t[8];
    for (long i = 0; i < 8; i++)
        pthread_create(&t[i], NULL, churn, (void *)(i + 1));
    for (int i = 0; i < 8; i++)
        pthread_join(t[i], NULL);
    printf("bad %d\n", bad);
    return 0;
}

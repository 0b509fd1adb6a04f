// Four threads map, fill, check, protect and unmap as fast as they can: nobody sees another one's
// memory, and fresh memory is zero.
// vcpus: 2 4
#include "test.h"
#define THREADS 4
static _Atomic long wrong, rounds;
static void *hammer(void *arg) {
    unsigned char pattern = (unsigned char)(long)arg;
    unsigned seed = pattern;
    for (int i = 0; i < 60; i++) {
        size_t pages = 1 + rand_r(&seed) % 24;
        unsigned char *area =
            mmap(NULL, pages << 12, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        NEED(area != MAP_FAILED);
        for (size_t at = 0; at < pages << 12; at += 512) {
            wrong += area[at] != 0;
            area[at] = pattern;
        }
        if (i % 3 == 0) {
            NEED(mprotect(area, pages << 12, PROT_READ) == 0);
            for (size_t at = 0; at < pages << 12; at += 512)
                wrong += area[at] != pattern;
            NEED(mprotect(area, pages << 12, PROT_READ | PROT_WRITE) == 0);
        }
        if (i % 4 == 0) {
            NEED(madvise(area, pages << 12, MADV_DONTNEED) == 0);
            for (size_t at = 0; at < pages << 12; at += 512)
                wrong += area[at] != 0;
            memset(area, pattern, pages << 12);
        }
        if (i % 5 == 0) {
            unsigned char *moved = mremap(area, pages << 12, (pages + 2) << 12, MREMAP_MAYMOVE);
            NEED(moved != MAP_FAILED);
            area = moved, pages += 2;
            wrong += area[0] != pattern || area[(pages - 1) << 12] != 0;
            area[(pages - 1) << 12] = pattern, area[(pages - 2) << 12] = pattern;
        }
        for (size_t at = 0; at < pages << 12; at += 4096)
            wrong += area[at] != pattern;
        NEED(munmap(area, pages << 12) == 0);
        rounds++;
    }
    return NULL;
}
int main(void) {
    pthread_t threads[THREADS];
    for (long i = 0; i < THREADS; i++)
        NEED(pthread_create(&threads[i], NULL, hammer, (void *)(i + 1)) == 0);
    for (int i = 0; i < THREADS; i++)
        NEED(pthread_join(threads[i], NULL) == 0);
    printf("rounds %ld wrong %ld\n", (long)rounds, (long)wrong);
    return 0;
}

// Page tables of processes that are gone, their memory left alone for a while and used again: what
// they mapped must not show in the new ones.
#include "test.h"
#define SIZE (8u << 20)
#define STEP (2u << 20)
#define CHILDREN 16
static int go[2], done[2];
static char *map(char *at) {
    char *p = mmap(at, SIZE, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | (at ? MAP_FIXED : 0), -1, 0);
    NEED(p != MAP_FAILED);
    // Small pages, each with an entry of its own.
    madvise(p, SIZE, MADV_NOHUGEPAGE);
    return p;
}
// All children at once, so that their tables fill memory of their own.
static void generation(char *p, int fresh) {
    char byte;
    for (int i = 0; i < CHILDREN; i++) {
        if (fork() == 0) {
            long wrong = 0;
            if (fresh) {
                NEED(munmap(p, SIZE) == 0);
                map(p);
                for (size_t at = 0; at < SIZE; at += STEP)
                    p[at] = 1;
            }
            // Beside those pages.
            for (size_t at = STEP / 2; at < SIZE; at += STEP / 4)
                if (at % STEP)
                    wrong += p[at] != (fresh ? 0 : 'P');
            NEED(write(done[1], wrong ? "x" : ".", 1) == 1);
            read(go[0], &byte, 1);
            _exit(wrong != 0);
        }
    }
    int bad = 0;
    for (int i = 0; i < CHILDREN; i++) {
        NEED(read(done[0], &byte, 1) == 1);
        bad += byte != '.';
    }
    for (int i = 0; i < CHILDREN; i++)
        NEED(write(go[1], "", 1) == 1);
    for (int i = 0; i < CHILDREN; i++)
        wait(NULL);
    printf("%s: %d of %d saw what was not theirs\n", fresh ? "fresh" : "inherited", bad, CHILDREN);
}
int main(void) {
    NEED(pipe(go) == 0 && pipe(done) == 0);
    char *p = map(NULL);
    memset(p, 'P', SIZE);
    for (int round = 0; round < 2; round++) {
        generation(p, 0);
        sleep_ms(1300);
        generation(p, 1);
        sleep_ms(1300);
    }
    return 0;
}

// Memory freed and left alone for a while: whoever has it meanwhile, it is there again, and zero.
#include "test.h"
#define SIZE (24u << 20)
static void use(const char *when) {
    char *p = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    NEED(p != MAP_FAILED);
    long dirty = 0, kept = 0;
    for (size_t i = 0; i < SIZE; i += 512) {
        dirty += p[i] != 0;
        p[i] = (char)(i >> 9);
    }
    // In pieces and as a whole.
    for (size_t i = 0; i < SIZE; i += SIZE / 4)
        NEED(madvise(p + i, 1 << 20, MADV_DONTNEED) == 0);
    for (size_t i = 0; i < SIZE; i += 512)
        kept += p[i] == (char)(i >> 9) && i % (SIZE / 4) >= 1 << 20;
    printf("%s: %ld dirty, %ld kept\n", when, dirty, kept);
    NEED(munmap(p, SIZE) == 0);
}
int main(void) {
    use("first");
    sleep_ms(1300);
    use("after a pause");
    // Busy while it goes.
    for (long end = now_ms() + 1300; now_ms() < end;) {
    }
    use("after work");
    return 0;
}

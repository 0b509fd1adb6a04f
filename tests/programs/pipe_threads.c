// A megabyte through a pipe between threads, with blocking on both sides, intact.
#include "test.h"
static int p[2];
static void *produce(void *unused) {
    char block[10007];
    unsigned value = 0;
    for (int left = 1 << 20; left > 0;) {
        int n = left < (int)sizeof block ? left : (int)sizeof block;
        for (int i = 0; i < n; i++)
            block[i] = (char)(value = value * 31 + 7);
        NEED(write(p[1], block, n) == n);
        left -= n;
    }
    close(p[1]);
    return unused;
}
int main(void) {
    NEED(pipe(p) == 0);
    pthread_t thread;
    NEED(pthread_create(&thread, NULL, produce, NULL) == 0);
    char block[777];
    unsigned value = 0;
    long total = 0, wrong = 0, n;
    while ((n = read(p[0], block, sizeof block)) > 0) {
        for (int i = 0; i < n; i++)
            wrong += block[i] != (char)(value = value * 31 + 7);
        total += n;
    }
    pthread_join(thread, NULL);
    printf("%ld bytes, %ld wrong\n", total, wrong);
    return 0;
}

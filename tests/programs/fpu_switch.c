// Vector and floating-point state belongs to its thread, across preemption and system calls.
#include "test.h"
#include <immintrin.h>
static volatile int running = 4, bad;
static int has_avx;
__attribute__((target("avx"))) static void spin_avx(int n) {
    __m256d v = _mm256_set_pd(n + 0.1, n + 0.2, n + 0.3, n + 0.4);
    double want[4], got[4];
    _mm256_storeu_pd(want, v);
    for (int round = 0; round < 30; round++) {
        for (long i = 0; i < 300000; i++)
            __asm__ volatile("" : "+x"(v));
        if (round % 5 == 0)
            __asm__ volatile("syscall" : : "a"(SYS_sched_yield) : "rcx", "r11", "memory");
        _mm256_storeu_pd(got, v);
        bad |= memcmp(want, got, sizeof want) != 0;
    }
}
static void *work(void *arg) {
    int n = (int)(long)arg;
    // x87 control word and MXCSR rounding are per thread as well.
    unsigned mxcsr = 0x1f80 | (unsigned)(n % 4) << 13;
    _mm_setcsr(mxcsr);
    unsigned short cw = 0x037f | (unsigned short)((n % 4) << 10), now;
    __asm__ volatile("fldcw %0" ::"m"(cw));
    long double x = n + 0.25L;
    __asm__ volatile("" : "+t"(x));
    if (has_avx)
        spin_avx(n);
    for (volatile long i = 0; i < 3000000; i++) {
    }
    __asm__ volatile("" : "+t"(x));
    __asm__ volatile("fnstcw %0" : "=m"(now));
    bad |= now != cw || (_mm_getcsr() & ~0x3fu) != mxcsr || x != n + 0.25L;
    running--;
    return NULL;
}
int main(void) {
    has_avx = __builtin_cpu_supports("avx");
    pthread_t t[4];
    for (long i = 0; i < 4; i++)
        pthread_create(&t[i], NULL, work, (void *)i);
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
    printf("mixed up: %d\n", bad);
    return 0;
}

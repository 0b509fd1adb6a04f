// AVX-512 registers, masks included, belong to their thread across preemption and system calls.
// Where the CPU has none the program says the same, having done nothing.
#include "test.h"
#include <immintrin.h>
static int bad;
__attribute__((target("avx512f,avx512bw"))) static void *work(void *arg) {
    long n = (long)arg;
    char want[64], got[64];
    memset(want, 0x40 + (int)n, sizeof want);
    for (int round = 0; round < 60; round++) {
        __asm__ volatile("vmovdqu64 (%0), %%zmm0\n\tvmovdqu64 (%0), %%zmm15\n\t"
                         "vmovdqu64 (%0), %%zmm31\n\tkmovq %1, %%k1\n\tkmovq %1, %%k7"
                         :
                         : "r"(want), "r"(0x1111111111111111UL * (unsigned long)n)
                         : "xmm0", "xmm15", "memory");
        for (volatile int i = 0; i < 20000; i++) {
        }
        if (round % 4 == 0)
            __asm__ volatile("syscall" : : "a"(SYS_sched_yield) : "rcx", "r11", "memory");
        unsigned long k1, k7;
        __asm__ volatile("kmovq %%k1, %0\n\tkmovq %%k7, %1" : "=r"(k1), "=r"(k7));
        __asm__ volatile("vmovdqu64 %%zmm31, (%0)" : : "r"(got) : "memory");
        int differs = memcmp(want, got, 64) != 0;
        __asm__ volatile("vmovdqu64 %%zmm0, (%0)" : : "r"(got) : "memory");
        differs |= memcmp(want, got, 64) != 0;
        __asm__ volatile("vmovdqu64 %%zmm15, (%0)" : : "r"(got) : "memory");
        differs |= memcmp(want, got, 64) != 0;
        differs |= k1 != k7 || k1 != 0x1111111111111111UL * (unsigned long)n;
        if (differs)
            __atomic_store_n(&bad, 1, __ATOMIC_SEQ_CST);
    }
    return NULL;
}
int main(void) {
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")) {
        pthread_t threads[4];
        for (long i = 0; i < 4; i++)
            NEED(pthread_create(&threads[i], NULL, work, (void *)(i + 1)) == 0);
        for (int i = 0; i < 4; i++)
            pthread_join(threads[i], NULL);
    }
    printf("mixed up: %d\n", bad);
    return 0;
}

// Rings the sentry's doorbell from the program: the VMM must refuse every address and every
// request, whoever wrote it. Where the sentry has hardware privilege, the port is out of reach and
// the first attempt ends the program by SIGSEGV.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static unsigned seed = 2026;

static unsigned random_word(void) {
    seed = seed * 1664525 + 1013904223;
    return seed ^ seed >> 13;
}

static void ring(uint32_t value) {
    __asm__ volatile("outl %0, %1" ::"a"(value), "Nd"((uint16_t)DOORBELL_PORT) : "memory");
}

int main(void) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    puts("ringing");
    static const uint32_t wild[] = {0,          1,          7,          0xfff,      0x1000,
                                    0x200000,   0x1fffff8,  0x3fffff8,  0x4000000,  0x7ffffff8,
                                    0x80000000, 0xc0000000, 0xfffffff0, 0xfffffff8, 0xffffffff};
    for (unsigned i = 0; i < sizeof wild / sizeof *wild; i++)
        ring(wild[i]);
    puts("wild addresses rung");
    // Requests of any content: fill memory with plausible heads and ring all over RAM.
    uint64_t *page = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED)
        return 1;
    for (unsigned i = 0; i < (1 << 20) / 64; i++) {
        // Numbers that end the machine by design (exit, panic) are left out.
        static const uint32_t numbers[] = {1, 2, 3, 5, 6, 7, 10, 11, 12, 99, 0xffffffff};
        uint64_t *request = page + i * 8;
        request[0] = numbers[random_word() % 11] | (random_word() % 8 == 0 ? 1UL << 40 : 0);
        for (int j = 1; j < 7; j++) {
            static const uint64_t values[] = {0,      1,          4096,       0x1000,
                                              ~0UL,   1UL << 63,  0x3fffff0,  1UL << 36,
                                              128,    129,        0x200000,   ~0UL - 4095};
            request[j] = values[random_word() % 12];
        }
    }
    for (int i = 0; i < 400; i++)
        ring(random_word() % (64u << 20) & ~63u);
    puts("random addresses rung");
    return 0;
}

// Rings the sentry's doorbell from the program: the VMM must refuse every address and every
// request, whoever wrote it. Where the sentry has hardware privilege, the port is out of reach and
// the first attempt ends the program by SIGSEGV.
//
//   doorbell address N     rings once with that value
//   doorbell random SEED   rings at addresses all over memory, which holds requests of any content
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define AREA (16 << 20)
#define MEMORY (64u << 20)

// As in `sprout_abi::hypercall::number`.
#define GIVE_BACK 17
#define POPULATE 18
#define LAST_NUMBER POPULATE

static uint32_t state;

static uint32_t random_word(void) {
    state = state * 1664525 + 1013904223;
    return state ^ state >> 13;
}

static void ring(uint32_t value) {
    __asm__ volatile("outl %0, %1" ::"a"(value), "Nd"((uint16_t)DOORBELL_PORT) : "memory");
}

// Fills memory with requests: every number, fields from plausible to absurd.
static void fill(uint64_t *area) {
    static const uint64_t values[] = {0,         1,         4096,     0x200000, 0x1000000, 0x3fffff0,
                                      1UL << 36, 1UL << 63, ~0UL,     ~0UL - 4095, 128,    129};
    for (int i = 0; i < AREA / 64; i++) {
        uint64_t *request = area + i * 8;
        // All but STOPPED (14), a sound request that would stop the VMM.
        request[0] = random_word() % (LAST_NUMBER + 1);
        if (request[0] >= 14)
            request[0]++;
        if (random_word() % 16 == 0)
            request[0] |= 1UL << 40; // the reserved field
        for (int j = 1; j < 8; j++)
            request[j] = values[random_word() % 12] + (random_word() % 4 ? 0 : random_word());
        uint32_t number = (uint32_t)request[0];
        if ((number == GIVE_BACK || number == POPULATE) && random_word() % 4) {
            // Mostly whole large pages, the sentry's own among them, listed at the end of a request.
            request[1] = (random_word() % MEMORY & ~63u) + 32;
            request[2] = random_word() % 4;
            for (int j = 4; j < 8; j++)
                request[j] = (uint64_t)(random_word() % (j % 2 ? 4 : 34)) << 21;
        }
    }
}

int main(int argc, char **argv) {
    if (argc != 3)
        return 2;
    setvbuf(stdout, NULL, _IOLBF, 0);
    uint32_t value = (uint32_t)strtoul(argv[2], NULL, 0);
    puts("ringing");
    if (!strcmp(argv[1], "address")) {
        ring(value);
    } else {
        state = value;
        uint64_t *area = mmap(NULL, AREA, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (area == MAP_FAILED)
            return 3;
        fill(area);
        for (int i = 0; i < 100; i++)
            ring(random_word() % MEMORY & ~63u);
    }
    puts("rung");
    return 0;
}

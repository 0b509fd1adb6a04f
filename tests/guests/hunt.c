// Looks through all memory of its VM for a mark with 16 hexadecimal digits behind it, where nothing
// stands between a program and its sentry: all RAM appears at one address. Prints how often it was
// found and how many bytes could be read.
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DIRECT_MAP 0xffff808000000000ull
#define PAGE 4096ull

static sigjmp_buf back;

static void fault(int number) {
    (void)number;
    siglongjmp(back, 1);
}

int main(int argc, char **argv) {
    unsigned long long size = argc > 1 ? strtoull(argv[1], NULL, 0) << 20 : 0;
    // The mark must not stand in this program.
    static const unsigned char hidden[8] = {0x2f, 0x33, 0x3e, 0x31, 0x2b, 0x3a, 0x3b, 0x52};
    struct sigaction action = {.sa_handler = fault, .sa_flags = SA_NODEFER};
    sigaction(SIGSEGV, &action, NULL);
    sigaction(SIGBUS, &action, NULL);
    volatile unsigned long long found = 0, read = 0;
    for (volatile unsigned long long at = 0; at < size; at += PAGE) {
        if (sigsetjmp(back, 1) != 0) continue;
        const volatile unsigned char *page = (void *)(DIRECT_MAP + at);
        for (unsigned long long i = 0; i + 24 <= PAGE; i++) {
            unsigned long long k = 0;
            while (k < 8 && page[i + k] == (hidden[k] ^ 0x7f)) k++;
            if (k < 8) continue;
            while (k < 24 && strchr("0123456789abcdef", page[i + k]) && page[i + k]) k++;
            found += k == 24;
        }
        read += PAGE;
    }
    printf("{\"found\":%llu,\"read\":%llu}\n", found, read);
    return 0;
}

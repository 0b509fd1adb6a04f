// getrandom: lengths, flags, difference, large reads, errors.
#include "test.h"
#include <sys/random.h>
int main(void) {
    unsigned char a[32] = {0}, b[32] = {0};
    R(getrandom(a, 32, 0));
    R(getrandom(b, 32, GRND_NONBLOCK));
    YES(memcmp(a, b, 32) != 0);
    R(getrandom(a, 0, 0));
    R(getrandom(a, 8, GRND_RANDOM));
    R(getrandom(a, 8, 0x100));
    R(getrandom((void *)8, 8, 0));
    unsigned char *big = calloc(1, 100000);
    R(getrandom(big, 100000, 0));
    int counts[256] = {0}, low = 1 << 30, high = 0;
    for (int i = 0; i < 100000; i++)
        counts[big[i]]++;
    for (int i = 0; i < 256; i++) {
        low = counts[i] < low ? counts[i] : low;
        high = counts[i] > high ? counts[i] : high;
    }
    YES(low > 250 && high < 550);
    R(getentropy(a, 32));
    R(getentropy(a, 300));
    return 0;
}

// printf, qsort, malloc, libm and locale-free formatting: a static glibc's everyday start-up.
#include "test.h"
#include <math.h>
static int compare(const void *a, const void *b) { return *(const int *)a - *(const int *)b; }
int main(void) {
    int numbers[1000];
    unsigned seed = 12345;
    for (int i = 0; i < 1000; i++) {
        seed = seed * 1103515245 + 12345;
        numbers[i] = (seed >> 16) & 0x7fff;
    }
    qsort(numbers, 1000, sizeof *numbers, compare);
    printf("%d %d %d\n", numbers[0], numbers[500], numbers[999]);
    printf("%.17g %.17g %a\n", sqrt(2.0), sin(1.0), exp(1.0));
    char *blocks[200];
    for (int i = 0; i < 200; i++) {
        blocks[i] = malloc(1 + i * 997);
        NEED(blocks[i]);
        memset(blocks[i], i, 1 + i * 997);
    }
    long sum = 0;
    for (int i = 0; i < 200; i++) {
        sum += (unsigned char)blocks[i][i * 997];
        free(blocks[i]);
    }
    printf("sum %ld\n", sum);
    fprintf(stderr, "stderr %s\n", "line");
    return 3;
}

// The cost of the cheapest system call: prints nanoseconds a call, the median of batches.
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define BATCHES 9
#define CALLS 5000

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(void) {
    double batch[BATCHES];
    for (int i = 0; i < BATCHES; i++) {
        struct timespec start, end;
        clock_gettime(CLOCK_MONOTONIC, &start);
        for (int j = 0; j < CALLS; j++)
            syscall(SYS_getppid);
        clock_gettime(CLOCK_MONOTONIC, &end);
        batch[i] = ((end.tv_sec - start.tv_sec) * 1e9 + (end.tv_nsec - start.tv_nsec)) / CALLS;
    }
    qsort(batch, BATCHES, sizeof *batch, compare);
    printf("%.1f\n", batch[BATCHES / 2]);
    return 0;
}

// The main stack grows on demand: 4 MiB of recursion, a sparse jump down, alloca in steps.
#include "test.h"
static long deep(int n) {
    volatile char frame[1000];
    memset((char *)frame, n, sizeof frame);
    if (n == 0)
        return 0;
    return deep(n - 1) + (frame[500] == (char)n);
}
__attribute__((noinline)) static int jump_down(void) {
    volatile char big[3 << 20];
    big[0] = 1;
    big[sizeof big - 1] = 2;
    return big[0] + big[sizeof big - 1];
}
int main(void) {
    printf("%ld\n", deep(4000));
    printf("%d\n", jump_down());
    struct rlimit limit;
    R(getrlimit(RLIMIT_STACK, &limit));
    YES(limit.rlim_cur >= 8 << 20);
    return 0;
}

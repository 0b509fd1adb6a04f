// The raw futex call: wait, wake, timeouts relative and absolute, bitsets, requeue, bad arguments.
#include "test.h"
#include <linux/futex.h>
static uint32_t word, other;
static volatile int woken;
static long futex(uint32_t *at, int op, uint32_t v, const void *t, uint32_t *at2, uint32_t v3) {
    return syscall(SYS_futex, at, op, v, t, at2, v3);
}
static void *waiter(void *unused) {
    if (futex(&word, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0) == 0)
        __atomic_add_fetch(&woken, 1, __ATOMIC_SEQ_CST);
    return unused;
}
int main(void) {
    R(futex(&word, FUTEX_WAIT_PRIVATE, 1, NULL, NULL, 0));
    R(futex(&word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0));
    struct timespec t = {0, 20000000};
    long start = now_ms();
    R(futex(&word, FUTEX_WAIT_PRIVATE, 0, &t, NULL, 0));
    YES(now_ms() - start >= 19);
    clock_gettime(CLOCK_MONOTONIC, &t);
    R(futex(&word, FUTEX_WAIT_BITSET_PRIVATE, 0, &t, NULL, FUTEX_BITSET_MATCH_ANY));
    clock_gettime(CLOCK_REALTIME, &t);
    R(futex(&word, FUTEX_WAIT_BITSET_PRIVATE | FUTEX_CLOCK_REALTIME, 0, &t, NULL, 1));
    R(futex(&word, FUTEX_WAIT_BITSET_PRIVATE, 0, &t, NULL, 0));
    t.tv_nsec = -1;
    R(futex(&word, FUTEX_WAIT_PRIVATE, 0, &t, NULL, 0));
    R(futex((uint32_t *)((char *)&word + 1), FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0));
    R(futex((uint32_t *)8, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0));
    R(futex(&word, 127, 0, NULL, NULL, 0));
    pthread_t threads[6];
    for (int i = 0; i < 6; i++)
        pthread_create(&threads[i], NULL, waiter, NULL);
    sleep_ms(60);
    R(futex(&word, FUTEX_WAKE_PRIVATE, 2, NULL, NULL, 0));
    sleep_ms(30);
    R(woken);
    R(futex(&word, FUTEX_CMP_REQUEUE_PRIVATE, 1, (void *)1L, &other, 5));
    R(futex(&word, FUTEX_CMP_REQUEUE_PRIVATE, 1, (void *)2L, &other, 0));
    sleep_ms(30);
    R(woken);
    R(futex(&other, FUTEX_WAKE_PRIVATE, 10, NULL, NULL, 0));
    R(futex(&word, FUTEX_WAKE_PRIVATE, 10, NULL, NULL, 0));
    for (int i = 0; i < 6; i++)
        pthread_join(threads[i], NULL);
    R(woken);
    uint32_t *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    R(futex(shared, FUTEX_WAIT, 1, NULL, NULL, 0));
    R(futex(shared, FUTEX_WAKE, 1, NULL, NULL, 0));
    return 0;
}

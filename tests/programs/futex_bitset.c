// FUTEX_WAIT_BITSET and FUTEX_WAKE_BITSET: only who asked for one of the bits is woken.
#include "test.h"
#include <linux/futex.h>
static uint32_t word, bits[4] = {1, 2, 4, 0xffffffff}, ready;
static int woken[4];
static void *sleeper(void *arg) {
    long n = (long)arg;
    __atomic_add_fetch(&ready, 1, __ATOMIC_SEQ_CST);
    while (syscall(SYS_futex, &word, FUTEX_WAIT_BITSET_PRIVATE, 0, NULL, NULL, bits[n]) == -1 &&
           errno == EINTR) {
    }
    __atomic_store_n(&woken[n], 1, __ATOMIC_SEQ_CST);
    return NULL;
}
static long wake(int count, uint32_t mask) {
    return syscall(SYS_futex, &word, FUTEX_WAKE_BITSET_PRIVATE, count, NULL, NULL, mask);
}
// Wakes exactly one, however long it takes until that one sleeps.
static void wake_one(uint32_t mask) {
    while (wake(1, mask) != 1)
        sched_yield();
}
static void until(int n) {
    while (!__atomic_load_n(&woken[n], __ATOMIC_SEQ_CST))
        sched_yield();
    printf("woken: %d %d %d %d\n", woken[0], woken[1], woken[2], woken[3]);
}
int main(void) {
    pthread_t threads[4];
    for (long i = 0; i < 3; i++)
        NEED(pthread_create(&threads[i], NULL, sleeper, (void *)i) == 0);
    wake_one(2);
    until(1);
    wake_one(4);
    until(2);
    R(wake(10, 2 | 4 | 8));
    wake_one(3);
    until(0);
    NEED(pthread_create(&threads[3], NULL, sleeper, (void *)3) == 0);
    wake_one(1U << 31);
    until(3);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    R(wake(1, 0));
    R(syscall(SYS_futex, &word, FUTEX_WAIT_BITSET_PRIVATE, 0, NULL, NULL, 0));
    R(syscall(SYS_futex, &word, FUTEX_WAIT_BITSET_PRIVATE, 5, NULL, NULL, 1));
    return 0;
}

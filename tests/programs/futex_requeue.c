// FUTEX_REQUEUE and FUTEX_CMP_REQUEUE move sleepers to another word without waking them.
#include "test.h"
#include <linux/futex.h>
#define SLEEPERS 5
static uint32_t first, second;
static int awake;
static long futex(uint32_t *at, int op, uint32_t v, long v2, uint32_t *at2, uint32_t v3) {
    return syscall(SYS_futex, at, op, v, v2, at2, v3);
}
static void *sleeper(void *arg) {
    while (futex(&first, FUTEX_WAIT, 0, 0, NULL, 0) == -1 && errno == EINTR) {
    }
    __atomic_add_fetch(&awake, 1, __ATOMIC_SEQ_CST);
    return arg;
}
// How many sleep on a word can be asked by moving them to the same word.
static void until_asleep(uint32_t *at, long count) {
    while (futex(at, FUTEX_REQUEUE, 0, INT_MAX, at == &first ? &second : &first, 0) != count) {
        futex(at == &first ? &second : &first, FUTEX_REQUEUE, 0, INT_MAX, at, 0);
        sched_yield();
    }
    futex(at == &first ? &second : &first, FUTEX_REQUEUE, 0, INT_MAX, at, 0);
}
static void until_awake(int count) {
    while (__atomic_load_n(&awake, __ATOMIC_SEQ_CST) < count)
        sched_yield();
}
int main(void) {
    pthread_t threads[SLEEPERS];
    for (int i = 0; i < SLEEPERS; i++)
        NEED(pthread_create(&threads[i], NULL, sleeper, NULL) == 0);
    until_asleep(&first, SLEEPERS);
    R(futex(&first, FUTEX_CMP_REQUEUE, 1, INT_MAX, &second, 1)); // another value is there
    R(futex(&first, FUTEX_CMP_REQUEUE, 1, 2, &second, 0));
    until_awake(1);
    R(futex(&first, FUTEX_REQUEUE, 0, 1, &second, 0));
    R(futex(&first, FUTEX_WAKE, INT_MAX, 0, NULL, 0));
    until_awake(2);
    R(futex(&first, FUTEX_WAKE, INT_MAX, 0, NULL, 0)); // nobody is left here
    R(futex(&second, FUTEX_WAKE, 1, 0, NULL, 0));
    until_awake(3);
    R(futex(&second, FUTEX_WAKE, INT_MAX, 0, NULL, 0));
    for (int i = 0; i < SLEEPERS; i++)
        pthread_join(threads[i], NULL);
    R(awake);
    R(futex(&first, FUTEX_REQUEUE, -1, 0, &second, 0));
    R(futex(&first, FUTEX_REQUEUE, 0, -1, &second, 0));
    R(futex(&first, FUTEX_REQUEUE, 0, 1, (uint32_t *)((char *)&second + 1), 0));
    R(futex(&first, FUTEX_REQUEUE, 0, 1, (uint32_t *)8, 0));
    return 0;
}

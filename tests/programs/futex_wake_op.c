// FUTEX_WAKE_OP: changes a second word and wakes sleepers of it by what it held before.
#include "test.h"
#include <linux/futex.h>
static uint32_t first, second;
static long wake_op(uint32_t op) {
    return syscall(SYS_futex, &first, FUTEX_WAKE_OP, 1, 1, &second, op);
}
static int awake;
static void *sleeper(void *arg) {
    while (syscall(SYS_futex, arg, FUTEX_WAIT, 1, NULL, NULL, 0) == -1 && errno == EINTR) {
    }
    __atomic_store_n(&awake, 1, __ATOMIC_SEQ_CST);
    return NULL;
}
int main(void) {
    second = 5;
    R(wake_op(FUTEX_OP(FUTEX_OP_SET, 9, FUTEX_OP_CMP_EQ, 5)));
    R(second);
    R(wake_op(FUTEX_OP(FUTEX_OP_ADD, 3, FUTEX_OP_CMP_LT, 0)));
    R(second);
    R(wake_op(FUTEX_OP(FUTEX_OP_OR, 0x30, FUTEX_OP_CMP_GT, 0)));
    R(second);
    R(wake_op(FUTEX_OP(FUTEX_OP_ANDN, 0xc, FUTEX_OP_CMP_NE, 0)));
    R(second);
    R(wake_op(FUTEX_OP(FUTEX_OP_XOR, 0xfff, FUTEX_OP_CMP_LE, 0)));
    R(second);
    R(wake_op(FUTEX_OP((FUTEX_OP_SET | FUTEX_OP_OPARG_SHIFT), 4, FUTEX_OP_CMP_GE, 0)));
    R(second);
    R(wake_op(FUTEX_OP(7, 0, FUTEX_OP_CMP_EQ, 0)));
    R(wake_op(FUTEX_OP(FUTEX_OP_ADD, 0, 9, 0)));
    // Someone sleeps on the second word: woken if the comparison holds, not otherwise.
    second = 1;
    pthread_t thread;
    NEED(pthread_create(&thread, NULL, sleeper, &second) == 0);
    while (wake_op(FUTEX_OP(FUTEX_OP_ADD, 0, FUTEX_OP_CMP_EQ, 1)) != 1)
        sched_yield();
    pthread_join(thread, NULL);
    R(awake);
    return 0;
}

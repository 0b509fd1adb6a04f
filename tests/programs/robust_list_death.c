// A thread that dies while it holds robust futexes leaves FUTEX_OWNER_DIED and wakes a waiter;
// also for the lock it was about to take or release.
#include "test.h"
#include <linux/futex.h>
struct node {
    struct robust_list list;
    uint32_t word;
};
static struct robust_list_head head;
static struct node held[3], pending, foreign;
static void *die(void *arg) {
    uint32_t tid = (uint32_t)syscall(SYS_gettid);
    head.futex_offset = offsetof(struct node, word);
    head.list.next = &held[0].list;
    for (int i = 0; i < 3; i++) {
        held[i].word = tid;
        held[i].list.next = i < 2 ? &held[i + 1].list : &head.list;
    }
    held[1].word |= FUTEX_WAITERS;
    pending.word = tid;
    foreign.word = tid + 1;
    head.list_op_pending = &pending.list;
    NEED(syscall(SYS_set_robust_list, &head, sizeof head) == 0);
    syscall(SYS_exit, 0); // past the C library, which has a list of its own
    return arg;
}
int main(void) {
    pthread_t thread;
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    NEED(pthread_create(&thread, &attr, die, NULL) == 0);
    while (!(__atomic_load_n(&pending.word, __ATOMIC_SEQ_CST) & FUTEX_OWNER_DIED))
        sched_yield();
    for (int i = 0; i < 3; i++)
        printf("%d: %#x\n", i, held[i].word);
    printf("pending: %#x\n", pending.word);
    YES(!(foreign.word & FUTEX_OWNER_DIED));
    struct robust_list_head *mine;
    size_t size;
    R(syscall(SYS_get_robust_list, 0, &mine, &size));
    R(size);
    R(syscall(SYS_set_robust_list, &head, 8));
    return 0;
}

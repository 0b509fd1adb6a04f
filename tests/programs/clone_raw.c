// clone3 and clone as the C library uses them, and their argument errors.
#include "test.h"
#include <linux/sched.h>
#include <sched.h>
static volatile int ran;
static int run(void *arg) {
    ran = (int)(long)arg;
    syscall(SYS_exit, 0);
    return 0;
}
int main(void) {
    char *stack = malloc(65536);
    pid_t tid = 0;
    volatile int cleared = 77;
    pid_t r = clone(run, stack + 65536,
                    CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD |
                        CLONE_SYSVSEM | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID,
                    (void *)5L, &tid, NULL, &cleared);
    YES(r > 0 && r == tid);
    while (cleared)
        syscall(SYS_futex, &cleared, 0, 77, NULL, NULL, 0);
    R(ran);
    struct clone_args args = {.flags = CLONE_THREAD};
    R(syscall(SYS_clone3, &args, sizeof args));
    args.flags = CLONE_SIGHAND;
    R(syscall(SYS_clone3, &args, sizeof args));
    args.flags = 1UL << 60;
    R(syscall(SYS_clone3, &args, sizeof args));
    args.flags = 0;
    R(syscall(SYS_clone3, &args, 8));
    R(syscall(SYS_clone3, (void *)8, sizeof args));
    return 0;
}

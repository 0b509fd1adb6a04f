// clone3: what it makes by which field, and which arguments it refuses.
#include "test.h"
#include <linux/sched.h>
#include <sched.h>
static long clone3(struct clone_args *args, size_t size) {
    return syscall(SYS_clone3, args, size);
}
static int child_tid, parent_tid;
int main(void) {
    struct clone_args args = {.exit_signal = SIGCHLD};
    pid_t pid = (pid_t)clone3(&args, sizeof args);
    if (pid == 0)
        _exit(3);
    int status;
    YES(pid > 0 && waitpid(pid, &status, 0) == pid);
    R(WEXITSTATUS(status));
    args = (struct clone_args){.flags = CLONE_PARENT_SETTID | CLONE_CHILD_SETTID,
                               .parent_tid = (uintptr_t)&parent_tid,
                               .child_tid = (uintptr_t)&child_tid,
                               .exit_signal = SIGCHLD};
    pid = (pid_t)clone3(&args, CLONE_ARGS_SIZE_VER0);
    if (pid == 0)
        _exit(child_tid == getpid() ? 4 : 5);
    YES(parent_tid == pid);
    R(child_tid);
    waitpid(pid, &status, 0);
    R(WEXITSTATUS(status));
    // No exit signal: only __WALL and __WCLONE see it.
    args = (struct clone_args){0};
    pid = (pid_t)clone3(&args, sizeof args);
    if (pid == 0)
        _exit(6);
    R(waitpid(pid, &status, 0));
    YES(waitpid(pid, &status, __WALL) == pid);
    R(WEXITSTATUS(status));
    // A stack without a size, a size without a stack, sizes of the argument itself.
    args = (struct clone_args){.exit_signal = SIGCHLD, .stack = 0x10000};
    R(clone3(&args, sizeof args));
    args = (struct clone_args){.exit_signal = SIGCHLD, .stack_size = 0x10000};
    R(clone3(&args, sizeof args));
    args = (struct clone_args){.exit_signal = 65};
    R(clone3(&args, sizeof args));
    args = (struct clone_args){.exit_signal = SIGCHLD};
    R(clone3(&args, CLONE_ARGS_SIZE_VER0 - 1));
    R(clone3(&args, 8192));
    R(clone3(NULL, sizeof args));
    char large[sizeof args + 8];
    memset(large, 0, sizeof large);
    large[sizeof args] = 1;
    R(clone3((struct clone_args *)large, sizeof large));
    args = (struct clone_args){.flags = CLONE_THREAD, .exit_signal = 0};
    R(clone3(&args, sizeof args));
    args = (struct clone_args){.flags = CLONE_SIGHAND};
    R(clone3(&args, sizeof args));
    args = (struct clone_args){.flags = CLONE_VM | CLONE_SIGHAND | CLONE_THREAD,
                               .exit_signal = SIGCHLD};
    R(clone3(&args, sizeof args));
    args = (struct clone_args){.flags = 0xff};
    R(clone3(&args, sizeof args));
    args = (struct clone_args){.flags = CLONE_DETACHED};
    R(clone3(&args, sizeof args));
    args = (struct clone_args){.flags = CLONE_SIGHAND | CLONE_VM | CLONE_CLEAR_SIGHAND};
    R(clone3(&args, sizeof args));
    return 0;
}

// Odd sets of clone's flags: the legal ones work, the others are refused as Linux does.
#include "test.h"
#include <linux/sched.h>
#include <sched.h>
#include <sys/prctl.h>
static char stack[1 << 16] __attribute__((aligned(16)));
static volatile int shared;
static volatile pid_t stored, cleared = 77;
static volatile int caught;
static void note(int sig) { caught = sig; }
static long raw(unsigned long flags, void *parent_tid, void *child_tid) {
    return syscall(SYS_clone, flags, NULL, parent_tid, child_tid, 0);
}
// Runs fn in what clone makes with these flags, and tells how it ended.
static int run(int (*fn)(void *), int flags) {
    shared = 0;
    pid_t pid = clone(fn, stack + sizeof stack, flags, NULL, &stored, NULL, &cleared);
    if (pid == -1) {
        printf("flags %x: %s\n", flags, errno_name(errno));
        return -1;
    }
    int status = 0;
    if (waitpid(pid, &status, __WALL) != pid)
        printf("flags %x: not waited for: %s\n", flags, errno_name(errno));
    printf("flags %x: status %x shared %d\n", flags, status, shared);
    return status;
}
static int note_and_exit(void *arg) {
    (void)arg;
    shared++;
    return 3;
}
static int set_handler(void *arg) {
    (void)arg;
    signal(SIGUSR1, note);
    signal(SIGUSR2, SIG_IGN);
    shared = 1;
    return 0;
}
static int raise_it(void *arg) {
    (void)arg;
    caught = 0;
    kill(getpid(), SIGUSR1);
    shared = caught;
    return 0;
}
static int execs(void *arg) {
    (void)arg;
    // Its handlers go, those of who shares them stay.
    execl("/proc/self/exe", "self", "child", NULL);
    return 9;
}
static int sets_directory(void *arg) {
    (void)arg;
    return chdir("/") || umask(077) == 077;
}
static int slow(void *arg) {
    (void)arg;
    sleep_ms(30);
    shared = 5;
    syscall(SYS_exit, 0);
    return 0;
}
static void actions(void) {
    struct sigaction old;
    sigaction(SIGUSR1, NULL, &old);
    printf("handler %s\n", old.sa_handler == note ? "note" : old.sa_handler == SIG_DFL ? "default" : "other");
}
static void refused(const char *what, unsigned long flags) {
    long pid = raw(flags, NULL, NULL);
    if (pid == 0)
        _exit(0);
    if (pid > 0)
        waitpid(pid, NULL, __WALL);
    printf("%s: %s\n", what, pid > 0 ? "ok" : errno_name(errno));
}
static long clone3(struct clone_args *args, size_t size) {
    long pid = syscall(SYS_clone3, args, size);
    if (pid == 0)
        _exit(0);
    if (pid > 0)
        waitpid(pid, NULL, __WALL);
    return pid > 0 ? 1 : pid;
}
static void in_one_of_our_own(void) {
    // What needs a parent that is not the first process of all.
    int status;
    fflush(stdout);
    pid_t middle = fork();
    if (middle == 0) {
        pid_t sibling = raw(CLONE_PARENT | SIGUSR1, NULL, NULL);
        if (sibling == 0)
            _exit(getppid() == shared ? 4 : 5);
        R(waitpid(sibling, NULL, 0));
        exit(0);
    }
    waitpid(middle, NULL, 0);
    R(waitpid(-1, &status, 0) > 0);
    R(WEXITSTATUS(status));
}
int main(int argc, char **argv) {
    if (argc > 1 && !strcmp(argv[1], "child")) {
        actions();
        signal(SIGUSR1, SIG_IGN);
        return 6;
    }
    // Signal actions without being a thread.
    run(set_handler, CLONE_VM | CLONE_SIGHAND | SIGCHLD);
    actions();
    run(raise_it, CLONE_VM | CLONE_SIGHAND | SIGCHLD);
    run(raise_it, CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | SIGCHLD);
    run(execs, CLONE_VM | CLONE_SIGHAND | CLONE_VFORK | SIGCHLD);
    actions();
    signal(SIGUSR1, SIG_DFL);
    run(set_handler, CLONE_VM | SIGCHLD);
    actions();
    // Waiting without sharing, sharing input and output, nothing at all.
    run(note_and_exit, CLONE_VFORK | SIGCHLD);
    run(note_and_exit, CLONE_VM | CLONE_VFORK | SIGCHLD);
    run(note_and_exit, CLONE_IO | SIGCHLD);
    run(note_and_exit, CLONE_SYSVSEM | CLONE_UNTRACED | CLONE_PTRACE | SIGCHLD);
    run(note_and_exit, CLONE_DETACHED | SIGCHLD);
    run(note_and_exit, 0);
    run(note_and_exit, 127); // no signal has this number
    run(note_and_exit, CLONE_VM | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID | SIGCHLD);
    R(cleared);
    char before[100], after[100];
    NEED(getcwd(before, sizeof before));
    R(run(sets_directory, CLONE_FS | SIGCHLD));
    NEED(getcwd(after, sizeof after));
    R(strcmp(after, "/"));
    R(umask(022));
    // A thread that its maker waits for as for a vfork.
    shared = 0;
    pid_t tid = clone(slow, stack + sizeof stack,
                      CLONE_VM | CLONE_SIGHAND | CLONE_THREAD | CLONE_VFORK, NULL);
    YES(tid > 0);
    R(shared);
    refused("SIGHAND", CLONE_SIGHAND | SIGCHLD);
    refused("THREAD", CLONE_THREAD);
    refused("THREAD SIGHAND", CLONE_THREAD | CLONE_SIGHAND);
    refused("THREAD VM", CLONE_THREAD | CLONE_VM);
    refused("FS NEWNS", CLONE_FS | CLONE_NEWNS);
    refused("FS NEWUSER", CLONE_FS | CLONE_NEWUSER);
    refused("bad parent_tid", CLONE_PARENT_SETTID | SIGCHLD);
    refused("bad child_tid", CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID | SIGCHLD);
    shared = getpid();
    in_one_of_our_own();
    // clone3's structure.
    struct {
        struct clone_args args;
        char more[64];
    } big = {.args = {.exit_signal = SIGCHLD}};
    struct clone_args *args = &big.args;
    R(clone3(args, 64));
    R(clone3(args, 63));
    R(clone3(args, 80));
    R(clone3(args, 88));
    R(clone3(args, 120));
    R(clone3(args, 5000));
    big.more[20] = 1;
    R(clone3(args, 120));
    R(clone3((void *)8, 64));
    R(clone3((void *)8, 32));
    *args = (struct clone_args){.exit_signal = SIGCHLD, .set_tid = (uintptr_t)&shared};
    R(clone3(args, 88));
    *args = (struct clone_args){.exit_signal = SIGCHLD, .set_tid_size = 1};
    R(clone3(args, 88));
    args->set_tid_size = 33;
    args->set_tid = (uintptr_t)&shared;
    R(clone3(args, 88));
    args->set_tid_size = 1;
    shared = -1;
    R(clone3(args, 88));
    shared = 1 << 30;
    R(clone3(args, 88));
    shared = getpid();
    R(clone3(args, 88));
    args->set_tid = 8;
    R(clone3(args, 88));
    *args = (struct clone_args){.exit_signal = 65};
    R(clone3(args, 88));
    *args = (struct clone_args){.exit_signal = 1 << 10};
    R(clone3(args, 88));
    *args = (struct clone_args){.flags = CLONE_PARENT, .exit_signal = SIGCHLD};
    R(clone3(args, 88));
    *args = (struct clone_args){.flags = 1ULL << 60};
    R(clone3(args, 88));
    *args = (struct clone_args){.flags = SIGCHLD};
    R(clone3(args, 88));
    *args = (struct clone_args){.exit_signal = SIGCHLD, .stack = -4096ULL, .stack_size = 8192};
    R(clone3(args, 88));
    *args = (struct clone_args){.flags = CLONE_INTO_CGROUP, .exit_signal = SIGCHLD, .cgroup = 1ULL << 40};
    R(clone3(args, 88));
    args->cgroup = 0;
    R(clone3(args, 80));
    R(clone3(args, 88));
    // Dumpable and its like: kept over fork, not over exec.
    prctl(PR_SET_DUMPABLE, 0);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        R(prctl(PR_GET_DUMPABLE));
        exit(0);
    }
    waitpid(pid, NULL, 0);
    prctl(PR_SET_DUMPABLE, 1);
    // unshare and setns.
    R(unshare(CLONE_FS | CLONE_FILES | CLONE_SYSVSEM));
    R(unshare(CLONE_THREAD));
    R(unshare(CLONE_VM | CLONE_SIGHAND));
    R(unshare(CLONE_SETTLS));
    R(unshare(0x40));
    R(setns(0, 0));
    R(setns(-1, 0));
    int path = open("/", O_PATH);
    R(setns(path, 0));
    return 0;
}

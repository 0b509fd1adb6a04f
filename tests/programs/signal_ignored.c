// Ignored signals: what is queued of them when they are blocked, and who gets it.
#include "test.h"
#include <sys/signalfd.h>
#ifndef SS_AUTODISARM
#define SS_AUTODISARM (1U << 31)
#endif
static pid_t parent;
static sigset_t set_of(int sig) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, sig);
    return set;
}
static void block(int how, int sig) {
    sigset_t set = set_of(sig);
    NEED(sigprocmask(how, &set, NULL) == 0);
}
static int is_pending(int sig) {
    sigset_t set;
    sigpending(&set);
    return sigismember(&set, sig);
}
// Waits for a signal that a child sends while the parent is in sigtimedwait.
static void wait_for(const char *what, int sig) {
    pid_t child = fork();
    if (child == 0) {
        sleep_ms(30);
        kill(parent, sig);
        _exit(0);
    }
    sigset_t set = set_of(sig);
    siginfo_t info;
    struct timespec timeout = {1, 0};
    int got = sigtimedwait(&set, &info, &timeout);
    printf("%s: %s\n", what, got == sig ? "taken" : errno_name(errno));
    while (waitpid(child, NULL, 0) == -1 && errno == EINTR) {
    }
}
static void show_actions(void) {
    struct sigaction action = {.sa_flags = SA_RESTART | 0x400 | 0x2000, .sa_handler = SIG_IGN}, old;
    R(sigaction(SIGUSR2, &action, NULL));
    R(sigaction(SIGUSR2, NULL, &old));
    printf("flags kept %x\n", (unsigned)old.sa_flags & ~0x04000000U);
    signal(SIGUSR2, SIG_DFL);
    R(syscall(SYS_rt_sigaction, SIGUSR1, NULL, NULL, 4));
    R(syscall(SYS_rt_sigaction, 65, NULL, NULL, 8));
    R(syscall(SYS_rt_sigaction, 0, NULL, NULL, 8));
    R(syscall(SYS_rt_sigaction, 65, (void *)8, NULL, 8));
    R(syscall(SYS_rt_sigaction, SIGKILL, (void *)8, NULL, 8));
    R(syscall(SYS_rt_sigaction, SIGKILL, NULL, NULL, 8));
    R(syscall(SYS_rt_sigprocmask, 9, NULL, NULL, 8));
    R(syscall(SYS_rt_sigprocmask, 9, (void *)8, NULL, 8));
    R(syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, NULL, 16));
    R(syscall(SYS_rt_sigpending, &old, 9));
    R(syscall(SYS_rt_sigsuspend, &old, 4));
    R(syscall(SYS_rt_sigtimedwait, &old, NULL, NULL, 4));
    struct timespec bad = {0, 1000000000};
    R(syscall(SYS_rt_sigtimedwait, &old, NULL, &bad, 8));
    R(syscall(SYS_rt_sigtimedwait, (void *)8, NULL, &bad, 8));
    R(syscall(SYS_rt_sigtimedwait, &old, NULL, (void *)8, 8));
}
static void show_stacks(void) {
    static char memory[1 << 16];
    stack_t stack = {.ss_sp = memory, .ss_size = sizeof memory, .ss_flags = SS_AUTODISARM}, old;
    R(sigaltstack(&stack, NULL));
    R(sigaltstack(NULL, &old));
    printf("flags %x size %zu\n", old.ss_flags, old.ss_size);
    stack.ss_flags = 4;
    R(sigaltstack(&stack, NULL));
    stack.ss_flags = SS_ONSTACK;
    R(sigaltstack(&stack, NULL));
    R(sigaltstack(NULL, &old));
    printf("flags %x size %zu\n", old.ss_flags, old.ss_size);
    stack.ss_flags = 0;
    stack.ss_size = 100;
    R(sigaltstack(&stack, NULL));
    stack.ss_flags = SS_DISABLE | SS_AUTODISARM;
    R(sigaltstack(&stack, NULL));
    R(sigaltstack(NULL, &old));
    printf("flags %x size %zu\n", old.ss_flags, old.ss_size);
    R(sigaltstack((void *)8, NULL));
    R(sigaltstack(NULL, (void *)8));
    stack.ss_flags = SS_DISABLE;
    R(sigaltstack(&stack, NULL));
}
int main(void) {
    parent = getpid();
    signal(SIGUSR1, SIG_IGN);
    block(SIG_BLOCK, SIGUSR1);
    wait_for("ignored", SIGUSR1);
    block(SIG_BLOCK, SIGWINCH);
    wait_for("ignored by default", SIGWINCH);
    block(SIG_BLOCK, SIGCONT);
    wait_for("to continue", SIGCONT);
    // Without being blocked before: only while it is waited for.
    block(SIG_UNBLOCK, SIGUSR1);
    wait_for("ignored, not blocked", SIGUSR1);
    kill(parent, SIGUSR1);
    R(is_pending(SIGUSR1));
    block(SIG_BLOCK, SIGUSR1);
    kill(parent, SIGUSR1);
    R(is_pending(SIGUSR1));
    // To ignore it again forgets it.
    signal(SIGUSR1, SIG_IGN);
    R(is_pending(SIGUSR1));
    // A signal file gives it, too.
    sigset_t set = set_of(SIGUSR1);
    int fd = signalfd(-1, &set, SFD_NONBLOCK);
    struct signalfd_siginfo record;
    R(read(fd, &record, sizeof record));
    kill(parent, SIGUSR1);
    R(read(fd, &record, sizeof record));
    R(record.ssi_signo);
    // It does not interrupt who waits for something else.
    block(SIG_UNBLOCK, SIGUSR1);
    block(SIG_UNBLOCK, SIGCONT);
    pid_t child = fork();
    if (child == 0) {
        sleep_ms(20);
        kill(parent, SIGUSR1);
        kill(parent, SIGCONT);
        kill(parent, SIGWINCH);
        _exit(0);
    }
    struct timespec timeout = {0, 60000000};
    R(nanosleep(&timeout, NULL));
    waitpid(child, NULL, 0);
    // Who ignores SIGCHLD is not told of children, blocked or not; by default he is, if blocked.
    block(SIG_BLOCK, SIGCHLD);
    if (fork() == 0)
        _exit(0);
    set = set_of(SIGCHLD);
    R(sigwaitinfo(&set, NULL));
    R(wait(NULL) > 0);
    signal(SIGCHLD, SIG_IGN);
    if (fork() == 0)
        _exit(0);
    R(wait(NULL));
    R(is_pending(SIGCHLD));
    signal(SIGCHLD, SIG_DFL);
    show_actions();
    show_stacks();
    return 0;
}

// CLONE_CHILD_CLEARTID and set_tid_address: at a thread's end its word is zeroed and a futex
// sleeper on it woken; exec and exit of the last thread do it too.
#include "test.h"
#include <linux/futex.h>
#include <sched.h>
#include <sys/wait.h>
static int child(void *arg) {
    (void)arg;
    return 0;
}
int main(void) {
    // The word lies in memory that both processes see.
    int *word = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    char *stack = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    NEED(word != MAP_FAILED && stack != MAP_FAILED);
    *word = 1;
    pid_t pid = clone(child, stack + 65536, CLONE_VM | CLONE_CHILD_CLEARTID | SIGCHLD, NULL, NULL,
                      NULL, word);
    YES(pid > 0);
    while (__atomic_load_n(word, __ATOMIC_SEQ_CST))
        syscall(SYS_futex, word, FUTEX_WAIT, 1, NULL, NULL, 0);
    R(*word);
    int status;
    YES(waitpid(pid, &status, 0) == pid);
    // Without sharing the memory with anybody nobody looks at it.
    *word = 1;
    pid = fork();
    if (pid == 0) {
        _exit(syscall(SYS_set_tid_address, word) == getpid() ? 0 : 1);
    }
    waitpid(pid, &status, 0);
    R(WEXITSTATUS(status));
    R(*word);
    YES(syscall(SYS_set_tid_address, NULL) == getpid());
    // An address where nothing is does no harm at the end.
    pid = fork();
    if (pid == 0) {
        syscall(SYS_set_tid_address, 8);
        _exit(0);
    }
    waitpid(pid, &status, 0);
    R(status);
    return 0;
}

// vfork: the parent stands still until the child execs or exits, and they share memory meanwhile.
#include "test.h"
static volatile int shared;
int main(void) {
    pid_t pid = vfork();
    if (pid == 0) {
        shared = 42;
        sleep_ms(30);
        shared++;
        _exit(1);
    }
    R(shared);
    int status;
    waitpid(pid, &status, 0);
    R(WEXITSTATUS(status));
    long start = now_ms();
    pid = vfork();
    if (pid == 0) {
        sleep_ms(30);
        execl("/no/such/program", "x", NULL);
        shared = errno;
        _exit(2);
    }
    YES(now_ms() - start >= 29);
    printf("%s\n", errno_name(shared));
    waitpid(pid, &status, 0);
    R(WEXITSTATUS(status));
    // A child that a signal ends lets the parent go as well.
    pid = vfork();
    if (pid == 0) {
        raise(SIGKILL);
        _exit(3);
    }
    waitpid(pid, &status, 0);
    R(status);
    return 0;
}

// wait4: whom a pid argument selects, WNOHANG, status words, rusage of the child, ECHILD.
#include "test.h"
static pid_t spawn(int group, int code) {
    pid_t pid = fork();
    if (pid == 0) {
        if (group)
            setpgid(0, 0);
        _exit(code);
    }
    if (group)
        setpgid(pid, pid);
    return pid;
}
int main(void) {
    int status;
    struct rusage usage;
    R(wait4(-1, &status, 0, NULL));
    R(wait4(-1, &status, WNOHANG, NULL));
    pid_t a = spawn(0, 1), b = spawn(1, 2), c = spawn(0, 3);
    YES(wait4(b, &status, 0, &usage) == b);
    R(status);
    YES(usage.ru_maxrss >= 0 && usage.ru_utime.tv_sec < 10);
    R(wait4(b, &status, 0, NULL));
    R(wait4(-b, &status, 0, NULL));
    int seen = 0;
    for (int i = 0; i < 2; i++) {
        pid_t got = wait4(0, &status, 0, NULL);
        seen |= got == a && status == 1 << 8 ? 1 : got == c && status == 3 << 8 ? 2 : 4;
    }
    R(seen);
    b = spawn(1, 5);
    YES(wait4(-b, &status, 0, NULL) == b);
    pid_t pid = fork();
    if (pid == 0) {
        pause();
        _exit(0);
    }
    R(wait4(pid, &status, WNOHANG, NULL));
    kill(pid, SIGTERM);
    YES(wait4(pid, NULL, 0, NULL) == pid);
    R(wait4(-1, &status, 0x100, NULL));
    R(wait4(INT_MIN, &status, 0, NULL));
    pid = spawn(0, 7);
    while (wait4(pid, (int *)8, WNOHANG, NULL) == 0) {
    }
    printf("%s\n", errno_name(errno));
    R(wait4(pid, &status, 0, NULL)); // it was taken all the same
    return 0;
}

// waitid: every field of siginfo for exits, deaths, stops and continues; WNOWAIT; what is refused.
#include "test.h"
#include <sys/prctl.h>
static pid_t spawn(void (*body)(void)) {
    pid_t pid = fork();
    if (pid == 0) {
        body();
        _exit(0);
    }
    return pid;
}
static void leave(void) { _exit(33); }
static void die(void) { raise(SIGKILL); }
static void dump(void) {
    prctl(PR_SET_DUMPABLE, 0); // whatever the machine does with core files
    abort();
}
static int gate[2];
// Lives until its parent has seen that it goes on.
static void stop(void) {
    char byte;
    close(gate[1]);
    raise(SIGSTOP);
    read(gate[0], &byte, 1);
}
static void show(pid_t pid, int options) {
    siginfo_t info;
    memset(&info, 0x5a, sizeof info);
    errno = 0;
    long result = waitid(P_PID, (id_t)pid, &info, options);
    printf("%ld %s: signal %d code %d errno %d status %d, the child %d, user %d\n", result,
           errno ? errno_name(errno) : "ok", info.si_signo, info.si_code, info.si_errno,
           info.si_status, info.si_pid == pid, info.si_uid == getuid());
}
int main(void) {
    pid_t pid = spawn(leave);
    show(pid, WEXITED | WNOWAIT);
    show(pid, WEXITED | WNOWAIT);
    show(pid, WEXITED);
    show(pid, WEXITED);
    show(spawn(die), WEXITED);
    show(spawn(dump), WEXITED);
    pipe(gate);
    pid = spawn(stop);
    show(pid, WSTOPPED | WNOWAIT);
    show(pid, WSTOPPED);
    siginfo_t info;
    memset(&info, 0, sizeof info);
    R(waitid(P_PID, (id_t)pid, &info, WEXITED | WSTOPPED | WNOHANG));
    R(info.si_pid);
    kill(pid, SIGCONT);
    show(pid, WCONTINUED);
    close(gate[1]);
    show(pid, WEXITED);
    R(waitid(P_ALL, 0, &info, WEXITED));
    R(waitid(P_PID, 0, &info, WEXITED));
    R(waitid(9, 0, &info, WEXITED));
    R(waitid(P_ALL, 0, &info, 0));
    R(waitid(P_ALL, 0, &info, WNOHANG));
    R(waitid(P_ALL, 0, &info, WEXITED | 0x40000));
    pid = spawn(leave);
    R(waitid(P_PGID, 0, NULL, WEXITED));
    R(waitid(P_PGID, 999999, NULL, WEXITED));
    return 0;
}

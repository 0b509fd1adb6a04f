// A zombie until it is waited for: signals to it succeed, /proc says Z, its group can be asked for;
// afterwards nothing of it is left.
#include "test.h"
static char state_of(pid_t pid) {
    char path[64], text[512] = "";
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    int fd = open(path, O_RDONLY);
    if (fd < 0 || read(fd, text, sizeof text - 1) <= 0)
        return '-';
    close(fd);
    return *(strrchr(text, ')') + 2);
}
int main(void) {
    pid_t pid = fork();
    if (pid == 0) {
        setpgid(0, 0);
        _exit(6);
    }
    siginfo_t info;
    R(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT));
    printf("state %c\n", state_of(pid));
    R(kill(pid, 0));
    R(kill(pid, SIGKILL));
    R(kill(-pid, 0));
    YES(getpgid(pid) == pid);
    char path[64], text[16];
    snprintf(path, sizeof path, "/proc/%d/cmdline", pid);
    int fd = open(path, O_RDONLY);
    R(read(fd, text, sizeof text));
    close(fd);
    snprintf(path, sizeof path, "/proc/%d/exe", pid);
    OK(readlink(path, text, sizeof text));
    int status;
    YES(waitpid(pid, &status, 0) == pid);
    R(WEXITSTATUS(status)); // killing it changed nothing
    R(kill(pid, 0));
    R(getpgid(pid));
    printf("state %c\n", state_of(pid));
    return 0;
}

// A parent may choose its child's process group until the child has called exec; then EACCES.
// case main:
// case child: wait
#include "test.h"
extern char **environ;
int main(int argc, char **argv) {
    if (argc > 1) {
        if (getenv("SPROUT_READY")) {
            NEED(write(atoi(getenv("SPROUT_READY")), "x", 1) == 1);
            char byte;
            read(atoi(getenv("SPROUT_GO")), &byte, 1);
        }
        puts("child");
        return 4;
    }
    (void)argv;
    int ready[2], go[2];
    NEED(pipe(ready) == 0 && pipe(go) == 0);
    char number[16];
    snprintf(number, sizeof number, "%d", ready[1]);
    setenv("SPROUT_READY", number, 1);
    snprintf(number, sizeof number, "%d", go[0]);
    setenv("SPROUT_GO", number, 1);
    pid_t pid = fork();
    if (pid == 0) {
        char byte;
        read(go[0], &byte, 1);
        execl("/proc/self/exe", "setpgid_after_exec", "wait", NULL);
        _exit(1);
    }
    R(setpgid(pid, pid));
    NEED(write(go[1], "x", 1) == 1);
    char byte;
    NEED(read(ready[0], &byte, 1) == 1);
    R(setpgid(pid, pid));
    NEED(write(go[1], "x", 1) == 1);
    int status;
    NEED(waitpid(pid, &status, 0) == pid);
    R(WEXITSTATUS(status));
    return 0;
}

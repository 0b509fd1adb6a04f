// fork + exec, vfork, posix_spawn, system-like pipelines between processes.
// case parent: parent
#include "test.h"
#include <spawn.h>
extern char **environ;
static char self[PATH_MAX];
int main(int argc, char **argv) {
    NEED(argc >= 2);
    if (!strcmp(argv[1], "child")) {
        char b[100];
        ssize_t n = read(0, b, sizeof b);
        for (ssize_t i = 0; i < n; i++)
            b[i] = (char)(b[i] >= 'a' && b[i] <= 'z' ? b[i] - 32 : b[i]);
        if (n > 0)
            write(1, b, n);
        return 40 + argc;
    }
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    NEED(length > 0);
    int in[2], out[2], status;
    NEED(pipe(in) == 0 && pipe(out) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(in[0], 0);
        dup2(out[1], 1);
        close_range(3, ~0U, 0);
        execl(self, self, "child", "x", NULL);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    write(in[1], "through the child\n", 18);
    close(in[1]);
    char b[100] = "";
    R(read(out[0], b, 99));
    printf("%s", b);
    R(read(out[0], b, 99));
    NEED(waitpid(pid, &status, 0) == pid);
    R(WEXITSTATUS(status));
    pid = vfork();
    if (pid == 0) {
        execl("/tmp/absent", "x", NULL);
        _exit(126);
    }
    NEED(waitpid(pid, &status, 0) == pid);
    R(WEXITSTATUS(status));
    char *args[] = {self, "child", NULL};
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    R(posix_spawn(&pid, self, &actions, NULL, args, environ));
    NEED(waitpid(pid, &status, 0) == pid);
    R(WEXITSTATUS(status));
    R(posix_spawn(&pid, "/tmp/absent", NULL, NULL, args, environ));
    return 0;
}

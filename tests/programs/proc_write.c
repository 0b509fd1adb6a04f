// What a process may write in its own /proc directory: comm and oom_score_adj.
#include "test.h"
static void put(const char *path, const char *text) {
    int fd = open(path, O_WRONLY);
    if (fd < 0) {
        printf("%s: %s\n", path, errno_name(errno));
        return;
    }
    errno = 0;
    ssize_t n = write(fd, text, strlen(text));
    printf("%s <- \"%s\": %zd %s\n", path, text, n, n < 0 ? errno_name(errno) : "ok");
    close(fd);
    show_file(path);
}
int main(void) {
    put("/proc/self/comm", "renamed");
    put("/proc/self/comm", "a name that is too long for it");
    put("/proc/self/oom_score_adj", "500\n");
    put("/proc/self/oom_score_adj", "1000");
    put("/proc/self/oom_score_adj", "1001");
    put("/proc/self/oom_score_adj", "-1001");
    put("/proc/self/oom_score_adj", "much");
    put("/proc/self/oom_score_adj", "");
    // A child starts with its parent's.
    pid_t pid = fork();
    if (pid == 0) {
        show_file("/proc/self/oom_score_adj");
        put("/proc/self/oom_score_adj", "1000");
        _exit(0);
    }
    waitpid(pid, NULL, 0);
    show_file("/proc/self/oom_score_adj");
    return 0;
}

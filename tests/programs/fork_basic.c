// fork: separate memory, shared open files, exit statuses collected by the wait family.
#include "test.h"
static int status_of(pid_t pid) {
    int status;
    NEED(waitpid(pid, &status, 0) == pid);
    return status;
}
int main(void) {
    enter_dir();
    int value = 1, fd = open("f", O_RDWR | O_CREAT, 0600), p[2];
    NEED(pipe(p) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        value = 2;
        write(fd, "child", 5);
        write(p[1], &value, sizeof value);
        _exit(getppid() > 0 ? 17 : 1);
    }
    int got = 0;
    R(read(p[0], &got, sizeof got));
    int status = status_of(pid);
    printf("exited %d status %d value %d got %d\n", WIFEXITED(status), WEXITSTATUS(status), value, got);
    R(lseek(fd, 0, SEEK_CUR)); // the position is shared
    pid = fork();
    if (pid == 0) {
        raise(SIGKILL);
        _exit(0);
    }
    status = status_of(pid);
    printf("signaled %d by %d\n", WIFSIGNALED(status), WTERMSIG(status));
    R(waitpid(-1, &status, 0));
    R(waitpid(-1, &status, WNOHANG));
    pid = fork();
    if (pid == 0) {
        char c;
        close(p[1]);
        read(p[0], &c, 1);
        _exit(3);
    }
    R(waitpid(pid, &status, WNOHANG));
    write(p[1], "g", 1);
    siginfo_t info;
    R(waitid(P_PID, pid, &info, WEXITED | WNOWAIT));
    printf("code exited %d status %d\n", info.si_code == CLD_EXITED, info.si_status);
    status = status_of(pid);
    R(WEXITSTATUS(status));
    // Copied pages stay apart in both directions.
    char *memory = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    memset(memory, 'p', 1 << 20);
    pid = fork();
    if (pid == 0) {
        int wrong = 0;
        for (int i = 0; i < 1 << 20; i += 4096)
            wrong += memory[i] != 'p';
        memset(memory, 'c', 1 << 20);
        shared[0] = 's';
        _exit(wrong);
    }
    memset(memory, 'q', 1 << 19);
    status = status_of(pid);
    printf("wrong %d mine %c %c shared %c\n", WEXITSTATUS(status), memory[0], memory[1 << 19], shared[0]);
    pid_t children[10];
    for (int i = 0; i < 10; i++)
        if ((children[i] = fork()) == 0)
            _exit(i);
    int sum = 0;
    for (int i = 0; i < 10; i++) {
        NEED(wait(&status) > 0);
        sum += WEXITSTATUS(status);
    }
    printf("sum %d\n", sum);
    R(wait(&status));
    return 0;
}

// Threads end in any order: the first thread before the others, exit from another one, exec from
// another one.
#include "test.h"
extern char **environ;
static void *late(void *arg) {
    sleep_ms(40);
    printf("late thread\n");
    fflush(stdout);
    if (arg)
        exit(7);
    return NULL;
}
static void *runs(void *arg) {
    char *args[] = {"thread_exits", "again", NULL};
    execve("/proc/self/exe", args, environ);
    return arg;
}
static void *sleeps(void *arg) {
    for (;;)
        pause();
    return arg;
}
static int status_of(pid_t pid) {
    int status;
    NEED(waitpid(pid, &status, 0) == pid);
    return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}
static int in_child(void (*body)(void)) {
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        body();
        _exit(99);
    }
    return status_of(pid);
}
static pthread_t thread;
static void first_ends(void) {
    pthread_create(&thread, NULL, late, NULL);
    pthread_exit(NULL);
}
static void other_exits(void) {
    pthread_create(&thread, NULL, late, "exit");
    for (;;)
        pause();
}
static void other_execs(void) {
    pthread_create(&thread, NULL, sleeps, NULL);
    pthread_create(&thread, NULL, runs, NULL);
    for (;;)
        pause();
}
static void raw_exit(void) {
    pthread_create(&thread, NULL, late, "exit");
    syscall(SYS_exit, 5); // this thread alone
}
static void group_exit(void) {
    pthread_create(&thread, NULL, sleeps, NULL);
    syscall(SYS_exit_group, 6);
}
int main(int argc, char **argv) {
    (void)argv;
    if (argc > 1) {
        DIR *tasks = opendir("/proc/self/task");
        int count = 0;
        while (readdir(tasks))
            count++;
        printf("again, threads %d\n", count - 2);
        YES(syscall(SYS_gettid) == getpid());
        return 8;
    }
    R(in_child(first_ends));
    R(in_child(other_exits));
    R(in_child(other_execs));
    R(in_child(raw_exit));
    R(in_child(group_exit));
    return 0;
}

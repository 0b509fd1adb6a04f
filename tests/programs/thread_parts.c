// Threads that do not share descriptors, or root, directory and umask, with the others.
#include "test.h"
#include <linux/close_range.h>
#include <sched.h>
static char stack[1 << 16] __attribute__((aligned(16)));
static char top[PATH_MAX];
static int is_open(int fd) { return fcntl(fd, F_GETFD) != -1; }
static void directory(const char *who) {
    char path[PATH_MAX];
    NEED(getcwd(path, sizeof path));
    mode_t mask = umask(0);
    umask(mask);
    printf("%s: %s %o\n", who, strcmp(path, top) ? strcmp(path, "/") ? "elsewhere" : "root" : "start", mask);
}
static void *unshares(void *arg) {
    R(unshare(CLONE_FS));
    R(chdir("/"));
    umask(077);
    directory("thread");
    R(unshare(CLONE_FILES));
    R(close(50));
    R(dup2(1, 51));
    YES(is_open(50));
    YES(is_open(51));
    // A child gets what the thread has.
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        directory("child");
        YES(is_open(50));
        exit(0);
    }
    NEED(waitpid(child, NULL, 0) == child);
    return arg;
}
static void *closes_range(void *arg) {
    R(close_range(50, 60, CLOSE_RANGE_UNSHARE));
    YES(is_open(50));
    return arg;
}
static int bare(void *arg) {
    (void)arg;
    close(50);
    dup2(1, 52);
    if (chdir("/"))
        return 1;
    syscall(SYS_exit, 0);
    return 0;
}
static void *execs(void *arg) {
    (void)arg;
    R(unshare(CLONE_FS | CLONE_FILES));
    R(chdir("/"));
    R(close(50));
    R(dup2(1, 53));
    execl("/proc/self/exe", "self", "again", top, NULL);
    return NULL;
}
static void in_thread(void *(*fn)(void *)) {
    pthread_t thread;
    NEED(pthread_create(&thread, NULL, fn, NULL) == 0);
    pthread_join(thread, NULL);
}
int main(int argc, char **argv) {
    if (argc > 2) {
        strcpy(top, argv[2]);
        directory("after exec");
        YES(is_open(50));
        YES(is_open(53));
        rmdir(top);
        return 0;
    }
    char name[] = "/tmp/sprout-parts-XXXXXX";
    NEED(mkdtemp(name) && chdir(name) == 0 && getcwd(top, sizeof top));
    umask(022);
    NEED(dup2(1, 50) == 50);
    in_thread(unshares);
    directory("main");
    YES(is_open(50));
    YES(is_open(51));
    in_thread(closes_range);
    YES(is_open(50));
    int flags = CLONE_VM | CLONE_SIGHAND | CLONE_THREAD | CLONE_VFORK;
    NEED(clone(bare, stack + sizeof stack, flags, NULL) > 0);
    directory("main");
    YES(is_open(50));
    YES(is_open(52));
    NEED(clone(bare, stack + sizeof stack, flags | CLONE_FS | CLONE_FILES, NULL) > 0);
    directory("main");
    YES(is_open(50));
    YES(is_open(52));
    NEED(dup2(1, 50) == 50 && chdir(top) == 0);
    close(52);
    // A pipe that only a thread's table holds ends with the thread.
    int ends[2];
    char byte;
    NEED(pipe(ends) == 0);
    NEED(clone(bare, stack + sizeof stack, flags, NULL) > 0);
    close(ends[1]);
    R(read(ends[0], &byte, 1));
    fflush(stdout);
    in_thread(execs);
    return 1;
}

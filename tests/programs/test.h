// Helpers shared by the test programs: every line printed names the expression it shows, and
// prints errno by name, so that a difference between two kernels reads as what it is.
#ifndef SPROUT_TEST_H
#define SPROUT_TEST_H
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

// The name of an errno value.
static inline const char *errno_name(int e) {
    const char *name = strerrorname_np(e);
    return name ? name : "?";
}

// Background jobs start with SIGINT and SIGQUIT ignored, those of nohup with SIGHUP: what the parent
// ignores must not decide what a case shows.
__attribute__((constructor)) static void default_signals(void) {
    signal(SIGINT, SIG_DFL);
    signal(SIGQUIT, SIG_DFL);
    signal(SIGHUP, SIG_DFL);
}

// Prints the exact result of a call, or the errno it failed with.
#define R(expr)                                                                                    \
    do {                                                                                           \
        errno = 0;                                                                                 \
        long result_ = (long)(expr);                                                               \
        if (result_ == -1)                                                                         \
            printf("%s = -1 %s\n", #expr, errno_name(errno));                                      \
        else                                                                                       \
            printf("%s = %ld\n", #expr, result_);                                                  \
    } while (0)

// Prints whether a call succeeded, without its (varying) result.
#define OK(expr)                                                                                   \
    do {                                                                                           \
        errno = 0;                                                                                 \
        long result_ = (long)(expr);                                                               \
        printf("%s: %s\n", #expr, result_ == -1 ? errno_name(errno) : "ok");                       \
    } while (0)

// Prints the truth of a relation.
#define YES(cond) printf("%s: %s\n", #cond, (cond) ? "yes" : "no")

// Stops the test when a precondition does not hold.
#define NEED(cond)                                                                                 \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            printf("line %d: needed %s (errno %s)\n", __LINE__, #cond, errno_name(errno));         \
            exit(99);                                                                              \
        }                                                                                          \
    } while (0)

static inline long now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static inline void sleep_ms(long ms) {
    struct timespec t = {ms / 1000, ms % 1000 * 1000000};
    while (nanosleep(&t, &t) == -1 && errno == EINTR) {
    }
}

static char test_dir[] = "/tmp/sprout-XXXXXX";

static inline int remove_tree(const char *path);

static inline void leave_dir(void) {
    close_range(3, ~0U, 0); // a test may have used up every descriptor
    if (chdir("/tmp") == 0)
        remove_tree(test_dir);
}

// Makes a private directory, enters it, and removes it when the program exits.
static inline void enter_dir(void) {
    if (!mkdtemp(test_dir) || chdir(test_dir)) {
        printf("no test directory: %s\n", errno_name(errno));
        exit(98);
    }
    umask(022);
    atexit(leave_dir);
}

#include <dirent.h>
static inline int remove_tree(const char *path) {
    DIR *dir = opendir(path);
    struct dirent *entry;
    while (dir && (entry = readdir(dir))) {
        char name[PATH_MAX];
        struct stat st;
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
            continue;
        snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
        if (lstat(name, &st) == 0 && S_ISDIR(st.st_mode))
            remove_tree(name);
        else
            unlink(name);
    }
    if (dir)
        closedir(dir);
    return rmdir(path);
}

// Writes a whole file; the tests' usual starting point.
static inline void put_file(const char *path, const char *text) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    NEED(fd >= 0);
    NEED(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
}

// Prints a file's content, quoted.
static inline void show_file(const char *path) {
    char text[256] = "";
    int fd = open(path, O_RDONLY);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (n < 0)
        printf("%s: %s\n", path, errno_name(errno));
    else
        printf("%s: \"%.*s\"\n", path, (int)n, text);
    if (fd >= 0)
        close(fd);
}

static inline void handle(int sig, void (*handler)(int, siginfo_t *, void *), int flags) {
    struct sigaction action = {.sa_flags = SA_SIGINFO | flags};
    action.sa_sigaction = handler;
    sigemptyset(&action.sa_mask);
    NEED(sigaction(sig, &action, NULL) == 0);
}

// Lines must be out before a test dies by a signal; core files help nobody here.
__attribute__((constructor)) static void test_start(void) {
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    setvbuf(stdout, NULL, _IOLBF, 1 << 14);
}
#endif

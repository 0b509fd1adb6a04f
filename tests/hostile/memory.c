// `memory HOW`: uses up the machine's memory in one of many ways. The process may be killed or get
// errors; the machine must not break.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB (1l << 20)

static char *map(size_t len) {
    char *memory = mmap(NULL, len, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        exit(98);
    return memory;
}

// Writes to every page.
static void touch(char *memory, size_t len) {
    for (size_t at = 0; at < len; at += 4096)
        memory[at] = 1;
}

static void eat(void) {
    touch(map(1024 * MIB), 1024 * MIB);
}

static long kilobytes(const char *name) {
    char line[128];
    FILE *info = fopen("/proc/meminfo", "r");
    while (info && fgets(line, sizeof line, info))
        if (!strncmp(line, name, strlen(name))) {
            fclose(info);
            return atol(line + strlen(name) + 1);
        }
    exit(97);
}

// All that MemAvailable promises can be had.
static void capacity(void) {
    long total = kilobytes("MemTotal"), available = kilobytes("MemAvailable");
    size_t len = (available - 512) * 1024;
    touch(map(len), len);
    printf("total %ld kB, all of it available: %s\n", total,
           available > total / 4 * 3 ? "yes" : "no");
}

// A child takes everything, the first process very little.
static void child(void) {
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        eat();
        _exit(0);
    }
    waitpid(pid, &status, 0);
    printf("child killed by signal %d\n", WIFSIGNALED(status) ? WTERMSIG(status) : 0);
    touch(map(8 * MIB), 8 * MIB);
    printf("its memory is back\n");
}

// The kernel runs out in the middle of a copy to the program.
static void copy(void) {
    size_t len = 1024 * MIB;
    char *memory = map(len);
    int zero = open("/dev/zero", O_RDONLY);
    for (size_t at = 0; at < len;) {
        ssize_t n = read(zero, memory + at, len - at);
        if (n <= 0) {
            printf("read: %s\n", strerrorname_np(errno));
            exit(1);
        }
        at += n;
    }
}

static void *wait_for_ever(void *arg) {
    pause();
    return arg;
}

static void threads(void) {
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 16384);
    pthread_t thread;
    while (pthread_create(&thread, &small, wait_for_ever, NULL) == 0) {
    }
    printf("stopped\n");
}

static void areas(void) {
    char *memory = map(1024 * MIB);
    for (size_t at = 0; at < 1024 * MIB; at += 8192)
        if (mprotect(memory + at, 4096, PROT_READ) != 0)
            break;
    printf("stopped\n");
}

static void pipes(void) {
    static char data[65536];
    int ends[2];
    while (pipe2(ends, O_NONBLOCK) == 0)
        if (write(ends[1], data, sizeof data) < 0)
            break;
    printf("stopped\n");
}

static void sockets(void) {
    static char data[65536];
    int ends[2];
    while (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) == 0)
        while (write(ends[1], data, sizeof data) > 0) {
        }
    printf("stopped\n");
}

static void files(void) {
    static char data[MIB];
    int file = open("/tmp/full", O_CREAT | O_RDWR, 0600);
    memset(data, 1, sizeof data);
    while (write(file, data, sizeof data) > 0) {
    }
    unlink("/tmp/full");
    close(file);
    touch(map(8 * MIB), 8 * MIB);
    printf("stopped, and the memory is back\n");
}

static void forks(void) {
    touch(map(MIB), MIB);
    for (int n = 0; n < 200; n++) {
        pid_t pid = fork();
        if (pid < 0)
            break;
        if (pid == 0) {
            touch(map(MIB / 4), MIB / 4);
            pause();
        }
    }
    printf("stopped\n");
}

static const struct {
    const char *name;
    void (*run)(void);
} ways[] = {
    {"eat", eat},         {"capacity", capacity}, {"child", child}, {"copy", copy},
    {"threads", threads}, {"areas", areas},       {"pipes", pipes}, {"sockets", sockets},
    {"files", files},     {"forks", forks},
};

int main(int argc, char **argv) {
    setvbuf(stdout, NULL, _IONBF, 0);
    for (size_t i = 0; argc == 2 && i < sizeof ways / sizeof *ways; i++)
        if (!strcmp(argv[1], ways[i].name)) {
            ways[i].run();
            exit(0);
        }
    return 2;
}

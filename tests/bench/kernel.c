// `kernel NAME`: what one operation of a kernel costs a program; prints nanoseconds for each, the
// median of some batches.
#define _GNU_SOURCE
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define BATCHES 5

static void need(int ok, const char *what) {
    if (!ok) {
        perror(what);
        exit(1);
    }
}

// --- threads: create and join -------------------------------------------------------------------

static void *nothing(void *arg) {
    return arg;
}

static void threads(long count) {
    for (long i = 0; i < count; i++) {
        pthread_t thread;
        need(pthread_create(&thread, NULL, nothing, NULL) == 0, "pthread_create");
        need(pthread_join(thread, NULL) == 0, "pthread_join");
    }
}

// --- futex: two threads take turns --------------------------------------------------------------

static atomic_int turn;
static long rounds;

static void wait_for(int value) {
    int seen;
    while ((seen = atomic_load(&turn)) != value)
        syscall(SYS_futex, &turn, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
}

static void pass_to(int value) {
    atomic_store(&turn, value);
    syscall(SYS_futex, &turn, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void *second(void *arg) {
    for (long i = 0; i < rounds; i++) {
        wait_for(1);
        pass_to(0);
    }
    return arg;
}

static void futex(long count) {
    pthread_t thread;
    rounds = count;
    need(pthread_create(&thread, NULL, second, NULL) == 0, "pthread_create");
    for (long i = 0; i < count; i++) {
        pass_to(1);
        wait_for(0);
    }
    pthread_join(thread, NULL);
}

// --- pipe: a byte to another process and back -----------------------------------------------------

static void pipes(long count) {
    int there[2], back[2];
    char byte = 0;
    need(pipe(there) == 0 && pipe(back) == 0, "pipe");
    pid_t child = fork();
    need(child >= 0, "fork");
    if (child == 0) {
        close(there[1]);
        while (read(there[0], &byte, 1) == 1)
            need(write(back[1], &byte, 1) == 1, "write");
        _exit(0);
    }
    close(there[0]);
    for (long i = 0; i < count; i++)
        need(write(there[1], &byte, 1) == 1 && read(back[0], &byte, 1) == 1, "pipe");
    close(there[1]);
    close(back[0]);
    close(back[1]);
    waitpid(child, NULL, 0);
}

// --- spawn: fork, exec of this static program, wait -----------------------------------------------

static void spawn(long count) {
    for (long i = 0; i < count; i++) {
        int status;
        pid_t child = fork();
        need(child >= 0, "fork");
        if (child == 0) {
            execl("/proc/self/exe", "kernel", "exit", NULL);
            _exit(127);
        }
        need(waitpid(child, &status, 0) == child && status == 0, "child");
    }
}

// --- signal: to itself, a handler and back (as lmbench's lat_sig does it) -----------------------------

static volatile sig_atomic_t handled;

static void count_signal(int signal) {
    (void)signal;
    handled++;
}

static void signals(long count) {
    signal(SIGUSR1, count_signal);
    pid_t self = getpid();
    for (long i = 0; i < count; i++)
        kill(self, SIGUSR1);
    need(handled >= count, "the handler");
}

// The C library's raise blocks and unblocks all signals around it: two system calls more.
static void raises(long count) {
    signal(SIGUSR1, count_signal);
    for (long i = 0; i < count; i++)
        raise(SIGUSR1);
}

// --- touch: the first write to each page of fresh anonymous memory --------------------------------

static void touch(long pages) {
    size_t len = pages * 4096;
    char *memory = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    need(memory != MAP_FAILED, "mmap");
    for (size_t at = 0; at < len; at += 4096)
        memory[at] = 1;
    munmap(memory, len);
}

// --- getppid: the cheapest system call ------------------------------------------------------------

static void getppids(long count) {
    for (long i = 0; i < count; i++)
        syscall(SYS_getppid);
}

// --- parallel: two threads that only compute ------------------------------------------------------

static void *compute(void *arg) {
    uint64_t state = 1;
    for (long i = 0; i < *(long *)arg; i++)
        state = state * 6364136223846793005u + 1442695040888963407u;
    return (void *)state;
}

static void parallel(long steps) {
    pthread_t threads[2];
    void *states[2];
    for (int i = 0; i < 2; i++)
        need(pthread_create(&threads[i], NULL, compute, &steps) == 0, "pthread_create");
    for (int i = 0; i < 2; i++)
        need(pthread_join(threads[i], &states[i]) == 0, "pthread_join");
    need(states[0] == states[1], "two equal computations");
}

static const struct {
    const char *name;
    void (*run)(long);
    long count;
    int batches;
} cases[] = {
    {"getppid", getppids, 5000, 9},
    {"threads", threads, 2000, BATCHES}, // 10,000 in all
    {"futex", futex, 20000, BATCHES},    // 100,000 in all
    {"pipe", pipes, 4000, BATCHES},
    {"spawn", spawn, 40, BATCHES},
    {"signal", signals, 4000, BATCHES},
    {"raise", raises, 4000, BATCHES},
    {"touch", touch, 65536, 1}, // 256 MiB, once: really the first time
    {"parallel", parallel, 100000000, BATCHES},
};

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv) {
    if (argc == 2 && strcmp(argv[1], "exit") == 0)
        return 0;
    for (size_t i = 0; argc == 2 && i < sizeof cases / sizeof *cases; i++) {
        if (strcmp(argv[1], cases[i].name) != 0)
            continue;
        double took[16];
        int batches = cases[i].batches;
        for (int batch = 0; batch < batches; batch++) {
            struct timespec start, end;
            clock_gettime(CLOCK_MONOTONIC, &start);
            cases[i].run(cases[i].count);
            clock_gettime(CLOCK_MONOTONIC, &end);
            double ns = (end.tv_sec - start.tv_sec) * 1e9 + (end.tv_nsec - start.tv_nsec);
            took[batch] = ns / cases[i].count;
        }
        qsort(took, batches, sizeof *took, compare);
        printf("%.1f\n", took[batches / 2]);
        return 0;
    }
    fprintf(stderr, "usage: kernel NAME\n");
    return 2;
}

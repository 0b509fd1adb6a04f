// A guest that misbehaves in the way its argument names. On Linux each ends by an error or a
// signal; the same is wanted here, and that nobody else comes to harm.
//
//   guest nowhere        jumps to where nothing is
//   guest recurse        calls itself without end
//   guest allocate       touches memory until there is none
//   guest map            maps memory until there are no addresses or areas
//   guest fork           makes processes until it may not, then ends them
//   guest threads        runs a thousand threads at once
//   guest read ADDRESS   reads, writes or jumps to an address of the sentry's half
//   guest write ADDRESS
//   guest jump ADDRESS
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile long depth;

static long (*volatile again)(long);
static long recurse(long n) {
    volatile char frame[2048];
    frame[n % 2048] = (char)n;
    depth = n;
    return again(n + 1) + frame[(n + 1) % 2048];
}

static void allocate(void) {
    for (;;) {
        char *p = mmap(NULL, 4 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (p == MAP_FAILED) {
            printf("mmap: %s\n", strerror(errno));
            exit(4);
        }
        memset(p, 1, 4 << 20);
    }
}

static void map(void) {
    long areas = 0;
    for (;; areas++) {
        // Every other page, so that no two areas become one.
        char *at = (char *)0x200000000000 + areas * 8192;
        int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;
        if (mmap(at, 4096, PROT_READ, flags, -1, 0) == MAP_FAILED)
            break;
    }
    printf("areas: %s, %s\n", areas > 1000 ? "many" : "few", strerror(errno));
    exit(5);
}

static void forks(void) {
    long children = 0;
    signal(SIGTERM, SIG_IGN);
    for (pid_t pid; (pid = fork()) >= 0; children++)
        if (pid == 0) {
            signal(SIGTERM, SIG_DFL);
            for (;;)
                pause();
        }
    printf("children: %s, %s\n", children > 50 ? "many" : "few", strerror(errno));
    kill(-1, SIGKILL);
    while (wait(NULL) > 0)
        children--;
    printf("left: %ld\n", children);
    exit(6);
}

static pthread_barrier_t barrier;

static void *wait_for_all(void *arg) {
    pthread_barrier_wait(&barrier);
    return arg;
}

static void threads(void) {
    enum { COUNT = 1000 };
    static pthread_t threads[COUNT];
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 16384);
    pthread_barrier_init(&barrier, NULL, COUNT);
    for (int i = 0; i < COUNT; i++)
        if ((errno = pthread_create(&threads[i], &attr, wait_for_all, NULL))) {
            printf("thread %d: %s\n", i, strerror(errno));
            exit(8);
        }
    for (int i = 0; i < COUNT; i++)
        pthread_join(threads[i], NULL);
    puts("all threads met");
    exit(7);
}

int main(int argc, char **argv) {
    if (argc < 2)
        return 2;
    setvbuf(stdout, NULL, _IOLBF, 0);
    uintptr_t address = argc > 2 ? strtoul(argv[2], NULL, 0) : 0x10;
    const char *way = argv[1];
    if (!strcmp(way, "nowhere"))
        ((void (*)(void))0x123456789000)();
    if (!strcmp(way, "recurse"))
        return again = recurse, (int)recurse(0);
    if (!strcmp(way, "allocate"))
        allocate();
    if (!strcmp(way, "map"))
        map();
    if (!strcmp(way, "fork"))
        forks();
    if (!strcmp(way, "threads"))
        threads();
    if (!strcmp(way, "read"))
        return *(volatile unsigned char *)address;
    if (!strcmp(way, "write"))
        for (int i = 0; i < 4096; i += 8)
            *(volatile uint64_t *)(address + (uintptr_t)i) = 0xdeadbeefdeadbeef;
    if (!strcmp(way, "jump"))
        ((void (*)(void))address)();
    return 3;
}

// fork while other threads write: each child has a still picture of memory, the parent goes on.
// vcpus: 2 4
#include "test.h"
static volatile long *area;
static _Atomic int stop;
static void *write_on(void *arg) {
    long from = (long)arg * 256;
    for (long value = 1; !stop; value++)
        for (long i = 0; i < 256; i += 16)
            area[from + i] = value;
    return NULL;
}
static long sum(void) {
    long total = 0;
    for (int i = 0; i < 1024; i++)
        total += area[i];
    return total;
}
int main(void) {
    area = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    pthread_t threads[3];
    for (long i = 0; i < 3; i++)
        NEED(pthread_create(&threads[i], NULL, write_on, (void *)i) == 0);
    int still = 0, moved = 0;
    for (int round = 0; round < 25; round++) {
        pid_t child = fork();
        NEED(child >= 0);
        if (child == 0) {
            long before = sum();
            for (int i = 0; i < 20000; i++)
                __builtin_ia32_pause();
            long after = sum();
            area[1000] = 7;
            _exit(before == after && area[1000] == 7 ? 0 : 1);
        }
        int status;
        NEED(waitpid(child, &status, 0) == child);
        if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
            still++;
        moved += area[1000] != 0;
    }
    long before = area[0];
    while (area[0] == before)
        sched_yield();
    stop = 1;
    for (int i = 0; i < 3; i++)
        NEED(pthread_join(threads[i], NULL) == 0);
    printf("children with a still picture: %d, writes of children seen: %d\n", still, moved);
    return 0;
}

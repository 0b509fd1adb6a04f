// membarrier(2) comes back while other threads compute, sleep, and call it themselves.
// vcpus: 2 4
#include "test.h"
#include <linux/membarrier.h>
#define CALLERS 3
static _Atomic int stop;
static long membarrier(int command) { return syscall(SYS_membarrier, command, 0, 0); }
static void *compute(void *arg) {
    volatile unsigned long state = 1;
    while (!stop)
        state = state * 3 + 1;
    return NULL;
}
static void *doze(void *arg) {
    while (!stop)
        sleep_ms(1);
    return NULL;
}
static void *call(void *arg) {
    for (int i = 0; i < 300; i++)
        NEED(membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED) == 0);
    for (int i = 0; i < 5; i++)
        NEED(membarrier(MEMBARRIER_CMD_GLOBAL) == 0);
    return NULL;
}
int main(void) {
    pthread_t others[2], callers[CALLERS];
    R(membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED));
    NEED(pthread_create(&others[0], NULL, compute, NULL) == 0);
    NEED(pthread_create(&others[1], NULL, doze, NULL) == 0);
    for (int i = 0; i < CALLERS; i++)
        NEED(pthread_create(&callers[i], NULL, call, NULL) == 0);
    for (int i = 0; i < CALLERS; i++)
        NEED(pthread_join(callers[i], NULL) == 0);
    stop = 1;
    for (int i = 0; i < 2; i++)
        NEED(pthread_join(others[i], NULL) == 0);
    puts("all came back");
    return 0;
}

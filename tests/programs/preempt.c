// Threads that never make a system call still share the processor.
#include "test.h"
static volatile unsigned long counts[3];
static volatile int stop;
static void *spin(void *arg) {
    while (!stop)
        counts[(long)arg]++;
    return NULL;
}
int main(void) {
    pthread_t t[3];
    for (long i = 0; i < 3; i++)
        NEED(pthread_create(&t[i], NULL, spin, (void *)i) == 0);
    // Main itself spins, without a system call, until every other thread has moved.
    while (!counts[0] || !counts[1] || !counts[2]) {
    }
    puts("all ran");
    unsigned long seen[3] = {counts[0], counts[1], counts[2]};
    sleep_ms(50);
    for (int i = 0; i < 3; i++)
        while (counts[i] == seen[i]) {
        }
    puts("all still run");
    stop = 1;
    for (int i = 0; i < 3; i++)
        pthread_join(t[i], NULL);
    return 0;
}

// What programs are told of processors agrees, and affinity is honoured.
// vcpus: 2 4
#include "test.h"
#include <sched.h>
static int count_lines(const char *path, const char *prefix) {
    FILE *file = fopen(path, "r");
    NEED(file);
    char line[4096];
    int count = 0;
    while (fgets(line, sizeof line, file))
        count += strncmp(line, prefix, strlen(prefix)) == 0 && line[strlen(prefix)] != ' ';
    fclose(file);
    return count;
}
static int number_after(const char *path, const char *name) {
    FILE *file = fopen(path, "r");
    NEED(file);
    char line[4096];
    int number = -1;
    while (number < 0 && fgets(line, sizeof line, file))
        if (strncmp(line, name, strlen(name)) == 0)
            number = atoi(line + strlen(name));
    fclose(file);
    return number;
}
static void *wander(void *arg) {
    cpu_set_t *allowed = arg;
    for (int round = 0; round < 3; round++)
        for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
            if (!CPU_ISSET(cpu, allowed))
                continue;
            cpu_set_t one;
            CPU_ZERO(&one);
            CPU_SET(cpu, &one);
            NEED(sched_setaffinity(0, sizeof one, &one) == 0);
            unsigned int here;
            NEED(getcpu(&here, NULL) == 0 && here == (unsigned)cpu);
            NEED(sched_getcpu() == cpu);
            cpu_set_t now;
            NEED(sched_getaffinity(0, sizeof now, &now) == 0 && CPU_EQUAL(&now, &one));
        }
    return NULL;
}
static void *count(void *arg) {
    cpu_set_t own;
    NEED(sched_getaffinity(0, sizeof own, &own) == 0);
    return (void *)(long)CPU_COUNT(&own);
}
int main(void) {
    cpu_set_t allowed;
    NEED(sched_getaffinity(0, sizeof allowed, &allowed) == 0);
    YES(CPU_COUNT(&allowed) <= sysconf(_SC_NPROCESSORS_ONLN));
    YES(count_lines("/proc/cpuinfo", "processor") == sysconf(_SC_NPROCESSORS_ONLN));
    YES(count_lines("/proc/stat", "cpu") == sysconf(_SC_NPROCESSORS_ONLN));
    char text[64] = "";
    int fd = open("/sys/devices/system/cpu/online", O_RDONLY);
    NEED(read(fd, text, sizeof text - 1) > 0);
    char *last = strrchr(text, '-');
    YES(atoi(last ? last + 1 : text) == sysconf(_SC_NPROCESSORS_ONLN) - 1);
    wander(&allowed);
    pthread_t threads[3];
    for (int i = 0; i < 3; i++)
        NEED(pthread_create(&threads[i], NULL, wander, &allowed) == 0);
    for (int i = 0; i < 3; i++)
        NEED(pthread_join(threads[i], NULL) == 0);
    NEED(sched_setaffinity(0, sizeof allowed, &allowed) == 0);
    cpu_set_t none;
    CPU_ZERO(&none);
    R(sched_setaffinity(0, sizeof none, &none));
    CPU_SET(CPU_SETSIZE - 1, &none);
    R(sched_setaffinity(0, sizeof none, &none));
    R(sched_setaffinity(0, sizeof none, (void *)1));
    R(sched_setaffinity(123456789, sizeof allowed, &allowed));
    R(sched_getaffinity(0, 1, &none));
    // The threads of a pinned thread are pinned.
    cpu_set_t first;
    CPU_ZERO(&first);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &allowed)) {
            CPU_SET(cpu, &first);
            break;
        }
    NEED(sched_setaffinity(0, sizeof first, &first) == 0);
    YES(CPU_ISSET(number_after("/proc/self/status", "Cpus_allowed_list:"), &first));
    void *inherited;
    NEED(pthread_create(&threads[0], NULL, count, NULL) == 0);
    NEED(pthread_join(threads[0], &inherited) == 0);
    printf("a child thread may run on %ld\n", (long)inherited);
    return 0;
}

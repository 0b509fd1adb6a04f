// Nice values, policies and priorities of input and output: kept, clamped, inherited, shown.
#include "test.h"
#include <sched.h>
struct attr {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
    uint32_t util_min, util_max, more[2];
};
#define GET(attr, size) syscall(SYS_sched_getattr, 0, attr, size, 0)
#define SET(attr) syscall(SYS_sched_setattr, 0, attr, 0)
// Priority, nice value, real-time priority and policy in /proc.
static void shown(void) {
    char text[1024] = "", state;
    int fd = open("/proc/thread-self/stat", O_RDONLY);
    NEED(read(fd, text, sizeof text - 1) > 0);
    close(fd);
    long field[60] = {0};
    char *at = strrchr(text, ')') + 2;
    for (int i = 3; i <= 41 && at; i++) {
        if (i == 3)
            state = *at;
        else
            field[i] = strtol(at, NULL, 10);
        at = strchr(at, ' ');
        at = at ? at + 1 : NULL;
    }
    (void)state;
    printf("priority %ld nice %ld real-time %ld policy %ld\n", field[18], field[19], field[40],
           field[41]);
}
static void in_child(const char *what) {
    printf("%s: ", what);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        printf("%d %d ", sched_getscheduler(0), getpriority(PRIO_PROCESS, 0));
        shown();
        exit(0);
    }
    if (child == -1)
        puts(errno_name(errno));
    waitpid(child, NULL, 0);
}
static void *in_thread(void *arg) {
    R(getpriority(PRIO_PROCESS, 0));
    R(setpriority(PRIO_PROCESS, 0, 9));
    R(getpriority(PRIO_PROCESS, 0));
    R(getpriority(PRIO_PROCESS, getpid()));
    return arg;
}
int main(void) {
    shown();
    R(nice(3));
    R(getpriority(PRIO_PROCESS, 0));
    R(nice(100));
    R(setpriority(PRIO_PROCESS, 0, -100));
    R(getpriority(PRIO_PROCESS, getpid()));
    R(syscall(SYS_getpriority, PRIO_PROCESS, 0));
    R(setpriority(PRIO_PROCESS, 0, 5));
    shown();
    in_child("inherits");
    pthread_t thread;
    pthread_create(&thread, NULL, in_thread, NULL);
    pthread_join(thread, NULL);
    R(getpriority(PRIO_PROCESS, 0));
    setpgid(0, 0);
    R(getpriority(PRIO_PGRP, 0));
    R(setpriority(PRIO_PGRP, 0, 2));
    R(getpriority(PRIO_PROCESS, 0));
    R(getpriority(PRIO_PGRP, 999999));
    R(setpriority(PRIO_PGRP, 999999, 0));
    R(getpriority(PRIO_USER, 54321));
    R(setpriority(PRIO_USER, 54321, 0));
    R(getpriority(3, 0));
    R(setpriority(-1, 0, 0));
    R(setpriority(PRIO_PROCESS, 999999, 0));
    // Policies.
    struct sched_param param = {.sched_priority = 0};
    for (int policy = -1; policy < 7; policy++)
        for (int priority = 0; priority < 101; priority += 50) {
            param.sched_priority = priority;
            printf("%d %d: ", policy, priority);
            R(sched_setscheduler(0, policy, &param));
        }
    param.sched_priority = 33;
    R(sched_setscheduler(0, SCHED_FIFO, &param));
    shown();
    in_child("inherits");
    R(getpriority(PRIO_PROCESS, 0));
    param.sched_priority = 44;
    R(sched_setparam(0, &param));
    param.sched_priority = 0;
    R(sched_getparam(0, &param));
    R(param.sched_priority);
    param.sched_priority = 0;
    R(sched_setparam(0, &param));
    struct timespec interval;
    R(sched_rr_get_interval(0, &interval));
    YES(interval.tv_nsec == 0);
    param.sched_priority = 5;
    R(sched_setscheduler(0, SCHED_RR | SCHED_RESET_ON_FORK, &param));
    R(sched_getscheduler(0));
    in_child("reset");
    R(sched_rr_get_interval(0, &interval));
    YES(interval.tv_nsec > 0);
    param.sched_priority = 0;
    R(sched_setscheduler(0, SCHED_OTHER | SCHED_RESET_ON_FORK, &param));
    setpriority(PRIO_PROCESS, 0, -4);
    in_child("reset nice");
    R(sched_setscheduler(0, SCHED_BATCH, &param));
    shown();
    in_child("batch");
    R(sched_setscheduler(0, SCHED_IDLE, &param));
    in_child("idle");
    R(sched_setscheduler(0, SCHED_OTHER, &param));
    for (int policy = -1; policy < 7; policy++)
        printf("%d: %d %d\n", policy, sched_get_priority_min(policy),
               sched_get_priority_max(policy));
    R(sched_setscheduler(0, SCHED_OTHER, NULL));
    R(sched_setscheduler(0, SCHED_OTHER, (void *)8));
    R(sched_setscheduler(999999, 99, (void *)8));
    R(sched_setscheduler(999999, 99, &param));
    R(sched_getparam(0, NULL));
    R(sched_getparam(999999, (void *)8));
    R(sched_getparam(0, (void *)8));
    // The newest calls.
    struct attr attr = {.size = 48, .nice = 11};
    R(SET(&attr));
    memset(&attr, 0, sizeof attr);
    R(GET(&attr, 48));
    printf("%u %u %lx %d %u\n", attr.size, attr.policy, (long)attr.flags, attr.nice, attr.priority);
    R(GET(&attr, 56));
    R(attr.size);
    R(GET(&attr, 64));
    R(attr.size);
    R(GET(&attr, 47));
    R(GET(&attr, 4097));
    R(GET(NULL, 48));
    R(GET((void *)8, 48));
    R(syscall(SYS_sched_getattr, 0, &attr, 48, 1));
    R(syscall(SYS_sched_getattr, -1, &attr, 48, 0));
    R(syscall(SYS_sched_getattr, 999999, &attr, 48, 0));
    attr = (struct attr){.size = 64, .policy = SCHED_FIFO, .priority = 7, .flags = 1};
    R(SET(&attr));
    R(sched_getscheduler(0));
    attr.more[1] = 1;
    R(SET(&attr));
    R(attr.size);
    attr = (struct attr){.size = 20};
    R(SET(&attr));
    R(attr.size);
    attr = (struct attr){.size = 48, .policy = SCHED_FIFO};
    R(SET(&attr));
    attr.policy = 99;
    R(SET(&attr));
    attr.policy = -1;
    R(SET(&attr));
    attr = (struct attr){.size = 48, .flags = 1 << 10};
    R(SET(&attr));
    attr = (struct attr){.size = 48, .flags = 8 | 16};
    R(SET(&attr));
    R(sched_getscheduler(0));
    attr = (struct attr){.size = 0, .nice = -99};
    R(SET(&attr));
    R(getpriority(PRIO_PROCESS, 0));
    R(SET(NULL));
    R(SET((void *)8));
    R(syscall(SYS_sched_setattr, 0, &attr, 1));
    // Input and output.
    R(syscall(SYS_ioprio_get, 1, 0));
    R(syscall(SYS_ioprio_set, 1, 0, 2 << 13 | 3));
    R(syscall(SYS_ioprio_get, 1, 0));
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        R(syscall(SYS_ioprio_get, 1, 0));
        exit(0);
    }
    waitpid(child, NULL, 0);
    R(syscall(SYS_ioprio_set, 1, 0, 3 << 13));
    R(syscall(SYS_ioprio_get, 1, 0));
    R(syscall(SYS_ioprio_set, 1, 0, 4 << 13));
    R(syscall(SYS_ioprio_set, 1, 0, 1));
    R(syscall(SYS_ioprio_set, 4, 0, 0));
    R(syscall(SYS_ioprio_set, 1, 999999, 0));
    R(syscall(SYS_ioprio_get, 0, 0));
    R(syscall(SYS_ioprio_get, 2, 999999));
    return 0;
}

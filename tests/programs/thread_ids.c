// Calls that take the id of a process, given that of one of its threads, or one that is none.
#include "test.h"
#include <sched.h>
#include <sys/prctl.h>
#include <linux/futex.h>
static pid_t tid;
static int up[2], down[2];
static void *other(void *arg) {
    tid = gettid();
    setpriority(PRIO_PROCESS, 0, 7);
    char byte = 0;
    NEED(write(up[1], &byte, 1) == 1);
    NEED(read(down[0], &byte, 1) == 1);
    return arg;
}
static void ask(pid_t id) {
    struct sched_param param;
    struct rlimit limit;
    cpu_set_t cpus;
    void *head;
    size_t len;
    struct timespec time;
    char name[40];
    struct stat st;
    R(kill(id, 0));
    R(kill(-id, 0));
    R(syscall(SYS_tkill, id, 0));
    R(syscall(SYS_tgkill, getpid(), id, 0));
    OK(getpgid(id));
    OK(getsid(id));
    R(setpgid(id, 0));
    R(sched_getscheduler(id));
    R(sched_getparam(id, &param));
    param.sched_priority = 0;
    R(sched_setscheduler(id, SCHED_OTHER, &param));
    R(sched_setparam(id, &param));
    OK(sched_getaffinity(id, sizeof cpus, &cpus));
    R(sched_rr_get_interval(id, &time));
    R(getpriority(PRIO_PROCESS, id));
    R(syscall(SYS_ioprio_get, 1, id));
    R(prlimit(id, RLIMIT_CORE, NULL, &limit));
    R(syscall(SYS_get_robust_list, id, &head, &len));
    R(waitpid(id, NULL, WNOHANG));
    siginfo_t info;
    R(waitid(P_PID, id, &info, WEXITED | WNOHANG));
    // CPU clocks of the process, and of the thread, with that id.
    R(syscall(SYS_clock_gettime, ~id << 3 | 2, &time));
    R(syscall(SYS_clock_getres, ~id << 3 | 2, &time));
    R(syscall(SYS_clock_gettime, ~id << 3 | 6, &time));
    R(syscall(SYS_clock_getres, ~id << 3 | 6, &time));
    snprintf(name, sizeof name, "/proc/%d/stat", id);
    R(stat(name, &st));
}
int main(void) {
    NEED(pipe(up) == 0 && pipe(down) == 0);
    pthread_t thread;
    pthread_create(&thread, NULL, other, NULL);
    char byte;
    NEED(read(up[0], &byte, 1) == 1);
    setpgid(0, 0);
    puts("a thread:");
    ask(tid);
    puts("nobody:");
    ask(999999);
    puts("negative:");
    R(sched_getscheduler(-1));
    R(sched_getaffinity(-1, sizeof(cpu_set_t), (void *)8));
    R(getpgid(-1));
    R(getpriority(PRIO_PROCESS, -1));
    R(prlimit(-1, 99, NULL, NULL));
    R(prlimit(-1, 99, (void *)8, NULL));
    R(prlimit(0, 99, NULL, NULL));
    R(syscall(SYS_get_robust_list, -1, NULL, NULL));
    R(setpgid(-1, 0));
    R(setpgid(0, -1));
    R(write(down[1], &byte, 1));
    pthread_join(thread, NULL);
    puts("a thread that ended:");
    R(kill(tid, 0));
    R(getpriority(PRIO_PROCESS, tid));
    return 0;
}

// Who am I: pids, tids, users, sessions, names, limits, capabilities, usage.
#include "test.h"
#include <linux/capability.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
static void *thread(void *unused) {
    YES(gettid() != getpid());
    YES((long)syscall(SYS_getpid) == getpid());
    char name[16] = "";
    R(prctl(PR_SET_NAME, "a-name-that-is-too-long"));
    R(prctl(PR_GET_NAME, name));
    puts(name);
    return unused;
}
int main(void) {
    YES(getpid() == gettid());
    YES(getpid() > 0);
    YES(getppid() >= 0 && getppid() != getpid());
    pthread_t t;
    pthread_create(&t, NULL, thread, NULL);
    pthread_join(t, NULL);
    YES(syscall(SYS_set_tid_address, NULL) == gettid());
    char name[16] = "";
    R(prctl(PR_GET_NAME, name));
    YES(!strcmp(name, "identity"));
    R(prctl(PR_SET_NAME, (char *)8));
    R(prctl(99999, 0, 0, 0, 0));
    R(prctl(PR_GET_DUMPABLE));
    R(prctl(PR_SET_PDEATHSIG, SIGTERM));
    YES(getuid() == geteuid() && getgid() == getegid());
    uid_t r, e, s;
    R(getresuid(&r, &e, &s));
    YES(r == getuid() && s == r);
    YES(getgroups(0, NULL) >= 0);
    YES(getpgrp() == getpgid(0));
    // 0 where the session's leader is in an outer PID namespace, so only compared with itself.
    YES(getsid(0) == getsid(getpid()));
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2];
    R(syscall(SYS_capget, &header, data));
    struct utsname u;
    R(uname(&u));
    printf("%s %s\n", u.sysname, u.machine);
    int major_version = atoi(u.release);
    YES(major_version >= 4);
    struct rlimit l;
    R(getrlimit(RLIMIT_NOFILE, &l));
    YES(l.rlim_cur >= 64);
    l.rlim_cur = 100;
    R(setrlimit(RLIMIT_NOFILE, &l));
    R(getrlimit(RLIMIT_NOFILE, &l));
    R(l.rlim_cur);
    struct rlimit wrong = {10, 5};
    R(setrlimit(RLIMIT_NOFILE, &wrong));
    R(getrlimit(99, &l));
    R(syscall(SYS_prlimit64, 999999999, RLIMIT_NOFILE, NULL, &l));
    struct rusage usage;
    R(getrusage(RUSAGE_SELF, &usage));
    YES(usage.ru_maxrss > 0);
    R(getrusage(RUSAGE_CHILDREN, &usage));
    R(getrusage(99, &usage));
    struct sysinfo info;
    R(sysinfo(&info));
    YES(info.totalram > 0 && info.freeram <= info.totalram && info.procs > 0 && info.mem_unit > 0);
    cpu_set_t cpus;
    R(sched_getaffinity(0, sizeof cpus, &cpus));
    YES(CPU_COUNT(&cpus) >= 1);
    R(syscall(SYS_sched_getaffinity, 0, 1, &cpus));
    YES(sysconf(_SC_NPROCESSORS_ONLN) >= 1);
    unsigned cpu = 9999;
    R(getcpu(&cpu, NULL));
    YES(cpu < 9999);
    R(sched_yield());
    R(sched_getscheduler(0));
    struct sched_param p;
    R(sched_getparam(0, &p));
    R(sched_get_priority_max(SCHED_FIFO));
    YES(getpriority(PRIO_PROCESS, 0) >= -20);
    R(sysconf(_SC_PAGESIZE));
    R(gethostname(name, 0) == 0 || errno == ENAMETOOLONG);
    return 0;
}

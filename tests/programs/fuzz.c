// Every system call with arguments that no program means: nothing may panic or hang, and where
// Linux's answer does not hang on the machine, the answer must be Linux's.
// case a: 0 60
// case b: 60 120
// case c: 120 180
// case d: 180 240
// case e: 240 300
// case f: 300 360
// case g: 360 470
// case beyond: 548 600
// case wild: wild
#include "test.h"
#include <sys/prctl.h>

#ifdef EVERYTHING
// Where there is no machine to be harmed (tests/hostile).
static const int not_called[] = {-1};
#else
// Never called, so that the machine this runs on comes to no harm: they would stop it, change it,
// signal others, or start what can't be watched.
static const int not_called[] = {
    SYS_clone, SYS_fork, SYS_vfork, SYS_clone3, SYS_exit, SYS_kill, SYS_tkill, SYS_tgkill,
    SYS_rt_sigqueueinfo, SYS_rt_tgsigqueueinfo, SYS_pidfd_send_signal, SYS_rt_sigreturn,
    SYS_reboot, SYS_kexec_load, SYS_kexec_file_load, SYS_mount, SYS_umount2, SYS_pivot_root,
    SYS_chroot, SYS_swapon, SYS_swapoff, SYS_sethostname, SYS_setdomainname, SYS_settimeofday,
    SYS_clock_settime, SYS_adjtimex, SYS_clock_adjtime, SYS_init_module, SYS_finit_module,
    SYS_delete_module, SYS_ptrace, SYS_vhangup, SYS_acct, SYS_quotactl, SYS_quotactl_fd,
    SYS_iopl, SYS_ioperm, SYS_setns, SYS_unshare, SYS_nfsservctl, SYS_sync, SYS_syncfs,
    SYS_shmget, SYS_semget, SYS_msgget, SYS_shmctl, SYS_semctl, SYS_msgctl, SYS_shmat,
    SYS_add_key, SYS_request_key, SYS_keyctl, SYS_bpf, SYS_perf_event_open, SYS_move_mount,
    SYS_open_tree, SYS_fsopen, SYS_fsmount, SYS_fsconfig, SYS_fspick, SYS_mount_setattr,
};
#endif

// Called, but their answer is the machine's or the user's: rights, limits, what was built into
// that Linux, values that any argument is good for.
static const int not_compared[] = {
    // always waits
    SYS_pause, SYS_rt_sigsuspend,
    // what this user or container may do
    SYS_setuid, SYS_setgid, SYS_setreuid, SYS_setregid, SYS_setresuid, SYS_setresgid,
    SYS_setgroups, SYS_setfsuid, SYS_setfsgid, SYS_capset, SYS_chown, SYS_lchown, SYS_fchown,
    SYS_fchownat, SYS_mknod, SYS_mknodat, SYS_mlock, SYS_mlock2, SYS_mlockall, SYS_setpriority,
    SYS_sched_setscheduler, SYS_sched_setparam, SYS_sched_setattr, SYS_setrlimit, SYS_prlimit64,
    SYS_syslog, SYS_personality, SYS_ioprio_set, SYS_ioprio_get, SYS_setsid, SYS_setpgid,
    SYS_getpgid, SYS_getsid, SYS_prctl, SYS_seccomp, SYS_userfaultfd, SYS_fanotify_init,
    SYS_fchmod, SYS_open_by_handle_at, SYS_name_to_handle_at, SYS_lookup_dcookie, SYS_getpriority,
    // what a Linux may be built without, or refuse in a container
    SYS_modify_ldt, SYS__sysctl, SYS_uselib, SYS_ustat, SYS_sysfs, SYS_io_uring_setup,
    SYS_io_uring_enter, SYS_io_uring_register, SYS_rseq, SYS_landlock_create_ruleset,
    SYS_landlock_add_rule, SYS_landlock_restrict_self, SYS_memfd_secret, SYS_process_madvise,
    SYS_process_mrelease, SYS_pkey_alloc, SYS_pkey_free, SYS_pkey_mprotect, SYS_mbind,
    SYS_set_mempolicy, SYS_get_mempolicy, SYS_migrate_pages, SYS_move_pages,
    SYS_set_mempolicy_home_node, SYS_mq_open, SYS_mq_unlink, SYS_mq_timedsend,
    SYS_mq_timedreceive, SYS_mq_notify, SYS_mq_getsetattr, SYS_kcmp, SYS_io_setup,
    SYS_io_destroy, SYS_io_getevents, SYS_io_submit, SYS_io_cancel, SYS_io_pgetevents,
    SYS_fanotify_mark, SYS_pidfd_open, SYS_pidfd_getfd, SYS_process_vm_readv,
    SYS_process_vm_writev, SYS_remap_file_pages, SYS_msgsnd, SYS_msgrcv, SYS_semop,
    SYS_semtimedop, SYS_shmdt, SYS_restart_syscall, SYS_futex_waitv, SYS_arch_prctl,
    SYS_set_thread_area, SYS_get_thread_area, SYS_epoll_ctl_old, SYS_epoll_wait_old,
    // xattrs depend on the file system
    SYS_setxattr, SYS_lsetxattr, SYS_fsetxattr, SYS_getxattr, SYS_lgetxattr, SYS_fgetxattr,
    SYS_listxattr, SYS_llistxattr, SYS_flistxattr, SYS_removexattr, SYS_lremovexattr,
    SYS_fremovexattr,
    // checked in another order by other Linux versions
    SYS_mremap, SYS_epoll_wait, SYS_epoll_pwait, SYS_epoll_pwait2,
    // uprobes' own, newer than most
    335, 336,
};

// Later ones are too new for every Linux of today to have them.
#define LAST_COMPARED SYS_process_mrelease

// Their first argument may be the id of somebody who is there on one machine and not on another.
static const int takes_id[] = {
    SYS_sched_setaffinity, SYS_sched_getaffinity, SYS_sched_getparam, SYS_sched_getscheduler,
    SYS_sched_rr_get_interval, SYS_sched_getattr, SYS_get_robust_list, SYS_wait4, SYS_waitid,
};

static char *answers;    // a page shared with the processes that call
static char *area;       // pages of ours, readable and writable
static int file;        // of ours

static int contains(const int *list, size_t count, long number) {
    for (size_t i = 0; i < count; i++)
        if (list[i] == number)
            return 1;
    return 0;
}
#define CONTAINS(list, number) contains(list, sizeof list / sizeof *list, number)

// The library's own would use what a call may just have taken away: thread pointer, stack guard.
static long raw(long number, const unsigned long *a) {
    long result;
    register unsigned long r10 __asm__("r10") = a[3];
    register unsigned long r8 __asm__("r8") = a[4];
    register unsigned long r9 __asm__("r9") = a[5];
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a[0]), "S"(a[1]), "d"(a[2]), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

#define PATTERNS 12
static void fill(unsigned long *a, int pattern) {
    static const unsigned long all[] = {
        0,
        ~0UL,                  // -1
        0xdead0000,            // nothing is there
        0xdead000000000000,    // no address at all
        0xffffffff80200000,    // a kernel's
        0x7fffffffffffffff,    // the largest number
        1,
    };
    for (int i = 0; i < 6; i++)
        a[i] = all[pattern < 7 ? pattern : 2];
    unsigned long here = (unsigned long)area;
    switch (pattern) {
    case 7: // pointers to memory of ours, none aligned
        for (int i = 0; i < 6; i++)
            a[i] = here + 1 + 8 * (unsigned long)i;
        break;
    case 8: // a file, and nothing good behind it
        a[0] = (unsigned long)file;
        break;
    case 9: // a file, memory, a size, no flags
        a[0] = (unsigned long)file, a[1] = here, a[2] = 16, a[3] = a[4] = a[5] = 0;
        break;
    case 10: // the working directory and an empty name
        a[0] = (unsigned long)AT_FDCWD, a[1] = here, a[2] = a[3] = a[4] = a[5] = 0;
        break;
    case 11: // memory, then a size that goes around the end of the address space
        a[0] = here, a[1] = ~0UL - 4095, a[2] = ~0UL - 4095, a[3] = 3, a[4] = a[5] = 0;
        break;
    }
}

// What a call answered, in a process of its own: 0, an errno, or how that process ended.
enum { DIED = 1000, BLOCKED = 2000 };
static int answer_within(long number, int pattern, long ms) {
    struct shared {
        volatile int done, result;
    } *shared = (struct shared *)answers;
    shared->done = 0;
    pid_t pid = fork();
    NEED(pid >= 0);
    if (pid == 0) {
        unsigned long a[6];
        fill(a, pattern);
        struct itimerval soon = {{0, 0}, {ms / 1000, ms % 1000 * 1000}};
        setitimer(ITIMER_REAL, &soon, NULL);
        long result = raw(number, a);
        if (result < 0 && result > -4096)
            shared->result = (int)-result;
        else
            shared->result = 0;
        shared->done = 1;
        static const unsigned long zero[6];
        for (;;)
            raw(SYS_exit_group, zero);
    }
    int status;
    NEED(waitpid(pid, &status, 0) == pid);
    if (shared->done)
        return shared->result;
    if (WIFSIGNALED(status))
        return WTERMSIG(status) == SIGALRM ? BLOCKED : DIED + WTERMSIG(status);
    return WIFEXITED(status) ? -1 : -2;
}

// Only who still waits after seconds is said to wait: machines may be slow.
static int answer(long number, int pattern, int compared) {
    int got = answer_within(number, pattern, 100);
    return got == BLOCKED && compared ? answer_within(number, pattern, 3000) : got;
}

static void show(long number, int compared) {
    char line[512] = "";
    for (int pattern = 0; pattern < PATTERNS; pattern++) {
        if (CONTAINS(takes_id, number) && pattern > 5) {
            strcat(line, " -");
            continue;
        }
        int got = answer(number, pattern, compared);
        char word[32];
        if (got == 0)
            snprintf(word, sizeof word, " ok");
        else if (got >= BLOCKED)
            snprintf(word, sizeof word, " blocked");
        else if (got > DIED)
            snprintf(word, sizeof word, " died:%d", got - DIED);
        else
            snprintf(word, sizeof word, " %s", got < 0 ? "exited" : errno_name(got));
        strcat(line, word);
    }
    if (compared)
        printf("%ld:%s\n", number, line);
}

static void ask(int argc, char **argv) {
    // The answers go out by this one; what calls find at the first three is the same everywhere.
    int out = fcntl(1, F_DUPFD_CLOEXEC, 100), null = open("/dev/null", O_RDWR);
    stdout = fdopen(out, "w");
    NEED(null > 2 && stdout);
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (int fd = 0; fd < 3; fd++)
        dup2(null, fd);
    close(null);
    // A user without rights, where there are users.
    setresgid(65534, 65534, 65534);
    setresuid(65534, 65534, 65534);
    if (!strcmp(argv[1], "wild")) {
        static const long wild[] = {-1, -4095, -4096, 1 << 10, 1 << 16, 0x7fffffff, 1L << 31,
                                    1L << 32, (1L << 32) + 39, LONG_MIN, LONG_MAX,
                                    0x40000000, 0x40000000 + 39, 0x40000000 + 511};
        for (size_t i = 0; i < sizeof wild / sizeof *wild; i++)
            show(wild[i], 1);
        return;
    }
    long end = argc > 2 ? atol(argv[2]) : 0;
    for (long number = atol(argv[1]); number < end; number++)
        if (!CONTAINS(not_called, number))
            show(number, number <= LAST_COMPARED && !CONTAINS(not_compared, number));
}

int main(int argc, char **argv) {
    if (argc < 2)
        return 2;
    enter_dir();
    put_file("file", "0123456789abcdef0123456789abcdef");
    file = open("file", O_RDWR);
    NEED(file >= 0);
    // Always the same one.
    if (file != 3)
        NEED(dup2(file, 3) == 3 && close(file) == 0);
    file = 3;
    close_range(4, ~0U, 0);
    // Where these are decides what some calls answer.
    answers = mmap((char *)0x1000000000, 4096, PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    area = mmap((char *)0x1020000000, 65536, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    NEED(answers == (char *)0x1000000000 && area == (char *)0x1020000000);
    memset(area, 0, 65536);
    chmod(test_dir, 0777);
#ifdef EVERYTHING
    signal(SIGHUP, SIG_IGN); // kill(1, 1)
#endif
    pid_t worker = fork();
    if (worker == 0) {
        ask(argc, argv);
        fflush(stdout);
        _exit(0);
    }
    int status;
    NEED(waitpid(worker, &status, 0) == worker && status == 0);
    return 0;
}

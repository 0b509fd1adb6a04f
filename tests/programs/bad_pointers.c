// System calls given wild pointers answer EFAULT and harm nothing.
#include "test.h"
#include <sys/epoll.h>
#include <sys/utsname.h>
#include <sys/sysinfo.h>
#include <sched.h>
int main(void) {
    enter_dir();
    char *wild[] = {(char *)8, (char *)0x7ffffffff000UL, (char *)0x800000000000UL,
                    (char *)0xdead000000000000UL, (char *)0xffff808000000000UL,
                    (char *)0xffffffff80200000UL, (char *)-8L};
    int pipes[2], fd = open("f", O_RDWR | O_CREAT, 0600);
    NEED(pipe(pipes) == 0);
    NEED(write(fd, "0123456789", 10) == 10 && write(pipes[1], "abc", 3) == 3);
    for (int i = 0; i < 7; i++) {
        printf("pointer %d\n", i);
        char *p = wild[i];
        R(pread(fd, p, 5, 0));
        R(pwrite(fd, p, 5, 0));
        R(read(pipes[0], p, 1));
        R(write(pipes[1], p, 1));
        R(write(1, p, 1));
        R(syscall(SYS_pipe, p));
        R(syscall(SYS_uname, p));
        R(syscall(SYS_rt_sigaction, SIGUSR1, p, NULL, 8));
        R(syscall(SYS_rt_sigaction, SIGUSR1, NULL, p, 8));
        R(syscall(SYS_rt_sigprocmask, SIG_BLOCK, p, NULL, 8));
        R(syscall(SYS_nanosleep, p, NULL));
        R(syscall(SYS_clock_gettime, CLOCK_MONOTONIC, p));
        R(syscall(SYS_futex, p, 128, 1, NULL));
        R(syscall(SYS_poll, p, 1, 0));
        R(syscall(SYS_getrandom, p, 4, 0));
        R(syscall(SYS_sched_getaffinity, 0, 128, p));
        R(syscall(SYS_prlimit64, 0, RLIMIT_STACK, NULL, p));
        R(syscall(SYS_sysinfo, p));
        R(syscall(SYS_getrusage, RUSAGE_SELF, p));
        R(syscall(SYS_set_robust_list, p, 24));
    }
    // A buffer whose second page is missing: all or the part that fits, but no harm.
    char *edge = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    munmap(edge + 4096, 4096);
    long n = read(pipes[0], edge + 4094, 3);
    YES(n == 2 || (n == -1 && errno == EFAULT));
    n = write(pipes[1], edge + 4094, 4);
    YES(n == 2 || (n == -1 && errno == EFAULT));
    char *none = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    R(write(fd, none, 1));
    R(pread(fd, none, 1, 0));
    char *text = (char *)(uintptr_t)&main;
    R(pread(fd, text, 1, 0)); // mapped read-only
    show_file("f");
    return 0;
}

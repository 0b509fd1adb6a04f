// signalfd: blocked signals become records; order, values, poll.
#include "test.h"
#include <sys/signalfd.h>
int main(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGUSR2);
    sigaddset(&set, SIGRTMIN);
    sigprocmask(SIG_BLOCK, &set, NULL);
    int fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    NEED(fd >= 0);
    struct signalfd_siginfo info[4];
    R(read(fd, info, sizeof *info));
    raise(SIGUSR1);
    raise(SIGUSR1); // standard signals do not queue
    sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = 11});
    sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = 22});
    struct pollfd p = {fd, POLLIN, 0};
    R(poll(&p, 1, 0));
    ssize_t n = read(fd, info, sizeof info);
    printf("%zd records\n", n / (ssize_t)sizeof *info);
    for (int i = 0; i < n / (ssize_t)sizeof *info; i++)
        printf("signo %u int %d self %d\n", info[i].ssi_signo, info[i].ssi_int,
               info[i].ssi_pid == (unsigned)getpid());
    R(read(fd, info, 10));
    R(poll(&p, 1, 0));
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    R(signalfd(fd, &set, 0) == fd);
    raise(SIGUSR1);
    R(read(fd, info, sizeof *info));
    raise(SIGUSR2);
    R(read(fd, info, sizeof *info) == sizeof *info);
    R(info[0].ssi_signo);
    return 0;
}

// sigqueue: values arrive in order with the sender's name; what a program may claim in si_code.
#include "test.h"
static volatile int count, values[10], codes[10];
static void on_signal(int sig, siginfo_t *info, void *context) {
    (void)sig, (void)context;
    values[count] = info->si_value.sival_int;
    codes[count++] = info->si_code;
    if (info->si_pid != getpid() || info->si_uid != getuid())
        values[count - 1] = -1;
}
static long raw(pid_t pid, int sig, int code) {
    siginfo_t info;
    memset(&info, 0, sizeof info);
    info.si_code = code;
    info.si_pid = getpid();
    info.si_uid = getuid();
    info.si_value.sival_int = 99;
    return syscall(SYS_rt_sigqueueinfo, pid, sig, &info);
}
int main(void) {
    handle(SIGRTMIN, on_signal, 0);
    handle(SIGUSR1, on_signal, 0);
    sigset_t set, old;
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, &old);
    for (int i = 1; i <= 4; i++)
        R(sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = i * 11}));
    for (int i = 1; i <= 3; i++) // standard ones do not queue
        R(sigqueue(getpid(), SIGUSR1, (union sigval){.sival_int = i}));
    sigprocmask(SIG_SETMASK, &old, NULL);
    R(count);
    for (int i = 0; i < count; i++)
        printf("value %d code %d\n", values[i], codes[i]);
    count = 0;
    R(raw(getpid(), SIGRTMIN, SI_QUEUE));
    R(raw(getpid(), SIGRTMIN, SI_USER)); // to oneself anything goes
    R(raw(getpid(), SIGRTMIN, SI_TKILL));
    R(raw(getpid(), SIGRTMIN, -100));
    for (int i = 0; i < count; i++)
        printf("value %d code %d\n", values[i], codes[i]);
    pid_t pid = fork();
    if (pid == 0) {
        for (;;)
            pause();
    }
    R(raw(pid, 0, SI_QUEUE));
    R(raw(pid, SIGTERM, SI_USER)); // to others not
    R(raw(pid, SIGTERM, SI_TKILL));
    R(raw(pid, SIGTERM, SI_QUEUE));
    int status;
    waitpid(pid, &status, 0);
    R(status);
    R(sigqueue(getpid(), 65, (union sigval){0}));
    R(sigqueue(999999999, 0, (union sigval){0}));
    R(sigqueue(getpid(), 0, (union sigval){0}));
    return 0;
}

// What one process may learn of another: kcmp, process_vm_readv and _writev; capabilities; futexes where
// no memory is.
#include "test.h"
#include <linux/capability.h>
#include <linux/futex.h>
#include <linux/kcmp.h>
#include <sched.h>
#include <sys/prctl.h>
static long compare(pid_t a, pid_t b, int type, unsigned long i, unsigned long j) {
    long order = syscall(SYS_kcmp, a, b, type, i, j);
    return order > 0 ? 1 : order;
}
static char text[20000], memory[20000];
static long get(struct __user_cap_data_struct *data, int pid) {
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, pid};
    return syscall(SYS_capget, &header, data);
}
static long set(struct __user_cap_data_struct *data, int pid) {
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, pid};
    return syscall(SYS_capset, &header, data);
}
static void peers(void) {
    pid_t own = getpid(), child = fork();
    if (child == 0) {
        pause();
        _exit(0);
    }
    int copy = dup(1), other = open("/", O_RDONLY);
    R(compare(own, own, KCMP_FILE, 1, copy));
    R(compare(own, own, KCMP_FILE, 1, other));
    R(compare(own, child, KCMP_FILE, 1, 1));
    R(compare(own, child, KCMP_FILE, other, other));
    R(compare(own, own, KCMP_FILE, 1, 99));
    for (int type = KCMP_VM; type <= KCMP_SYSVSEM; type++)
        printf("%d: %ld %ld\n", type, compare(own, own, type, 0, 0), compare(own, child, type, 0, 0));
    R(compare(own, own, 99, 0, 0));
    R(compare(own, 999999, 99, 0, 0));
    R(compare(0, own, KCMP_VM, 0, 0));
    // Memory.
    memset(text, 'x', sizeof text);
    struct iovec ours[2] = {{text, 10}, {text + 100, 15000}}, theirs[2] = {{memory, 9000}, {memory + 9000, 6010}};
    R(process_vm_writev(child, ours, 2, theirs, 2, 0));
    memset(text, 0, sizeof text);
    R(process_vm_readv(child, ours, 2, theirs, 2, 0));
    YES(text[0] == 'x' && text[9] == 'x' && text[10] == 0 && text[100] == 'x' && text[15099] == 'x');
    R(memory[0]);
    R(process_vm_readv(child, ours, 2, theirs, 1, 0));
    R(process_vm_readv(child, ours, 2, theirs, 2, 1));
    R(process_vm_readv(child, ours, 0, theirs, 2, 0));
    R(process_vm_readv(child, ours, 2, theirs, 0, 0));
    R(process_vm_readv(999999, ours, 0, theirs, 2, 0));
    R(process_vm_readv(999999, ours, 2, theirs, 2, 0));
    R(process_vm_readv(999999, ours, 2000, theirs, 2, 0));
    R(process_vm_readv(child, (void *)8, 2, theirs, 2, 0));
    R(process_vm_readv(child, ours, 2, (void *)8, 2, 0));
    theirs[0].iov_base = (void *)8;
    R(process_vm_readv(child, ours, 2, theirs, 2, 0));
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
}
static void capabilities(void) {
    struct __user_cap_data_struct data[2];
    struct __user_cap_header_struct header = {1, 0};
    R(syscall(SYS_capget, &header, NULL));
    printf("%x\n", header.version);
    header.version = 1;
    R(syscall(SYS_capget, &header, data));
    header.version = 1;
    R(syscall(SYS_capset, &header, data));
    R(syscall(SYS_capget, (void *)8, data));
    R(get(data, -1));
    R(get(data, 999999));
    R(get((void *)8, 0));
    R(set((void *)8, 0));
    R(set((void *)8, 999999));
    R(get(data, 0));
    R(get(data, getpid()));
    data[0].effective = 1 << CAP_CHOWN | 1 << CAP_SETPCAP;
    data[0].permitted = 1 << CAP_CHOWN | 1 << CAP_SETPCAP;
    data[0].inheritable = 1 << CAP_KILL;
    data[1] = (struct __user_cap_data_struct){0};
    R(set(data, 0));
    data[0].effective = 1 << CAP_CHOWN;
    data[0].inheritable = 0;
    R(set(data, 0));
    R(get(data, 0));
    printf("%x %x %x\n", data[0].effective, data[0].permitted, data[0].inheritable);
    R(prctl(PR_CAPBSET_DROP, 1, 0, 0, 0));
    R(prctl(PR_SET_SECUREBITS, 0, 0, 0, 0));
    data[0].permitted = -1;
    R(set(data, 0));
    data[0].permitted = 1 << CAP_CHOWN;
    data[0].effective = 1 << CAP_KILL;
    R(set(data, 0));
}
static void futexes(void) {
    void *none = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    void *fixed = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    void *shared = mmap(NULL, 4096, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct timespec soon = {0, 1000};
    int word = 0;
    R(syscall(SYS_futex, none, FUTEX_WAKE, 1));
    R(syscall(SYS_futex, fixed, FUTEX_WAKE, 1));
    R(syscall(SYS_futex, shared, FUTEX_WAKE, 1));
    R(syscall(SYS_futex, none, FUTEX_WAKE_PRIVATE, 1));
    R(syscall(SYS_futex, none, FUTEX_WAIT_PRIVATE, 0, &soon));
    R(syscall(SYS_futex, ~3UL, FUTEX_WAKE_PRIVATE, 1));
    R(syscall(SYS_futex, 1, FUTEX_WAKE_PRIVATE, 1));
    R(syscall(SYS_futex, &word, FUTEX_WAIT | FUTEX_CLOCK_REALTIME, 0, &soon));
    R(syscall(SYS_futex, &word, FUTEX_WAKE | FUTEX_CLOCK_REALTIME, 0));
    R(syscall(SYS_futex, &word, FUTEX_WAIT_BITSET, 0, &soon, 0, 0));
    R(syscall(SYS_futex, &word, 99, 0));
    R(syscall(SYS_futex, &word, FUTEX_WAIT | 1024, 0));
    R(syscall(SYS_futex, &word, FUTEX_WAIT, 1, (void *)8));
    soon.tv_nsec = -1;
    R(syscall(SYS_futex, &word, FUTEX_WAIT, 1, &soon));
    R(syscall(SYS_set_robust_list, NULL, 23));
}
int main(void) {
    futexes();
    peers();
    capabilities();
    return 0;
}

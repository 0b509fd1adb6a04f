// prctl, option by option: ranges, arguments that must be 0, pointers that are none; membarrier; groups.
#include "test.h"
#include <grp.h>
#include <sys/prctl.h>
#include <linux/securebits.h>
#define P(option, ...) R(prctl(option, __VA_ARGS__))
static int value;
static long barrier(int command, int flags) { return syscall(SYS_membarrier, command, flags, 0); }
static void in_child(void (*show)(void)) {
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        show();
        exit(0);
    }
    waitpid(child, NULL, 0);
}
static void show_kept(void) {
    P(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0);
    P(PR_GET_TIMERSLACK, 0, 0, 0, 0);
    P(PR_SET_TIMERSLACK, 0, 0, 0, 0);
    P(PR_GET_TIMERSLACK, 0, 0, 0, 0);
    P(PR_GET_PDEATHSIG, &value, 0, 0, 0);
    R(value);
    P(PR_MCE_KILL_GET, 0, 0, 0, 0);
    P(PR_GET_THP_DISABLE, 0, 0, 0, 0);
    P(PR_CAPBSET_READ, 40, 0, 0, 0);
    P(PR_GET_CHILD_SUBREAPER, &value, 0, 0, 0);
    R(value);
}
static void show_groups(void) {
    gid_t groups[8] = {0};
    int count = getgroups(8, groups);
    R(count);
    for (int i = 0; i < count; i++)
        printf("%d ", (int)groups[i]);
    FILE *status = fopen("/proc/self/status", "r");
    char line[256];
    while (fgets(line, sizeof line, status))
        if (!strncmp(line, "Groups:", 7) || !strncmp(line, "NoNewPrivs:", 11))
            printf("%s", line);
    fclose(status);
}
static void show_groups_of_program(void) {
    execl("/proc/self/exe", "self", "groups", NULL);
}
static void options(void) {
    P(PR_SET_PDEATHSIG, 65, 0, 0, 0);
    P(PR_SET_PDEATHSIG, -1, 0, 0, 0);
    P(PR_SET_PDEATHSIG, SIGUSR2, 9, 9, 9);
    P(PR_GET_PDEATHSIG, &value, 9, 9, 9);
    R(value);
    P(PR_GET_PDEATHSIG, 8, 0, 0, 0);
    P(PR_SET_DUMPABLE, 2, 0, 0, 0);
    P(PR_SET_DUMPABLE, -1, 0, 0, 0);
    P(PR_GET_DUMPABLE, 9, 9, 9, 9);
    P(PR_SET_NAME, 8, 0, 0, 0);
    P(PR_SET_NAME, "a name that is too long", 9, 9, 9);
    char name[17] = "";
    P(PR_GET_NAME, name, 9, 9, 9);
    printf("%s\n", name);
    P(PR_GET_NAME, 8, 0, 0, 0);
    P(PR_GET_KEEPCAPS, 0, 0, 0, 0);
    P(PR_SET_KEEPCAPS, 2, 0, 0, 0);
    P(PR_SET_KEEPCAPS, 1, 0, 0, 0);
    P(PR_GET_KEEPCAPS, 0, 0, 0, 0);
    P(PR_GET_SECUREBITS, 0, 0, 0, 0);
    P(PR_SET_KEEPCAPS, 0, 0, 0, 0);
    P(PR_GET_TIMING, 0, 0, 0, 0);
    P(PR_SET_TIMING, 1, 0, 0, 0);
    P(PR_SET_TIMING, 0, 0, 0, 0);
    P(PR_GET_TSC, &value, 0, 0, 0);
    R(value);
    P(PR_GET_TSC, 8, 0, 0, 0);
    P(PR_SET_TSC, 3, 0, 0, 0);
    P(PR_SET_TSC, PR_TSC_ENABLE, 0, 0, 0);
    P(PR_SET_TIMERSLACK, 1234, 0, 0, 0);
    P(PR_GET_TIMERSLACK, 0, 0, 0, 0);
    P(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_EARLY, 0, 1);
    P(PR_MCE_KILL, PR_MCE_KILL_SET, 3, 0, 0);
    P(PR_MCE_KILL, 2, 0, 0, 0);
    P(PR_MCE_KILL, PR_MCE_KILL_CLEAR, 1, 0, 0);
    P(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_EARLY, 0, 0);
    P(PR_MCE_KILL_GET, 0, 0, 0, 0);
    P(PR_MCE_KILL_GET, 1, 0, 0, 0);
    P(PR_SET_CHILD_SUBREAPER, 5, 1, 1, 1);
    P(PR_GET_CHILD_SUBREAPER, &value, 1, 1, 1);
    R(value);
    P(PR_GET_CHILD_SUBREAPER, 8, 0, 0, 0);
    P(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0);
    P(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0);
    P(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 1);
    P(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0);
    P(PR_SET_NO_NEW_PRIVS, 1, 1, 0, 0);
    P(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 1);
    P(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    P(PR_SET_THP_DISABLE, 1, 0, 0, 1);
    P(PR_SET_THP_DISABLE, 1, 0, 0, 0);
    P(PR_GET_THP_DISABLE, 1, 0, 0, 0);
    P(PR_GET_THP_DISABLE, 0, 0, 0, 0);
    P(PR_CAPBSET_READ, 0, 0, 0, 0);
    P(PR_CAPBSET_READ, 100, 0, 0, 0);
    P(PR_CAPBSET_DROP, 100, 0, 0, 0);
    P(PR_CAPBSET_DROP, 40, 0, 0, 0);
    P(PR_CAPBSET_READ, 40, 0, 0, 0);
    P(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    P(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 1, 0, 0);
    P(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, 1, 0, 0);
    P(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, 100, 0, 0);
    P(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, 1, 1, 0);
    P(PR_CAP_AMBIENT, PR_CAP_AMBIENT_LOWER, 1, 0, 0);
    P(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, 1, 0, 0);
    P(PR_CAP_AMBIENT, 9, 1, 0, 0);
    P(PR_GET_SPECULATION_CTRL, 0, 1, 0, 0);
    P(PR_GET_SPECULATION_CTRL, 99, 0, 0, 0);
    P(PR_SET_SPECULATION_CTRL, 99, 0, 0, 0);
    P(PR_SET_SPECULATION_CTRL, 0, 0, 1, 0);
    P(66, 1, 0, 0, 0);
    P(66, 0, 0, 0, 0);
    P(65, 0, 1, 0, 0);
    P(65, 1 << 10, 0, 0, 0);
    P(PR_SET_MM, 1, 0, 0, 1);
    P(PR_SET_SECCOMP, 9, 0, 0, 0);
    P(PR_GET_FPEMU, &value, 0, 0, 0);
    P(PR_SET_UNALIGN, 1, 0, 0, 0);
    P(PR_GET_ENDIAN, &value, 0, 0, 0);
    P(PR_MPX_ENABLE_MANAGEMENT, 0, 0, 0, 0);
    P(999, 0, 0, 0, 0);
    P(-1, 0, 0, 0, 0);
    P(PR_GET_SECCOMP, 9, 9, 9, 9);
}
int main(int argc, char **argv) {
    if (argc > 1 && !strcmp(argv[1], "groups")) {
        show_groups();
        return 0;
    }
    // Groups.
    gid_t some[] = {30, 10, 20}, none[] = {-1};
    R(setgroups(3, some));
    show_groups();
    in_child(show_groups);
    in_child(show_groups_of_program);
    R(getgroups(0, NULL));
    R(getgroups(2, some));
    R(syscall(SYS_getgroups, -1, some));
    R(syscall(SYS_getgroups, 3, (void *)8));
    R(syscall(SYS_setgroups, 3, (void *)8));
    R(setgroups(1, none));
    R(syscall(SYS_setgroups, 65537, some));
    R(syscall(SYS_setgroups, -1, some));
    show_groups();
    R(setgroups(0, NULL));
    show_groups();
    // Barriers.
    R(barrier(0, 0) & 0x7f);
    R(barrier(0, 1));
    R(barrier(1 << 3, 0));
    R(barrier(1 << 5, 0));
    R(barrier(1 << 1, 0));
    R(barrier(1, 0));
    R(barrier(3, 0));
    R(barrier(1 << 12, 0));
    R(barrier(-1, 0));
    R(barrier(1 << 4, 1));
    R(barrier(1 << 9, 0));
    R(barrier(1 << 4, 0));
    R(barrier(1 << 9, 0));
    R(barrier(1 << 3, 0));
    R(barrier(1 << 5, 0));
    R(barrier(1 << 6, 0));
    R(barrier(1 << 5, 0));
    options();
    puts("child:");
    in_child(show_kept);
    // Secure bits last: what is locked stays so.
    P(PR_SET_SECUREBITS, 1 << 20, 0, 0, 0);
    P(PR_SET_SECUREBITS, SECBIT_KEEP_CAPS_LOCKED, 0, 0, 0);
    P(PR_GET_SECUREBITS, 0, 0, 0, 0);
    P(PR_SET_KEEPCAPS, 1, 0, 0, 0);
    P(PR_SET_SECUREBITS, 0, 0, 0, 0);
    return 0;
}

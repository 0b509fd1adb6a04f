// The status a program leaves with, by each way to leave.
// case zero: exit 0
// case large: exit 255
// case wraps: exit 259
// case negative: exit -1
// case quick: _exit 42
// case syscall: exit_group 9
// case thread: thread 11
// case main-thread-leaves: main 0
#include "test.h"
static void at_exit(void) { puts("atexit ran"); }
static void *leave(void *status) { exit((int)(long)status); }
static void *last(void *unused) {
    sleep_ms(20);
    puts("the last thread ends the process");
    return unused;
}
int main(int argc, char **argv) {
    NEED(argc == 3);
    atexit(at_exit);
    long status = atol(argv[2]);
    puts(argv[1]);
    pthread_t thread;
    if (!strcmp(argv[1], "exit"))
        exit(status);
    if (!strcmp(argv[1], "_exit"))
        _exit(status);
    if (!strcmp(argv[1], "exit_group"))
        syscall(SYS_exit_group, status);
    if (!strcmp(argv[1], "thread")) {
        NEED(pthread_create(&thread, NULL, leave, (void *)status) == 0);
        pause();
    }
    NEED(pthread_create(&thread, NULL, last, NULL) == 0);
    pthread_exit(NULL);
}

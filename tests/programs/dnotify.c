// F_NOTIFY: a signal for what happens in a directory, once or again and again.
#include "test.h"
static volatile sig_atomic_t count, last_signal, last_code, last_fd;
static void note(int s, siginfo_t *info, void *c) {
    count++;
    last_signal = s;
    last_code = info->si_code;
    last_fd = info->si_fd;
}
static void seen(const char *what) {
    printf("%s: %d\n", what, count);
    count = 0;
}
int main(void) {
    enter_dir();
    NEED(mkdir("d", 0755) == 0);
    put_file("d/f", "x");
    handle(SIGIO, note, SA_RESTART);
    handle(SIGRTMIN, note, SA_RESTART);
    int d = open("d", O_RDONLY), f = open("d/f", O_RDWR);
    R(fcntl(f, F_NOTIFY, DN_ACCESS));
    R(fcntl(f, F_NOTIFY, 0));
    R(fcntl(99, F_NOTIFY, DN_ACCESS));
    R(fcntl(d, F_NOTIFY, 0));
    R(fcntl(d, F_NOTIFY, DN_MULTISHOT));
    R(fcntl(d, F_NOTIFY, DN_CREATE));
    YES(fcntl(d, F_GETOWN) == getpid());
    put_file("d/one", "1");
    seen("create");
    put_file("d/two", "2");
    seen("create again");
    // The argument is a long; only its lower half is looked at.
    R(syscall(SYS_fcntl, d, F_NOTIFY, 0xff00000080000000UL | DN_CREATE | DN_DELETE));
    put_file("d/three", "3");
    put_file("d/four", "4");
    seen("two creations");
    unlink("d/one");
    mkdir("d/sub", 0755);
    rmdir("d/sub");
    seen("unlink, mkdir, rmdir");
    rename("d/two", "d/too");
    seen("rename in it");
    rename("d/too", "too");
    seen("rename out");
    char b[1];
    read(f, b, 1);
    seen("access");
    R(fcntl(d, F_NOTIFY, DN_MULTISHOT | DN_ACCESS | DN_MODIFY | DN_ATTRIB | DN_RENAME));
    pread(f, b, 1, 0);
    seen("access");
    write(f, "y", 1);
    seen("modify");
    chmod("d/f", 0600);
    seen("chmod");
    rename("d/three", "d/tree");
    seen("rename");
    rename("d/tree", "tree");
    seen("rename out");
    rename("tree", "d/tree");
    seen("rename in");
    R(fcntl(d, F_NOTIFY, 0));
    R(fcntl(d, F_NOTIFY, DN_MULTISHOT | DN_RENAME));
    rename("d/tree", "tree");
    seen("rename out, not asked for");
    rename("tree", "d/tree");
    seen("rename in, not asked for");
    R(fcntl(d, F_NOTIFY, DN_MULTISHOT | DN_ACCESS));
    R(fcntl(d, F_GETSIG));
    R(fcntl(d, F_SETSIG, 65));
    R(fcntl(d, F_SETSIG, -1));
    R(fcntl(d, F_SETSIG, SIGRTMIN));
    R(fcntl(d, F_GETSIG) == SIGRTMIN);
    pread(f, b, 1, 0);
    seen("access");
    printf("signal %d code %d fd %d\n", last_signal == SIGRTMIN, last_code, last_fd == d);
    R(fcntl(d, F_NOTIFY, 0));
    pread(f, b, 1, 0);
    seen("none");
    R(fcntl(d, F_NOTIFY, DN_MULTISHOT | DN_ACCESS));
    int copy = dup(d);
    close(d);
    pread(f, b, 1, 0);
    seen("closed");
    close(copy);
    return 0;
}

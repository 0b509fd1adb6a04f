// Record locks: which conflicting lock is told, ranges that grow together, circles of waiting
// processes, and what the two kinds say of odd requests.
#include "test.h"
#include <sys/file.h>
static int fd, other;
static int lock(int command, short type, off_t start, off_t length) {
    struct flock l = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = length};
    return fcntl(fd, command, &l);
}
static void show(int at, int command, short type, int whence, off_t start, off_t length) {
    struct flock l = {.l_type = type, .l_whence = whence, .l_start = start, .l_len = length};
    errno = 0;
    int r = fcntl(at, command, &l);
    printf("get %d %ld+%ld: %d %s", type, (long)start, (long)length, r, errno_name(errno));
    if (r == 0)
        printf(" type %d whence %d %ld+%ld pid %s", l.l_type, l.l_whence, (long)l.l_start,
               (long)l.l_len, !l.l_pid ? "0" : l.l_pid == -1 ? "-1" : l.l_pid == getppid() ? "parent" : "?");
    printf("\n");
}
static int in_child(void (*f)(void)) {
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        f();
        fflush(stdout);
        _exit(0);
    }
    int status;
    waitpid(child, &status, 0);
    return status;
}
static void look(void) {
    show(fd, F_GETLK, F_WRLCK, SEEK_SET, 0, 0);
    show(fd, F_GETLK, F_RDLCK, SEEK_SET, 0, 0);
    show(fd, F_GETLK, F_WRLCK, SEEK_SET, 30, 5);
    show(fd, F_GETLK, F_WRLCK, SEEK_END, -5, 0);
    show(fd, F_GETLK, F_WRLCK, SEEK_SET, 30, -10);
    show(fd, F_OFD_GETLK, F_WRLCK, SEEK_SET, 0, 0);
    show(fd, F_OFD_GETLK, F_UNLCK, SEEK_SET, 0, 0);
    show(fd, F_GETLK, F_UNLCK, SEEK_SET, 0, 0);
}
// Process I of N holds byte I and waits for byte I+1; the last one closes the circle.
static void circle(int n) {
    int ready[2], go[2];
    NEED(pipe(ready) == 0 && pipe(go) == 0);
    pid_t children[8];
    for (int i = 1; i < n; i++) {
        if ((children[i] = fork()) == 0) {
            char c;
            close(go[1]);
            NEED(lock(F_SETLK, F_WRLCK, i, 1) == 0);
            write(ready[1], "!", 1);
            // Until the process above waits (the last one's neighbour is the parent).
            read(go[0], &c, 1);
            _exit(lock(F_SETLKW, F_WRLCK, (i + 1) % n, 1) == 0 ? 7 : errno);
        }
        char c;
        read(ready[0], &c, 1);
    }
    NEED(lock(F_SETLK, F_WRLCK, 0, 1) == 0);
    for (int i = 1; i < n; i++)
        write(go[1], "!", 1);
    // All but the parent wait, or the last of them has found the circle that the parent closes.
    int result = lock(F_SETLKW, F_WRLCK, 1, 1) == 0 ? 0 : errno;
    int deadlocks = result == EDEADLK;
    lock(F_SETLK, F_UNLCK, 0, 2);
    for (int i = 1; i < n; i++) {
        int status;
        waitpid(children[i], &status, 0);
        deadlocks += WEXITSTATUS(status) == EDEADLK;
    }
    printf("circle of %d: %s\n", n, deadlocks > 0 ? "EDEADLK" : errno_name(result));
    close(ready[0]), close(ready[1]), close(go[0]), close(go[1]);
}
static void raw(const char *what, int at, int command, short type, short whence, off_t start, off_t len, pid_t pid) {
    struct flock l = {type, whence, start, len, pid};
    errno = 0;
    int r = fcntl(at, command, &l);
    printf("%s: %d %s\n", what, r, errno_name(errno));
}
static volatile sig_atomic_t rang;
static void ring(int s, siginfo_t *i, void *c) { rang++; }
int main(void) {
    enter_dir();
    put_file("f", "0123456789012345678901234567890123456789");
    fd = open("f", O_RDWR);
    other = open("f", O_RDWR);
    NEED(fd >= 0 && other >= 0);
    NEED(lock(F_SETLK, F_WRLCK, 60, 10) == 0);
    NEED(lock(F_SETLK, F_RDLCK, 20, 10) == 0);
    NEED(lock(F_SETLK, F_WRLCK, 40, 10) == 0);
    in_child(look);
    NEED(lock(F_SETLK, F_WRLCK, 50, 10) == 0);
    NEED(lock(F_SETLK, F_RDLCK, 30, 10) == 0);
    in_child(look);
    NEED(lock(F_SETLK, F_UNLCK, 25, 20) == 0);
    in_child(look);
    NEED(lock(F_SETLK, F_RDLCK, 0, 0) == 0);
    in_child(look);
    NEED(lock(F_SETLK, F_UNLCK, 0, 0) == 0);

    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 5, .l_len = 5};
    R(fcntl(other, F_OFD_SETLK, &whole));
    show(fd, F_GETLK, F_RDLCK, SEEK_SET, 0, 0);
    show(fd, F_OFD_GETLK, F_RDLCK, SEEK_SET, 0, 0);
    show(other, F_OFD_GETLK, F_UNLCK, SEEK_SET, 0, 0);
    show(other, F_OFD_GETLK, F_WRLCK, SEEK_SET, 0, 0);
    R(lock(F_SETLK, F_RDLCK, 9, 1));
    R(lock(F_SETLK, F_RDLCK, 10, 1));
    // An OFD lock goes with its last descriptor, not with the first.
    int copy = dup(other);
    close(other);
    R(lock(F_SETLK, F_RDLCK, 9, 1));
    close(copy);
    R(lock(F_SETLK, F_RDLCK, 9, 1));
    other = open("f", O_RDWR);
    // A POSIX lock goes with any descriptor of the file.
    close(other);
    other = open("f", O_RDWR);
    show(other, F_OFD_GETLK, F_WRLCK, SEEK_SET, 0, 0);

    int reader = open("f", O_RDONLY), writer = open("f", O_WRONLY), path = open("f", O_PATH);
    raw("write lock, read only", reader, F_SETLK, F_WRLCK, 0, 0, 1, 0);
    raw("read lock, write only", writer, F_SETLK, F_RDLCK, 0, 0, 1, 0);
    raw("OFD write lock, read only, pid", reader, F_OFD_SETLK, F_WRLCK, 0, 0, 1, 5);
    raw("OFD with pid", fd, F_OFD_SETLK, F_WRLCK, 0, 0, 1, 5);
    raw("OFD get with pid", fd, F_OFD_GETLK, F_WRLCK, 0, 0, 1, 5);
    raw("type 3", fd, F_SETLK, 3, 0, 0, 1, 0);
    raw("type 3 to get", fd, F_GETLK, 3, 9, 0, 1, 0);
    raw("type 3 to get, OFD", fd, F_OFD_GETLK, 3, 0, 0, 1, 0);
    raw("whence 3", fd, F_SETLK, F_RDLCK, 3, 0, 1, 0);
    raw("before the start", fd, F_SETLK, F_RDLCK, 0, -1, 1, 0);
    raw("length before the start", fd, F_SETLK, F_RDLCK, 0, 4, -5, 0);
    raw("length to the start", fd, F_SETLK, F_RDLCK, 0, 4, -4, 0);
    raw("beyond the last byte", fd, F_SETLK, F_RDLCK, 0, LONG_MAX, 2, 0);
    raw("the last byte", fd, F_SETLK, F_RDLCK, 0, LONG_MAX, 1, 0);
    raw("whence end, beyond", fd, F_SETLK, F_RDLCK, 2, LONG_MAX, 1, 0);
    raw("no address", fd, F_SETLK, 0, 0, 0, 0, 0);
    R(fcntl(fd, F_SETLK, (void *)8));
    R(fcntl(fd, F_GETLK, (void *)8));
    raw("O_PATH", path, F_SETLK, F_RDLCK, 0, 0, 1, 0);
    R(flock(path, LOCK_SH));
    R(flock(fd, 0));
    R(flock(99, 0));
    R(flock(99, LOCK_SH));
    lock(F_SETLK, F_UNLCK, 0, 0);

    for (int n = 2; n <= 4; n++)
        circle(n);

    printf("-- flock\n");
    R(flock(fd, LOCK_SH));
    R(flock(other, LOCK_SH | LOCK_NB));
    R(flock(fd, LOCK_EX | LOCK_NB));
    R(flock(other, LOCK_EX | LOCK_NB));
    R(flock(reader, LOCK_EX | LOCK_NB));
    close(other);
    R(flock(reader, LOCK_EX | LOCK_NB));

    printf("-- a signal ends the wait\n");
    handle(SIGALRM, ring, 0);
    int hold[2], up[2];
    NEED(pipe(hold) == 0 && pipe(up) == 0);
    pid_t child = fork();
    if (child == 0) {
        char c;
        close(hold[1]);
        lock(F_SETLK, F_WRLCK, 0, 1);
        write(up[1], "!", 1);
        read(hold[0], &c, 1);
        _exit(0);
    }
    char c;
    read(up[0], &c, 1);
    struct itimerval soon = {{0, 20000}, {0, 20000}};
    setitimer(ITIMER_REAL, &soon, NULL);
    R(lock(F_SETLKW, F_WRLCK, 0, 1));
    setitimer(ITIMER_REAL, &(struct itimerval){0}, NULL);
    YES(rang > 0);
    close(hold[1]);
    R(lock(F_SETLKW, F_WRLCK, 0, 1));
    waitpid(child, NULL, 0);
    return 0;
}

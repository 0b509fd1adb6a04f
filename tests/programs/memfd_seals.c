// Seals: what a sealed file says to every way of changing it, and when mappings prevent sealing.
#include "test.h"
#include <linux/falloc.h>
#include <linux/memfd.h>
#ifndef F_SEAL_EXEC
#define F_SEAL_EXEC 0x20
#endif
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 8
#endif
#define SIZE 8192

static int fresh(void) {
    int fd = memfd_create("sealed", MFD_ALLOW_SEALING);
    NEED(fd >= 0);
    NEED(ftruncate(fd, SIZE) == 0);
    NEED(pwrite(fd, "content", 7, 0) == 7);
    return fd;
}

static void *map(int fd, int prot, int flags) {
    return mmap(NULL, SIZE, prot, flags, fd, 0);
}

static void try_changes(const char *what, int fd) {
    char path[64];
    printf("-- %s\n", what);
    R(fcntl(fd, F_GET_SEALS));
    R(pwrite(fd, "x", 1, 0));
    R(pwrite(fd, "x", 1, SIZE));
    R(pwrite(fd, "xy", 2, SIZE - 1));
    R(pwrite(fd, "", 0, 0));
    R(ftruncate(fd, SIZE));
    R(ftruncate(fd, SIZE + 1));
    R(ftruncate(fd, 100));
    R(fallocate(fd, 0, 0, SIZE));
    R(fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 4 * SIZE));
    R(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096));
    int ends[2];
    NEED(pipe(ends) == 0 && write(ends[1], "spliced", 7) == 7);
    loff_t at = 0;
    R(splice(ends[0], NULL, fd, &at, 7, SPLICE_F_NONBLOCK));
    close(ends[0]), close(ends[1]);
    int other = fresh();
    loff_t from = 0, to = 0;
    R(copy_file_range(other, &from, fd, &to, 7, 0));
    close(other);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int again = open(path, O_RDWR | O_TRUNC);
    OK(again);
    if (again >= 0) {
        R(pwrite(again, "y", 1, 0));
        close(again);
    }
    char *p = map(fd, PROT_READ | PROT_WRITE, MAP_SHARED);
    OK(p == MAP_FAILED ? -1 : 0);
    if (p != MAP_FAILED)
        munmap(p, SIZE);
    p = map(fd, PROT_READ, MAP_SHARED);
    OK(p == MAP_FAILED ? -1 : 0);
    if (p != MAP_FAILED) {
        R(mprotect(p, SIZE, PROT_READ | PROT_WRITE));
        char *q = mremap(p, 4096, SIZE, MREMAP_MAYMOVE);
        OK(q == MAP_FAILED ? -1 : 0);
        R(mprotect(q, 4096, PROT_READ | PROT_WRITE));
        munmap(q, SIZE);
        munmap(p, SIZE);
    }
    p = map(fd, PROT_READ | PROT_WRITE, MAP_PRIVATE);
    OK(p == MAP_FAILED ? -1 : 0);
    struct stat st;
    fstat(fd, &st);
    if (st.st_size > 0)
        p[0] = 'P';
    munmap(p, SIZE);
    char text[8] = "";
    pread(fd, text, 7, 0);
    printf("now \"%s\" of %ld\n", text, (long)st.st_size);
    close(fd);
}

int main(void) {
    const int seals[] = {0,           F_SEAL_SHRINK, F_SEAL_GROW,
                         F_SEAL_WRITE, F_SEAL_FUTURE_WRITE, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW};
    const char *names[] = {"none", "shrink", "grow", "write", "future write", "all three"};
    for (int i = 0; i < 6; i++) {
        int fd = fresh();
        R(fcntl(fd, F_ADD_SEALS, seals[i]));
        try_changes(names[i], fd);
    }

    printf("-- mappings that can write keep F_SEAL_WRITE away\n");
    int fd = fresh();
    char *p = map(fd, PROT_READ | PROT_WRITE, MAP_SHARED);
    R(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE));
    R(mprotect(p, SIZE, PROT_READ));
    R(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE));
    R(munmap(p, 4096));
    R(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE));
    char *moved = mremap(p + 4096, 4096, SIZE, MREMAP_MAYMOVE);
    R(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE));
    R(munmap(moved, SIZE));
    char *private = map(fd, PROT_READ | PROT_WRITE, MAP_PRIVATE);
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int reader = open(path, O_RDONLY);
    char *shown = map(reader, PROT_READ, MAP_SHARED);
    R(mprotect(shown, SIZE, PROT_READ | PROT_WRITE));
    R(fcntl(reader, F_ADD_SEALS, F_SEAL_WRITE));
    R(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE));
    private[1] = 'p';
    YES(shown[1] == 'o');
    close(reader), close(fd);

    printf("-- a child's mapping counts\n");
    fd = fresh();
    p = map(fd, PROT_READ | PROT_WRITE, MAP_SHARED);
    int hold[2], go[2];
    NEED(pipe(hold) == 0 && pipe(go) == 0);
    pid_t child = fork();
    if (child == 0) {
        char c;
        close(hold[1]);
        write(go[1], "!", 1);
        read(hold[0], &c, 1);
        _exit(0);
    }
    char c;
    read(go[0], &c, 1);
    munmap(p, SIZE);
    R(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE));
    close(hold[1]);
    waitpid(child, NULL, 0);
    R(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE));
    close(fd);

    printf("-- an old mapping still writes after F_SEAL_FUTURE_WRITE\n");
    fd = fresh();
    p = map(fd, PROT_READ | PROT_WRITE, MAP_SHARED);
    R(fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE));
    p[0] = 'C';
    char *view = map(fd, PROT_READ, MAP_SHARED);
    YES(view[0] == 'C');
    R(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE));
    munmap(p, SIZE);
    R(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE));
    close(fd);

    printf("-- sealing itself\n");
    fd = fresh();
    R(fcntl(fd, F_ADD_SEALS, 0x40));
    R(fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL));
    R(fcntl(fd, F_ADD_SEALS, F_SEAL_GROW));
    R(fcntl(fd, F_ADD_SEALS, 0x40));
    close(fd);
    fd = memfd_create("plain", 0);
    R(fcntl(fd, F_GET_SEALS));
    R(fcntl(fd, F_ADD_SEALS, F_SEAL_GROW));
    close(fd);

    printf("-- execute bits\n");
    fd = memfd_create("noexec", MFD_NOEXEC_SEAL);
    R(fcntl(fd, F_GET_SEALS));
    R(fchmod(fd, 0700));
    R(fchmod(fd, 0600));
    close(fd);
    fd = fresh();
    R(fcntl(fd, F_ADD_SEALS, F_SEAL_EXEC));
    R(fcntl(fd, F_GET_SEALS));
    R(fchmod(fd, 0600));
    R(fchmod(fd, 0711));
    close(fd);
    fd = fresh();
    p = map(fd, PROT_READ | PROT_WRITE, MAP_SHARED);
    R(fcntl(fd, F_ADD_SEALS, F_SEAL_EXEC));
    R(fcntl(fd, F_GET_SEALS));
    return 0;
}

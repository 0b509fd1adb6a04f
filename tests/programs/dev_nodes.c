// /dev/null, zero, full, random, urandom, and what a standard system has beside them.
#include "test.h"
int main(void) {
    char b[64];
    int null = open("/dev/null", O_RDWR), zero = open("/dev/zero", O_RDWR);
    int full = open("/dev/full", O_RDWR), random = open("/dev/urandom", O_RDONLY);
    R(read(null, b, 10));
    R(write(null, b, 10));
    R(write(null, b, 64));
    memset(b, 1, sizeof b);
    R(read(zero, b, 10));
    printf("%d %d %d\n", b[0], b[9], b[10]);
    R(write(zero, b, 10));
    R(read(full, b, 4));
    R(write(full, b, 4));
    char first[16], second[16];
    R(read(random, first, 16));
    R(read(random, second, 16));
    YES(memcmp(first, second, 16) != 0);
    OK(open("/dev/random", O_RDONLY));
    R(lseek(null, 5, SEEK_SET) >= 0);
    struct stat st;
    const char *names[] = {"null", "zero", "full", "random", "urandom", "tty"};
    for (int i = 0; i < 6; i++) {
        snprintf(b, sizeof b, "/dev/%s", names[i]);
        if (stat(b, &st))
            printf("%s %s\n", b, errno_name(errno));
        else
            printf("%s char %d rdev %#lx\n", b, S_ISCHR(st.st_mode), (long)st.st_rdev);
    }
    char *map = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE, zero, 0);
    YES(map != MAP_FAILED && map[5000] == 0);
    map[5000] = 1;
    OK(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, null, 0));
    struct pollfd p = {zero, POLLIN | POLLOUT, 0};
    R(poll(&p, 1, 0));
    R(p.revents);
    R(readlink("/dev/fd", b, 64));
    R(isatty(null));
    printf("%s\n", errno_name(errno));
    R(open("/dev/stdin", O_RDONLY) >= 0);
    return 0;
}

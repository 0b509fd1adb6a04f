// memfd_create: a file without a name, with seals.
#include "test.h"
int main(void) {
    int fd = memfd_create("area", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    NEED(fd >= 0);
    R(fcntl(fd, F_GETFD));
    R(write(fd, "hello", 5));
    R(ftruncate(fd, 10000));
    struct stat st;
    R(fstat(fd, &st));
    printf("size %ld regular %d\n", (long)st.st_size, S_ISREG(st.st_mode));
    char *a = mmap(NULL, 10000, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    char *b = mmap(NULL, 10000, PROT_READ, MAP_SHARED, fd, 0);
    NEED(a != MAP_FAILED && b != MAP_FAILED);
    a[9000] = 'q';
    R(b[9000]);
    printf("%.5s\n", b);
    R(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW));
    R(ftruncate(fd, 100));
    R(ftruncate(fd, 20000));
    R(fcntl(fd, F_GET_SEALS));
    OK(memfd_create("x", 0x8000));
    return 0;
}

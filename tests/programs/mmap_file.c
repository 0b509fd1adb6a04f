// File mappings on tmpfs: private copies stay private, shared writes reach the file, and access
// past the end is SIGBUS.
#include "test.h"
static sigjmp_buf out;
static void on_bus(int sig, siginfo_t *info, void *context) {
    (void)context;
    printf("signal %d code %s\n", sig, info->si_code == BUS_ADRERR ? "BUS_ADRERR" : "other");
    siglongjmp(out, 1);
}
int main(void) {
    enter_dir();
    put_file("f", "0123456789");
    int fd = open("f", O_RDWR);
    char *private = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    char *shared = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    NEED(private != MAP_FAILED && shared != MAP_FAILED);
    printf("%.10s|%.10s|%d\n", private, shared, shared[10]);
    private[0] = 'P';
    show_file("f");
    shared[1] = 'S';
    show_file("f");
    printf("%.4s\n", shared);
    NEED(pwrite(fd, "WW", 2, 4) == 2);
    printf("%.10s\n", shared);
    shared[4095] = 'x'; // past the end, within the page: allowed, not in the file
    handle(SIGBUS, on_bus, 0);
    if (!sigsetjmp(out, 1))
        printf("%d\n", ((volatile char *)shared)[4096]);
    R(ftruncate(fd, 8192));
    shared[4096] = 'z';
    char byte = 0;
    R(pread(fd, &byte, 1, 4096));
    R(byte);
    R(msync(shared, 8192, MS_SYNC));
    R(msync(shared + 1, 8192, MS_SYNC));
    R(munmap(shared, 8192));
    close(fd);
    int reader = open("f", O_RDONLY), writer = open("f", O_WRONLY);
    OK(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, reader, 0));
    OK(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, reader, 0));
    OK(mmap(NULL, 4096, PROT_READ, MAP_SHARED, writer, 0));
    OK(mmap(NULL, 4096, PROT_READ, MAP_SHARED, reader, 100));
    char *second = mmap(NULL, 4096, PROT_READ, MAP_SHARED, reader, 4096);
    NEED(second != MAP_FAILED);
    close(reader);
    unlink("f"); // a mapping keeps the file alive
    R(second[0]);
    int dir = open(".", O_RDONLY);
    OK(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, dir, 0));
    return 0;
}

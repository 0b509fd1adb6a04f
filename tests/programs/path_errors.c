// Path lookup's errors: too long, not a directory, loops, wild pointers.
#include "test.h"
int main(void) {
    enter_dir();
    put_file("f", "x");
    char name[300];
    memset(name, 'n', sizeof name);
    name[255] = 0;
    OK(open(name, O_RDWR | O_CREAT, 0600));
    R(unlink(name));
    name[255] = 'n';
    name[256] = 0;
    OK(open(name, O_RDWR | O_CREAT, 0600));
    char *path = malloc(5000);
    for (int i = 0; i < 5000; i += 2)
        memcpy(path + i, "./", 2);
    strcpy(path + 4094, "f");
    OK(open(path, O_RDONLY));
    strcpy(path + 4094, "ff");
    OK(open(path, O_RDONLY));
    OK(open((char *)8, O_RDONLY));
    OK(open((char *)-1, O_RDONLY));
    OK(open((char *)0xffff800000000000UL, O_RDONLY));
    OK(open((char *)0xffffffff80200000UL, O_RDONLY));
    OK(open(NULL, O_RDONLY));
    struct stat st;
    R(stat((char *)8, &st));
    R(syscall(SYS_newfstatat, AT_FDCWD, "f", (void *)8, 0));
    R(syscall(SYS_newfstatat, AT_FDCWD, "f", (void *)&main, 0)); // read-only memory
    R(stat("f/", &st));
    R(stat("f/.", &st));
    R(stat("f/..", &st));
    R(stat("absent/..", &st));
    R(mkdir((char *)8, 0755));
    R(rename("f", (char *)8));
    R(syscall(SYS_getcwd, (void *)8, 100));
    R(chdir("f"));
    R(chdir("absent"));
    R(readlink("/proc/self/exe", (char *)8, 100));
    R(unlink(""));
    // A path that ends right at the edge of the mapped memory is fine; one past it is not.
    char *edge = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    munmap(edge + 4096, 4096);
    strcpy(edge + 4094, "f");
    OK(open(edge + 4094, O_RDONLY));
    edge[4095] = 'f';
    OK(open(edge + 4094, O_RDONLY));
    return 0;
}

// A file lives while a name or a descriptor has it: link counts, unlinked open files, times.
#include "test.h"
static long links(const char *path) {
    struct stat st;
    return stat(path, &st) ? -1 : (long)st.st_nlink;
}
int main(void) {
    enter_dir();
    put_file("one", "shared");
    R(link("one", "two"));
    R(links("one"));
    int fd = open("two", O_RDWR);
    R(unlink("one"));
    R(links("two"));
    R(unlink("two"));
    struct stat st;
    R(fstat(fd, &st));
    R(st.st_nlink);
    R(pwrite(fd, "SH", 2, 0));
    char text[16] = "";
    R(pread(fd, text, 15, 0));
    puts(text);
    char *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    R(close(fd));
    memcpy(p, "mapped", 6);
    printf("%.6s\n", p);
    mkdir("d", 0755);
    R(links("d"));
    mkdir("d/e", 0755);
    R(links("d"));
    R(rmdir("d"));
    R(link("d", "hard"));
    R(rmdir("d/e"));
    int dir = open("d", O_RDONLY | O_DIRECTORY);
    R(rmdir("d"));
    R(fstat(dir, &st));
    R(st.st_nlink);
    OK(openat(dir, "x", O_CREAT | O_RDWR, 0600));
    OK(openat(dir, ".", O_RDONLY));
    OK(openat(dir, "..", O_RDONLY));
    return 0;
}

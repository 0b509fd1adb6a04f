// Hard links, symbolic links, unlink of open files.
#include "test.h"
static long links(const char *path) {
    struct stat st;
    return lstat(path, &st) ? -1 : (long)st.st_nlink;
}
int main(void) {
    enter_dir();
    put_file("f", "data");
    R(link("f", "g"));
    R(links("f"));
    R(link("f", "g"));
    R(link("absent", "h"));
    NEED(mkdir("d", 0755) == 0);
    R(link("d", "h"));
    R(unlink("f"));
    R(links("g"));
    show_file("g");
    R(unlink("f"));
    R(unlink("d"));
    R(unlink("d/."));
    R(symlink("g", "s"));
    R(symlink("x", "s"));
    R(symlink("", "empty"));
    char b[64];
    R(readlink("s", b, 64));
    R(readlink("s", b, 0));
    NEED(symlink("a-longer-target", "l") == 0);
    R(readlink("l", b, 4));
    printf("%.4s\n", b);
    R(readlink("g", b, 64));
    R(readlink("absent", b, 64));
    show_file("s");
    struct stat st;
    R(lstat("s", &st));
    printf("link %d size %ld\n", S_ISLNK(st.st_mode), (long)st.st_size);
    R(link("s", "s2")); // links the link itself
    R(lstat("s2", &st));
    YES(S_ISLNK(st.st_mode));
    R(linkat(AT_FDCWD, "s", AT_FDCWD, "g2", AT_SYMLINK_FOLLOW));
    R(links("g2"));
    NEED(symlink("loop2", "loop1") == 0 && symlink("loop1", "loop2") == 0);
    OK(open("loop1", O_RDONLY));
    R(stat("loop1/x", &st));
    R(unlink("loop1"));
    NEED(symlink(".", "here") == 0);
    char deep[300] = "";
    for (int i = 0; i < 40; i++)
        strcat(deep, "here/");
    strcat(deep, "g");
    OK(open(deep, O_RDONLY));
    char deeper[310];
    sprintf(deeper, "here/%s", deep);
    OK(open(deeper, O_RDONLY));
    NEED(symlink("d/../g", "dotted") == 0);
    show_file("dotted");
    int fd = open("g", O_RDWR);
    R(unlink("g"));
    R(unlink("g2"));
    R(fstat(fd, &st));
    printf("nlink %ld\n", (long)st.st_nlink);
    R(pread(fd, b, 64, 0));
    R(write(fd, "more", 4));
    show_file("s");
    return 0;
}

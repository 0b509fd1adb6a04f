// getcwd, chdir, fchdir, and a current directory that goes away.
#include "test.h"
int main(void) {
    char b[PATH_MAX];
    R(chdir("/tmp"));
    puts(getcwd(b, sizeof b));
    enter_dir();
    NEED(mkdir("a", 0755) == 0 && mkdir("a/b", 0755) == 0);
    char base[PATH_MAX];
    NEED(getcwd(base, sizeof base));
    R(chdir("a/b/../b/."));
    NEED(getcwd(b, sizeof b));
    printf("%s\n", b + strlen(base));
    R(syscall(SYS_getcwd, b, 3));
    R(syscall(SYS_getcwd, b, sizeof b) == (long)strlen(b) + 1);
    int dir = open("..", O_RDONLY);
    R(rmdir("../b"));
    R(syscall(SYS_getcwd, b, sizeof b));
    OK(open("x", O_CREAT | O_RDWR, 0600));
    R(fchdir(dir));
    NEED(getcwd(b, sizeof b));
    printf("%s\n", b + strlen(base));
    R(fchdir(99));
    R(chdir("/"));
    R(chdir(".."));
    puts(getcwd(b, sizeof b));
    R(rename(base, base));
    return 0;
}

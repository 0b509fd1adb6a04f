// mkdir, rmdir and the names that stand for directories.
#include "test.h"
int main(void) {
    enter_dir();
    R(mkdir("d", 0755));
    R(mkdir("d", 0755));
    R(mkdir("d/e/f", 0755));
    R(mkdir("d/e", 0700));
    R(mkdir("d/e/", 0755));
    R(mkdir("new/", 0755));
    R(mkdir("", 0755));
    R(mkdir("/", 0755));
    put_file("f", "x");
    R(mkdir("f", 0755));
    R(mkdir("f/x", 0755));
    R(rmdir("f"));
    R(rmdir("d"));
    R(rmdir("d/e/."));
    R(rmdir("d/e/.."));
    R(rmdir("absent"));
    struct stat st;
    R(stat("d/e", &st));
    printf("mode %o nlink %ld\n", st.st_mode, (long)st.st_nlink);
    R(stat("d", &st));
    printf("nlink %ld\n", (long)st.st_nlink);
    R(rmdir("d/e"));
    R(stat("d", &st));
    printf("nlink %ld\n", (long)st.st_nlink);
    R(stat("d/../f", &st));
    R(stat("f/..", &st));
    R(stat("./././d/", &st));
    R(stat("//tmp//", &st));
    R(mkdirat(AT_FDCWD, "at", 0711));
    int dir = open("d", O_RDONLY | O_DIRECTORY);
    R(mkdirat(dir, "under", 0755));
    R(access("d/under", F_OK));
    R(unlinkat(dir, "under", 0));
    R(unlinkat(dir, "under", AT_REMOVEDIR));
    R(unlinkat(dir, "under", AT_REMOVEDIR));
    int file = open("f", O_RDONLY);
    R(mkdirat(file, "x", 0755));
    R(mkdirat(99, "x", 0755));
    R(rmdir("d")); // open, yet removable
    OK(openat(dir, "x", O_CREAT | O_RDWR, 0600));
    R(fstat(dir, &st));
    printf("nlink %ld\n", (long)st.st_nlink);
    return 0;
}

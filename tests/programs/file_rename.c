// rename and renameat2 over every kind of target.
#include "test.h"
int main(void) {
    enter_dir();
    put_file("a", "A");
    put_file("b", "B");
    NEED(mkdir("d", 0755) == 0 && mkdir("e", 0755) == 0);
    put_file("e/inside", "I");
    R(rename("a", "c"));
    show_file("a");
    show_file("c");
    R(rename("c", "b"));
    show_file("b");
    R(rename("b", "b"));
    R(rename("absent", "x"));
    R(rename("b", "d"));
    R(rename("d", "b"));
    R(rename("d", "e"));
    R(rename("e", "d"));
    show_file("d/inside");
    R(rename("d", "d/sub"));
    R(rename("b", "b/x"));
    R(rename("b", "absent/x"));
    R(rename(".", "x"));
    R(rename("d", ".."));
    R(rename("b", ""));
    put_file("x", "X");
    put_file("y", "Y");
    R(renameat2(AT_FDCWD, "x", AT_FDCWD, "y", RENAME_NOREPLACE));
    R(renameat2(AT_FDCWD, "x", AT_FDCWD, "y", RENAME_EXCHANGE));
    show_file("x");
    show_file("y");
    R(renameat2(AT_FDCWD, "x", AT_FDCWD, "y", RENAME_EXCHANGE | RENAME_NOREPLACE));
    R(link("x", "z"));
    R(rename("x", "z")); // two names of one file: nothing happens
    show_file("x");
    show_file("z");
    int fd = open("y", O_RDONLY);
    R(rename("z", "y")); // the replaced file lives on in its descriptor
    char c = 0;
    R(read(fd, &c, 1));
    printf("%c\n", c);
    R(rename("y", "d/"));
    R(rename("d/inside", "d/other"));
    show_file("d/other");
    return 0;
}

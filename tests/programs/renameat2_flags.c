// renameat2: RENAME_NOREPLACE and RENAME_EXCHANGE, files against directories.
#include "test.h"
static long move(const char *from, const char *to, unsigned flags) {
    return syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, flags);
}
int main(void) {
    enter_dir();
    put_file("a", "first");
    put_file("b", "second");
    mkdir("d", 0755);
    put_file("d/inside", "deep");
    R(move("a", "b", RENAME_NOREPLACE));
    R(move("a", "c", RENAME_NOREPLACE));
    show_file("c");
    R(move("c", "b", RENAME_EXCHANGE));
    show_file("b");
    show_file("c");
    R(move("d", "c", RENAME_EXCHANGE)); // of different kinds
    show_file("c/inside");
    show_file("d");
    R(move("missing", "c", RENAME_EXCHANGE));
    R(move("c", "missing", RENAME_EXCHANGE));
    R(move("c", "c/below", 0));
    R(move("c", "c/inside", RENAME_EXCHANGE));
    R(move("b", "b", 0));
    R(move("b", "b", RENAME_NOREPLACE));
    R(move("b", "d", RENAME_NOREPLACE | RENAME_EXCHANGE));
    R(move("b", "d", 1 << 10));
    return 0;
}

// Numbers outside the table answer ENOSYS, and nothing else happens.
#include "test.h"
int main(void) {
    R(syscall(999));
    R(syscall(5000, 1, 2, 3));
    R(syscall(-2));
    R(syscall(0x7fffffff));
    R(syscall(1 << 20));
    R(syscall(180)); // nfsservctl: long gone
    R(syscall(174)); // create_module: long gone
    R(syscall(183)); // afs_syscall: never was
    puts("still here");
    return 0;
}

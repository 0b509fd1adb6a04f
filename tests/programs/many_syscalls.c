// As many system calls as asked for. In hardware mode `tests/hardware/run.sh` also looks at what
// they cost the host: no exits.
// case few: 1000
// case many: 101000
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv) {
    long count = argc > 1 ? atol(argv[1]) : 0, same = 0;
    long parent = syscall(SYS_getppid);
    for (long i = 0; i < count; i++)
        same += syscall(SYS_getppid) == parent;
    printf("%ld of %ld\n", same, count);
    return 0;
}

// A signal's default action: death is visible as 128 + n, ignored signals are not.
// case hup: 1
// case int: 2
// case quit: 3
// case ill: 4
// case trap: 5
// case bus: 7
// case fpe: 8
// case kill: 9
// case usr1: 10
// case segv: 11
// case usr2: 12
// case pipe: 13
// case alrm: 14
// case term: 15
// case chld: 17
// case cont: 18
// case urg: 23
// case xcpu: 24
// case vtalrm: 26
// case prof: 27
// case winch: 28
// case io: 29
// case sys: 31
// case rtmin: 34
// case rtmax: 64
#include "test.h"
int main(int argc, char **argv) {
    NEED(argc == 2);
    int sig = atoi(argv[1]);
    printf("before %s\n", sigabbrev_np(sig) ? sigabbrev_np(sig) : "realtime");
    R(kill(getpid(), sig));
    puts("survived");
    return 5;
}

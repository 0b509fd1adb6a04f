// Orphans go to the nearest subreaper; their exit is seen there; PR_SET_PDEATHSIG tells a child.
#include "test.h"
#include <sys/prctl.h>
int main(void) {
    pid_t reaper = getpid();
    R(prctl(PR_SET_CHILD_SUBREAPER, 1));
    int is = 0;
    R(prctl(PR_GET_CHILD_SUBREAPER, &is));
    R(is);
    int told[2];
    NEED(pipe(told) == 0);
    pid_t middle = fork();
    if (middle == 0) {
        pid_t orphan = fork();
        if (orphan == 0) {
            while (getppid() != reaper)
                sleep_ms(1);
            _exit(21);
        }
        NEED(write(told[1], &orphan, sizeof orphan) == sizeof orphan);
        _exit(20);
    }
    pid_t orphan;
    NEED(read(told[0], &orphan, sizeof orphan) == sizeof orphan);
    int status;
    YES(waitpid(middle, &status, 0) == middle);
    R(WEXITSTATUS(status));
    YES(waitpid(orphan, &status, 0) == orphan);
    R(WEXITSTATUS(status));
    middle = fork();
    if (middle == 0) {
        orphan = fork();
        if (orphan == 0) {
            prctl(PR_SET_PDEATHSIG, SIGUSR1);
            char byte = 1;
            NEED(write(told[1], &byte, 1) == 1);
            for (;;)
                pause();
        }
        char byte;
        NEED(read(told[0], &byte, 1) == 1);
        NEED(write(told[1], &orphan, sizeof orphan) == sizeof orphan);
        _exit(0);
    }
    waitpid(middle, &status, 0);
    NEED(read(told[0], &orphan, sizeof orphan) == sizeof orphan);
    YES(waitpid(orphan, &status, 0) == orphan);
    R(status);
    R(waitpid(-1, &status, 0));
    R(prctl(PR_SET_PDEATHSIG, 65));
    return 0;
}

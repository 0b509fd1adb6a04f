// Process groups and sessions: who may move whom, signals to groups, leaders, after exec.
#include "test.h"
static int status_of(pid_t pid) {
    int status;
    NEED(waitpid(pid, &status, 0) == pid);
    return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}
int main(void) {
    int ready[2];
    NEED(pipe(ready) == 0);
    pid_t worker = fork();
    if (worker == 0) { // in a session of its own, whatever that of the test is
        YES(setsid() == getpid());
        YES(getsid(0) == getpid() && getpgrp() == getpid() && getpgid(0) == getpid());
        R(setsid());
        R(setpgid(0, 0)); // a session leader stays where it is
        pid_t members[3];
        for (int i = 0; i < 3; i++) {
            members[i] = fork();
            if (members[i] == 0) {
                char byte = 1;
                setpgid(0, i ? members[0] : 0);
                NEED(write(ready[1], &byte, 1) == 1);
                for (;;)
                    pause();
            }
            R(setpgid(members[i], members[0]));
        }
        char bytes[3];
        for (int got = 0; got < 3;)
            got += (int)read(ready[0], bytes, 3);
        YES(getpgid(members[2]) == members[0]);
        YES(getsid(members[1]) == getpid());
        R(setpgid(members[1], 999999)); // no such group in the session
        R(setpgid(1, 0));
        R(setpgid(members[1], -1));
        R(kill(-members[0], 0));
        R(kill(-members[0], SIGTERM));
        for (int i = 0; i < 3; i++)
            R(status_of(members[i]));
        R(kill(-members[0], 0));
        R(getpgid(members[0]));
        // Group 0 is one's own; the sender is among the receivers.
        signal(SIGUSR1, SIG_IGN);
        R(kill(0, SIGUSR1));
        fflush(stdout);
        _exit(0);
    }
    R(status_of(worker));
    return 0;
}

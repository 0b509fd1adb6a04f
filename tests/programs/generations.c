// Processes that wait for a child of their own leave nothing behind: more of them than memory would
// have stacks for.
#include "test.h"
#include <sys/wait.h>
int main(void) {
    for (int i = 0; i < 2000; i++) {
        pid_t child = fork();
        NEED(child >= 0);
        if (child == 0) {
            pid_t own = fork();
            if (own == 0)
                _exit(0);
            int status;
            _exit(own < 0 || waitpid(own, &status, 0) != own || status != 0);
        }
        int status;
        NEED(waitpid(child, &status, 0) == child && status == 0);
    }
    puts("2000 generations");
    return 0;
}

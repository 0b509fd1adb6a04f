// Only the calling thread survives a fork; memory pressure by fork is copy on write.
#include "test.h"
static void *sleeper(void *unused) {
    for (;;)
        pause();
    return unused;
}
static void prepared(void) { puts("atfork child"); }
int main(void) {
    pthread_t t;
    pthread_create(&t, NULL, sleeper, NULL);
    pthread_atfork(NULL, NULL, prepared);
    char *big = mmap(NULL, 20 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(big, 1, 20 << 20);
    for (int i = 0; i < 5; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            YES(getpid() == gettid());
            big[i << 20] = 2;
            _exit(big[(i + 1) << 20]);
        }
        int status;
        NEED(waitpid(pid, &status, 0) == pid);
        R(WEXITSTATUS(status));
    }
    R(big[0]);
    return 0;
}

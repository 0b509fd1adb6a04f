// setjmp/longjmp and sigsetjmp across frames and out of handlers, with the mask restored.
#include "test.h"
static sigjmp_buf env;
static void down(int n) {
    if (n == 0)
        siglongjmp(env, 42);
    down(n - 1);
}
static void on_signal(int sig) {
    (void)sig;
    siglongjmp(env, 43);
}
int main(void) {
    int r = sigsetjmp(env, 1);
    printf("%d\n", r);
    if (r == 0)
        down(100);
    signal(SIGUSR1, on_signal);
    for (volatile int i = 0; i < 3; i++) {
        if (sigsetjmp(env, 1) == 0)
            raise(SIGUSR1);
        sigset_t mask;
        sigprocmask(SIG_SETMASK, NULL, &mask);
        printf("round %d, blocked %d\n", i, sigismember(&mask, SIGUSR1));
    }
    if (sigsetjmp(env, 0) == 0)
        raise(SIGUSR1);
    sigset_t mask;
    sigprocmask(SIG_SETMASK, NULL, &mask);
    printf("without mask, blocked %d\n", sigismember(&mask, SIGUSR1));
    return 0;
}

// An alternate stack takes a stack overflow's SIGSEGV; its state is visible and guarded.
#include "test.h"
static char *alt;
static sigjmp_buf out;
static void on_segv(int sig, siginfo_t *info, void *context) {
    (void)context;
    char here;
    stack_t now;
    sigaltstack(NULL, &now);
    printf("sig %d on alternate stack %d flags %d code %d\n", sig,
           &here >= alt && &here < alt + 65536, now.ss_flags,
           info->si_code == SEGV_MAPERR || info->si_code == SEGV_ACCERR);
    stack_t other = {.ss_sp = alt, .ss_size = 65536, .ss_flags = 0};
    R(sigaltstack(&other, NULL)); // not while on it
    siglongjmp(out, 1);
}
static void on_usr(int sig) {
    (void)sig;
    char here;
    printf("plain handler on alternate stack %d\n", &here >= alt && &here < alt + 65536);
}
#pragma GCC diagnostic ignored "-Winfinite-recursion"
static int deep(int n) {
    volatile char frame[4096];
    frame[0] = (char)n;
    return deep(n + 1) + frame[0];
}
int main(void) {
    alt = malloc(65536);
    stack_t s = {.ss_sp = alt, .ss_size = 65536, .ss_flags = 0}, old;
    R(sigaltstack(NULL, &old));
    R(old.ss_flags);
    R(sigaltstack(&s, NULL));
    R(sigaltstack(NULL, &old));
    YES(old.ss_sp == alt && old.ss_size == 65536);
    R(old.ss_flags);
    s.ss_size = 100;
    R(sigaltstack(&s, NULL));
    s.ss_size = 65536;
    s.ss_flags = 77;
    R(sigaltstack(&s, NULL));
    handle(SIGSEGV, on_segv, SA_ONSTACK);
    signal(SIGUSR1, on_usr);
    raise(SIGUSR1);
    for (int i = 0; i < 2; i++)
        if (!sigsetjmp(out, 1))
            deep(0);
    puts("overflow survived twice");
    s.ss_flags = SS_DISABLE;
    R(sigaltstack(&s, NULL));
    R(sigaltstack(NULL, &old));
    R(old.ss_flags);
    return 0;
}

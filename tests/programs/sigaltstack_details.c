// sigaltstack: what is reported inside and outside a handler, SS_AUTODISARM, sizes, nesting, and
// that a thread starts without one.
#include "test.h"
#ifndef SS_AUTODISARM
#define SS_AUTODISARM (1U << 31)
#endif
static char stack[65536], other[65536];
static void show(const char *when) {
    stack_t now;
    errno = 0;
    if (sigaltstack(NULL, &now))
        printf("%s: %s\n", when, errno_name(errno));
    printf("%s: %s size %zu flags %#x\n", when,
           now.ss_sp == stack ? "ours" : now.ss_sp == other ? "the other" : now.ss_sp ? "?" : "none",
           now.ss_size, (unsigned)now.ss_flags);
}
static volatile int depth;
static void on_signal(int sig) {
    char here;
    int on = &here >= stack && &here < stack + sizeof stack;
    printf("handler %d on it: %d\n", sig, on);
    show("inside");
    stack_t change = {.ss_sp = other, .ss_size = sizeof other};
    R(sigaltstack(&change, NULL));
    change.ss_flags = SS_DISABLE;
    R(sigaltstack(&change, NULL));
    if (depth++ == 0)
        raise(SIGUSR2); // stays on the stack it is on
}
static void *thread(void *arg) {
    show("thread");
    return arg;
}
int main(void) {
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_ONSTACK};
    sigaction(SIGUSR1, &action, NULL);
    sigaction(SIGUSR2, &action, NULL);
    show("at start");
    stack_t set = {.ss_sp = stack, .ss_size = sizeof stack};
    R(sigaltstack(&set, NULL));
    show("set");
    raise(SIGUSR1);
    show("after");
    pthread_t t;
    pthread_create(&t, NULL, thread, NULL);
    pthread_join(t, NULL);
    set.ss_flags = (int)SS_AUTODISARM;
    R(sigaltstack(&set, NULL));
    show("autodisarm");
    raise(SIGUSR1);
    show("armed again");
    set = (stack_t){.ss_sp = stack, .ss_size = 100};
    R(sigaltstack(&set, NULL));
    set = (stack_t){.ss_sp = stack, .ss_size = sizeof stack, .ss_flags = 5};
    R(sigaltstack(&set, NULL));
    set = (stack_t){.ss_flags = SS_DISABLE, .ss_sp = other, .ss_size = 3};
    R(sigaltstack(&set, NULL));
    show("disabled");
    R(sigaltstack((stack_t *)8, NULL));
    R(sigaltstack(NULL, (stack_t *)8));
    return 0;
}

// abort() dies by SIGABRT even when the signal is ignored or its handler returns.
// case plain: plain
// case ignored: ignored
// case handled: handled
// case blocked: blocked
#include "test.h"
static void on_abort(int sig, siginfo_t *info, void *context) {
    (void)context;
    printf("handler %d from self: %d\n", sig, info->si_pid == getpid());
}
int main(int argc, char **argv) {
    NEED(argc == 2);
    if (!strcmp(argv[1], "ignored"))
        signal(SIGABRT, SIG_IGN);
    if (!strcmp(argv[1], "handled"))
        handle(SIGABRT, on_abort, 0);
    if (!strcmp(argv[1], "blocked")) {
        sigset_t set;
        sigfillset(&set);
        sigprocmask(SIG_BLOCK, &set, NULL);
    }
    puts(argv[1]);
    abort();
}

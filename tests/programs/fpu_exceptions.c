// Unmasked floating-point errors become SIGFPE with their si_code, for SSE and x87.
#include "test.h"
#include <fenv.h>
static sigjmp_buf back;
static volatile int code;
static void on_fpe(int sig, siginfo_t *info, void *context) {
    (void)sig, (void)context;
    code = info->si_code;
    siglongjmp(back, 1);
}
static const char *name(int c) {
    return c == FPE_INTDIV   ? "FPE_INTDIV"
           : c == FPE_FLTDIV ? "FPE_FLTDIV"
           : c == FPE_FLTOVF ? "FPE_FLTOVF"
           : c == FPE_FLTINV ? "FPE_FLTINV"
                             : "another";
}
#define TRY(what, code_text)                                                                       \
    do {                                                                                           \
        code = 0;                                                                                  \
        if (sigsetjmp(back, 1) == 0) {                                                             \
            code_text;                                                                             \
            printf("%s: no signal\n", what);                                                       \
        } else                                                                                     \
            printf("%s: %s\n", what, name(code));                                                  \
    } while (0)
int main(void) {
    handle(SIGFPE, on_fpe, 0);
    volatile int zero = 0, least = INT_MIN, minus = -1;
    TRY("integer by zero", zero = 1 / zero);
    TRY("least by -1", zero = least / minus);
    zero = 0;
    volatile long double x = 1, y = 0, z;
    feenableexcept(FE_DIVBYZERO | FE_INVALID);
    TRY("x87 1/0", z = x / y; __asm__ volatile("fwait"));
    fedisableexcept(FE_ALL_EXCEPT);
    feclearexcept(FE_ALL_EXCEPT);
    feenableexcept(FE_DIVBYZERO | FE_INVALID);
    x = 0;
    TRY("x87 0/0", z = x / y; __asm__ volatile("fwait"));
    fedisableexcept(FE_ALL_EXCEPT);
    feclearexcept(FE_ALL_EXCEPT);
    x = 1;
    TRY("masked", z = x / y);
    YES(z > 1);
    return 0;
}

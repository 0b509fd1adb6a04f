// madvise: DONTFORK, WIPEONFORK, FREE, POPULATE, COLD and PAGEOUT keep their promises.
#include "test.h"
#define PAGE 4096L
static char *fresh(int flags) {
    char *p = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0);
    NEED(p != MAP_FAILED);
    memset(p, 5, 4 * PAGE);
    return p;
}
static sigjmp_buf back;
static void on_fault(int sig) {
    (void)sig;
    siglongjmp(back, 1);
}
static int peek(volatile char *p) {
    return sigsetjmp(back, 1) ? -99 : *p;
}
int main(void) {
    signal(SIGSEGV, on_fault);
    char *p = fresh(MAP_PRIVATE), *q = fresh(MAP_PRIVATE), *r = fresh(MAP_PRIVATE);
    R(madvise(p, PAGE, MADV_DONTFORK));
    R(madvise(q + PAGE, PAGE, MADV_WIPEONFORK));
    R(madvise(r, PAGE, MADV_WIPEONFORK));
    R(madvise(r, PAGE, MADV_KEEPONFORK));
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        printf("child: %d %d, %d %d, %d\n", peek(p), peek(p + PAGE), peek(q), peek(q + PAGE),
               peek(r));
        fflush(stdout);
        _exit(0);
    }
    waitpid(pid, NULL, 0);
    printf("parent: %d %d, %d %d\n", peek(p), peek(p + PAGE), peek(q), peek(q + PAGE));
    R(madvise(p, 4 * PAGE, MADV_FREE));
    p[0] = 8; // written again: kept
    R(p[0]);
    R(madvise(p, 4 * PAGE, MADV_COLD));
    R(p[0]);
    R(madvise(p, 4 * PAGE, MADV_PAGEOUT));
    R(p[0]);
    char *s = fresh(MAP_SHARED);
    R(madvise(s, PAGE, MADV_WIPEONFORK)); // not for shared memory
    R(madvise(s, PAGE, MADV_FREE));
    R(madvise(p, PAGE, MADV_REMOVE)); // only for shared memory
    char *none = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    R(madvise(none, 4 * PAGE, MADV_POPULATE_WRITE));
    unsigned char in[4];
    R(mincore(none, 4 * PAGE, in));
    printf("%d%d%d%d\n", in[0] & 1, in[1] & 1, in[2] & 1, in[3] & 1);
    mprotect(none, PAGE, PROT_READ);
    R(madvise(none, PAGE, MADV_POPULATE_WRITE));
    R(madvise(none, PAGE, MADV_POPULATE_READ));
    munmap(none + PAGE, PAGE);
    R(madvise(none, 4 * PAGE, MADV_POPULATE_READ));
    return 0;
}

// RLIMIT_AS, RLIMIT_DATA and RLIMIT_STACK bound what a program may map, and raise no further than
// their hard value.
#include "test.h"
static long map(size_t size) {
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? -1 : 0;
}
static void in_child(const char *name, void (*body)(void)) {
    printf("%s\n", name);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        body();
        fflush(stdout);
        _exit(0);
    }
    int status;
    waitpid(pid, &status, 0);
    printf("%s: %#x\n", name, status & 0xff7f);
}
static void address_space(void) {
    struct rlimit limit = {64 << 20, 64 << 20};
    R(setrlimit(RLIMIT_AS, &limit));
    R(map(1 << 20));
    R(map(128 << 20));
    YES(sbrk(100 << 20) == (void *)-1);
    YES(malloc(100 << 20) == NULL);
}
static void data(void) {
    struct rlimit limit = {16 << 20, 16 << 20};
    R(setrlimit(RLIMIT_DATA, &limit));
    R(map(32 << 20));
    YES(sbrk(32 << 20) == (void *)-1);
    void *p = mmap(NULL, 32 << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    YES(p != MAP_FAILED); // read-only is no data
}
static long deep(long n) {
    volatile char frame[4096];
    frame[0] = (char)n;
    return n ? deep(n - 1) + frame[0] : 0;
}
static void stack(void) {
    struct rlimit limit = {256 << 10, 512 << 10};
    R(setrlimit(RLIMIT_STACK, &limit));
    YES(deep(20) != 1);
    deep(1000);
    puts("not reached");
}
int main(void) {
    in_child("address space", address_space);
    in_child("data", data);
    in_child("stack", stack);
    struct rlimit limit;
    R(getrlimit(RLIMIT_STACK, &limit));
    limit = (struct rlimit){2, 1};
    R(setrlimit(RLIMIT_AS, &limit));
    R(setrlimit(99, &limit));
    R(prlimit(0, RLIMIT_AS, NULL, &limit));
    R(prlimit(999999999, RLIMIT_AS, NULL, &limit));
    return 0;
}

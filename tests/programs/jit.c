// What a JIT does: write code, make it executable, run, rewrite; both W^X and RWX.
#include "test.h"
static void emit(unsigned char *at, int value) {
    at[0] = 0xb8; // mov $value, %eax; ret
    memcpy(at + 1, &value, 4);
    at[5] = 0xc3;
}
int main(void) {
    unsigned char *page = mmap(NULL, 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    NEED(page != MAP_FAILED);
    int (*code)(void) = (int (*)(void))page;
    long sum = 0;
    for (int i = 0; i < 200; i++) {
        NEED(mprotect(page, 4096, PROT_READ | PROT_WRITE) == 0);
        emit(page, i);
        NEED(mprotect(page, 4096, PROT_READ | PROT_EXEC) == 0);
        sum += code();
    }
    printf("sum %ld\n", sum);
    NEED(mprotect(page, 8192, PROT_READ | PROT_WRITE | PROT_EXEC) == 0);
    sum = 0;
    for (int i = 0; i < 200; i++) {
        emit(page + 4090, i); // across the page border
        sum += ((int (*)(void))(page + 4090))();
    }
    printf("sum %ld\n", sum);
    return 0;
}

// Tells, for each line of input, what a process can see of having been copied.
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18
#endif

static volatile sig_atomic_t raised;

static void handler(int signal) {
    raised = signal;
}

static char *area(void) {
    char *memory = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        perror("mmap");
        exit(1);
    }
    memory[0] = memory[4096] = 'x';
    return memory;
}

int main(void) {
    char *kept = area(), *wiped = area();
    if (madvise(wiped, 8192, MADV_WIPEONFORK)) {
        perror("madvise");
        return 1;
    }
    signal(SIGUSR1, handler);
    char line[16], self[32] = "";
    while (fgets(line, sizeof line, stdin)) {
        raised = 0;
        raise(SIGUSR1);
        ssize_t length = readlink("/proc/self", self, sizeof self - 1);
        self[length < 0 ? 0 : length] = 0;
        printf("pid %d self %s same %d raised %d kept %d wiped %d %d\n", getpid(), self,
               atoi(self) == getpid() && kill(getpid(), 0) == 0, raised == SIGUSR1,
               kept[0] == 'x' && kept[4096] == 'x', wiped[0] == 0, wiped[4096] == 0);
        fflush(stdout);
    }
    return 7;
}

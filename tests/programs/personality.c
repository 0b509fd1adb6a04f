// personality(2): kept by thread, fork and exec; no random addresses where it says so; what can be
// read can be executed.
#include "test.h"
#include <sys/auxv.h>
#include <sys/personality.h>

#define WORDS 8

static void addresses(unsigned long *where) {
    int local;
    char line[256];
    unsigned long start, first = 0;
    FILE *maps = fopen("/proc/self/maps", "r");
    while (fgets(line, sizeof line, maps))
        if (sscanf(line, "%lx", &start) == 1 && !first)
            first = start;
    fclose(maps);
    where[0] = (unsigned long)&local;
    where[1] = (unsigned long)mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    where[2] = (unsigned long)sbrk(0);
    where[3] = getauxval(AT_SYSINFO_EHDR);
    where[4] = getauxval(AT_ENTRY);
    where[5] = getauxval(AT_EXECFN);
    where[6] = first;
    where[7] = personality(0xffffffff);
}

static void again(const char *self, unsigned long *where) {
    int ends[2];
    NEED(!pipe(ends));
    if (!fork()) {
        dup2(ends[1], 7);
        execl(self, self, "tell", NULL);
        _exit(1);
    }
    close(ends[1]);
    NEED(read(ends[0], where, WORDS * sizeof *where) == WORDS * sizeof *where);
    close(ends[0]);
    wait(NULL);
}

static void *other_thread(void *unused) {
    printf("a thread: %x", personality(0xffffffff));
    printf(", %x", personality(0x1234));
    printf(", %x\n", personality(0xffffffff));
    return unused;
}

static void executable(const char *what, int prot) {
    char line[256], rights[8] = "";
    unsigned long start, end, at = (unsigned long)mmap(NULL, 4096, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect((void *)at, 4096, prot);
    FILE *maps = fopen("/proc/self/maps", "r");
    while (fgets(line, sizeof line, maps))
        if (sscanf(line, "%lx-%lx %4s", &start, &end, rights) == 3 && start <= at && at < end)
            break;
    fclose(maps);
    printf("%s: %s\n", what, rights);
}

int main(int argc, char **argv) {
    unsigned long seen[3][WORDS], random[3][WORDS];
    if (argc > 1 && !strcmp(argv[1], "tell")) {
        addresses(seen[0]);
        return write(7, seen[0], sizeof seen[0]) != sizeof seen[0];
    }
    printf("at first %x\n", personality(0xffffffff));
    for (int i = 0; i < 3; i++)
        again("/proc/self/exe", random[i]);
    printf("random stacks: %d, maps: %d, heaps: %d\n", random[0][0] != random[1][0] || random[1][0] != random[2][0],
           random[0][1] != random[1][1] || random[1][1] != random[2][1],
           random[0][2] != random[1][2] || random[1][2] != random[2][2]);
    printf("set: %x\n", personality(ADDR_NO_RANDOMIZE | ADDR_COMPAT_LAYOUT | SHORT_INODE | 8));
    pthread_t thread;
    pthread_create(&thread, NULL, other_thread, NULL);
    pthread_join(thread, NULL);
    printf("not changed by it: %x\n", personality(ADDR_NO_RANDOMIZE));
    char text[16] = "";
    int fd = open("/proc/self/personality", O_RDONLY);
    NEED(read(fd, text, 15) > 0);
    printf("in /proc: %s", text);
    for (int i = 0; i < 3; i++)
        again("/proc/self/exe", seen[i]);
    printf("the same three times: %d\n", !memcmp(seen[0], seen[1], sizeof seen[0]) && !memcmp(seen[1], seen[2], sizeof seen[0]));
    printf("kept over exec: %lx\n", seen[0][7]);
    printf("random again: %x\n", personality(0));
    again("/proc/self/exe", seen[1]);
    printf("another stack: %d\n", seen[0][0] != seen[1][0]);
    executable("read", PROT_READ);
    personality(READ_IMPLIES_EXEC | ADDR_NO_RANDOMIZE);
    executable("read, implied", PROT_READ);
    executable("read and write, implied", PROT_READ | PROT_WRITE);
    executable("write only", PROT_WRITE);
    executable("nothing", PROT_NONE);
    again("/proc/self/exe", seen[2]);
    printf("after exec: %lx\n", seen[2][7]);
    struct timeval left = {30, 0};
    struct timespec rest = {30, 0};
    personality(STICKY_TIMEOUTS);
    fd_set output;
    FD_ZERO(&output);
    FD_SET(1, &output);
    R(select(2, NULL, &output, NULL, &left));
    R(pselect(2, NULL, &output, NULL, &rest, NULL));
    printf("left: %ld.%ld %ld.%ld\n", left.tv_sec, (long)left.tv_usec, rest.tv_sec, rest.tv_nsec);
    personality(0);
    R(select(2, NULL, &output, NULL, &left));
    printf("left: %d\n", left.tv_sec < 30);
    printf("all bits: %x", personality(0xfffffffe));
    printf(" %x\n", personality(0));
    return 0;
}

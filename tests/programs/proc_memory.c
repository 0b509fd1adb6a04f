// What /proc says about a process's memory: smaps of known areas, its sums, and sizes.
#include "test.h"

#define PAGE 4096
#define PAGES 64 // more than is copied at a time
#define LEN (PAGES * PAGE)

static char all[1 << 18], rollup[1 << 12];

static const char *shown[] = {"Size:",          "Rss:",           "Pss:",       "Pss_Dirty:",
                              "Shared_Clean:",  "Shared_Dirty:",  "Private_Clean:",
                              "Private_Dirty:", "Anonymous:",     "AnonHugePages:", "Swap:"};

static void load(const char *path, char *text, size_t len) {
    memset(text, 0, len);
    int fd = open(path, O_RDONLY);
    NEED(fd >= 0);
    size_t have = 0;
    for (ssize_t n; (n = read(fd, text + have, len - 1 - have)) > 0;)
        have += n;
    close(fd);
}

static long field(const char *text, const char *name) {
    const char *at = strstr(text, name);
    NEED(at != NULL);
    return strtol(at + strlen(name), NULL, 10);
}

// The smaps entry of the area at `start`.
static void show(const char *what, const char *start) {
    char line[32];
    printf("%s:", what);
    snprintf(line, sizeof line, "%08lx-", (unsigned long)start);
    load("/proc/self/smaps", all, sizeof all);
    const char *area = strstr(all, line);
    NEED(area != NULL);
    for (size_t i = 0; i < sizeof shown / sizeof *shown; i++)
        printf(" %s%ld", shown[i], field(area, shown[i]));
    printf("\n");
}

// Whether smaps_rollup has the sums of smaps.
static void check_sums(void) {
    load("/proc/self/smaps", all, sizeof all);
    load("/proc/self/smaps_rollup", rollup, sizeof rollup);
    YES(strstr(rollup, "[rollup]\n") != NULL);
    for (size_t i = 1; i < sizeof shown / sizeof *shown; i++) {
        long sum = 0;
        for (char *at = all; (at = strstr(at, shown[i])) != NULL; at++)
            if (at[-1] == '\n')
                sum += strtol(at + strlen(shown[i]), NULL, 10);
        // Pss is rounded down in every area, and changes with others who run the same program.
        long least = strncmp(shown[i], "Pss", 3) == 0 ? -63 : 0;
        long difference = field(rollup, shown[i]) - sum;
        printf("sum of %s %s\n", shown[i],
               difference >= least && difference < 64 ? "agrees" : "differs");
    }
}

static long pages_of_size(void) {
    char text[128];
    load("/proc/self/statm", text, sizeof text);
    return strtol(text, NULL, 10);
}

int main(void) {
    load("/proc/self/smaps", all, sizeof all);
    // Areas with gaps, so that nothing merges.
    char *room = mmap(NULL, 8 * LEN, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    NEED(room != MAP_FAILED);
    int flags = MAP_ANONYMOUS | MAP_FIXED;
    char *mine = mmap(room + LEN, LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | flags, -1, 0);
    char *ours = mmap(room + 3 * LEN, LEN, PROT_READ | PROT_WRITE, MAP_SHARED | flags, -1, 0);
    NEED(mine != MAP_FAILED && ours != MAP_FAILED);
    show("untouched", mine);
    memset(mine, 1, LEN);
    memset(ours, 1, LEN);
    show("private", mine);
    show("shared", ours);
    R(madvise(mine, 4 * PAGE, MADV_DONTNEED));
    show("private, a part given back", mine);

    int wait[2], ready[2];
    char byte = 0;
    NEED(pipe(wait) == 0 && pipe(ready) == 0);
    pid_t child = fork();
    NEED(child >= 0);
    if (child == 0) {
        close(wait[1]);
        volatile char *touched = ours;
        for (int i = 0; i < PAGES; i++)
            touched[i * PAGE] = 2;
        write(ready[1], &byte, 1);
        read(wait[0], &byte, 1);
        _exit(0);
    }
    NEED(read(ready[0], &byte, 1) == 1);
    show("private, with a child", mine);
    show("shared, with a child", ours);
    memset(mine + LEN / 2, 3, LEN / 2);
    show("private, half of it copied", mine);
    close(wait[1]);
    waitpid(child, NULL, 0);
    show("private, the child gone", mine);
    check_sums();

    long before = pages_of_size();
    char *more = mmap(NULL, LEN, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    NEED(more != MAP_FAILED);
    printf("pages more: %ld\n", pages_of_size() - before);
    munmap(more, LEN);
    printf("pages more: %ld\n", pages_of_size() - before);
    return 0;
}

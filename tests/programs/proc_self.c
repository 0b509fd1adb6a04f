// /proc/self: exe, maps, stat, status, fd, cmdline, comm; /proc/meminfo and its fellows.
// case args: alpha beta
#include "test.h"
#include <ctype.h>
static char text[1 << 16];
static int slurp(const char *path) {
    int fd = open(path, O_RDONLY), n = 0;
    if (fd < 0) {
        printf("%s: %s\n", path, errno_name(errno));
        text[0] = 0;
        return -1;
    }
    for (ssize_t got; (got = read(fd, text + n, sizeof text - 1 - n)) > 0;)
        n += got;
    text[n] = 0;
    close(fd);
    return n;
}
int main(void) {
    char b[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", b, sizeof b - 1);
    NEED(n > 0);
    b[n] = 0;
    printf("exe %s\n", strrchr(b, '/') + 1);
    YES(access("/proc/self/exe", R_OK) == 0);
    slurp("/proc/self/maps");
    int lines = 0, ordered = 1, stack = 0, heap = 0, text_of_main = 0;
    unsigned long last = 0;
    free(malloc(10));
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        unsigned long start, end, offset, inode;
        char perms[5], dev[16];
        NEED(sscanf(line, "%lx-%lx %4s %lx %15s %lu", &start, &end, perms, &offset, dev, &inode) == 6);
        ordered &= start >= last && end > start && end % 4096 == 0;
        last = end;
        lines++;
        unsigned long local = (unsigned long)&local, code = (unsigned long)&main;
        if (strstr(line, "[stack]"))
            stack += local >= start && local < end && perms[1] == 'w';
        heap += strstr(line, "[heap]") != NULL;
        if (code >= start && code < end)
            text_of_main = perms[2] == 'x' && strstr(line, "proc_self") != NULL;
    }
    printf("ordered %d stack %d heap %d text %d some %d\n", ordered, stack, heap, text_of_main,
           lines >= 5);
    n = slurp("/proc/self/cmdline");
    YES(n > 0 && !strcmp(strrchr(text, '/') + 1, "proc_self"));
    YES(!strcmp(text + strlen(text) + 1, "alpha"));
    slurp("/proc/self/comm");
    printf("comm %s", text);
    slurp("/proc/self/stat");
    int pid = 0;
    char comm[32], state;
    NEED(sscanf(text, "%d (%31[^)]) %c", &pid, comm, &state) == 3);
    printf("stat pid %d comm %s state %c\n", pid == getpid(), comm, state);
    slurp("/proc/self/status");
    char *line = strstr(text, "\nPid:");
    YES(line && atoi(line + 5) == getpid());
    line = strstr(text, "VmRSS:");
    YES(line && atol(line + 6) > 0);
    YES(strstr(text, "Threads:\t1\n") != NULL);
    slurp("/proc/self/statm");
    long size, resident;
    YES(sscanf(text, "%ld %ld", &size, &resident) == 2 && size >= resident && resident > 0);
    snprintf(b, sizeof b, "/proc/%d/exe", getpid());
    YES(access(b, F_OK) == 0);
    R(access("/proc/999999999", F_OK));
    int fd = open("/dev/null", O_RDONLY);
    snprintf(b, sizeof b, "/proc/self/fd/%d", fd);
    char target[64] = "";
    R(readlink(b, target, 63));
    puts(target);
    YES(open(b, O_RDONLY) > fd);
    slurp("/proc/meminfo");
    long total = 0, available = 0;
    line = strstr(text, "MemAvailable:");
    YES(sscanf(text, "MemTotal: %ld kB", &total) == 1 && total > 16000);
    YES(line && sscanf(line, "MemAvailable: %ld kB", &available) == 1 && available < total);
    slurp("/proc/cpuinfo");
    YES(strstr(text, "processor\t: 0") != NULL);
    slurp("/proc/stat");
    YES(!strncmp(text, "cpu ", 4) && strstr(text, "btime "));
    slurp("/proc/uptime");
    double up, idle;
    YES(sscanf(text, "%lf %lf", &up, &idle) == 2 && up >= 0);
    slurp("/proc/sys/kernel/random/uuid");
    R(strlen(text));
    slurp("/proc/version");
    YES(!strncmp(text, "Linux version ", 14));
    slurp("/proc/loadavg");
    double load;
    YES(sscanf(text, "%lf", &load) == 1);
    slurp("/proc/filesystems");
    YES(strstr(text, "tmpfs") != NULL);
    OK(open("/proc/self/maps", O_WRONLY | O_CREAT | O_EXCL, 0600));
    OK(open("/proc/no-such-thing", O_RDONLY));
    return 0;
}

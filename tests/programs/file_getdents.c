// Directory listing: every name once whatever the buffer size, types, rewind, growth.
#include "test.h"
static int compare(const void *a, const void *b) { return strcmp(*(char **)a, *(char **)b); }
static void list(const char *path) {
    DIR *dir = opendir(path);
    if (!dir) {
        printf("%s: %s\n", path, errno_name(errno));
        return;
    }
    char *names[400];
    int count = 0;
    for (struct dirent *entry; (entry = readdir(dir)) && count < 400;) {
        char text[300];
        snprintf(text, sizeof text, "%s:%d", entry->d_name, entry->d_type);
        names[count++] = strdup(text);
        NEED(entry->d_ino != 0);
    }
    closedir(dir);
    qsort(names, count, sizeof *names, compare);
    printf("%s: %d entries:", path, count);
    for (int i = 0; i < count && i < 8; i++)
        printf(" %s", names[i]);
    putchar('\n');
}
struct linux_dirent64 {
    uint64_t d_ino, d_off;
    unsigned short d_reclen;
    unsigned char d_type;
    char d_name[];
};
int main(void) {
    enter_dir();
    NEED(mkdir("d", 0755) == 0);
    list("d");
    put_file("d/file", "");
    NEED(mkdir("d/dir", 0755) == 0 && symlink("file", "d/link") == 0);
    NEED(mkfifo("d/fifo", 0600) == 0);
    list("d");
    list("absent");
    list("d/file");
    NEED(mkdir("many", 0755) == 0);
    for (int i = 0; i < 300; i++) {
        char name[64];
        sprintf(name, "many/a-name-of-some-length-%03d", i);
        put_file(name, "");
    }
    list("many");
    int fd = open("many", O_RDONLY | O_DIRECTORY);
    char buffer[200];
    int seen[300] = {0}, dots = 0, calls = 0;
    for (long n; (n = syscall(SYS_getdents64, fd, buffer, sizeof buffer)) > 0; calls++)
        for (long at = 0; at < n;) {
            struct linux_dirent64 *entry = (void *)(buffer + at);
            int i;
            if (sscanf(entry->d_name, "a-name-of-some-length-%d", &i) == 1)
                seen[i]++;
            else
                dots++;
            at += entry->d_reclen;
        }
    int once = 0;
    for (int i = 0; i < 300; i++)
        once += seen[i] == 1;
    printf("once %d dots %d many calls %d\n", once, dots, calls > 50);
    R(syscall(SYS_getdents64, fd, buffer, sizeof buffer));
    R(lseek(fd, 0, SEEK_SET));
    YES(syscall(SYS_getdents64, fd, buffer, sizeof buffer) > 0);
    R(syscall(SYS_getdents64, fd, buffer, 10));
    R(syscall(SYS_getdents64, 99, buffer, 100));
    int file = open("d/file", O_RDONLY);
    R(syscall(SYS_getdents64, file, buffer, 200));
    char byte;
    R(read(fd, &byte, 1));
    // Removing while reading ends, and everything goes.
    DIR *dir = opendir("many");
    int removed = 0;
    for (struct dirent *entry; (entry = readdir(dir));)
        if (entry->d_name[0] == 'a')
            removed += unlinkat(dirfd(dir), entry->d_name, 0) == 0;
    closedir(dir);
    printf("removed %d\n", removed);
    list("many");
    return 0;
}

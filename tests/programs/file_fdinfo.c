// /proc/self/fdinfo: offset and flags, even of the very file that is read.
#include "test.h"
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static void show(int fd) {
    char text[4096];
    ssize_t n = read(fd, text, sizeof text - 1);
    NEED(n > 0);
    text[n > 0 ? n : 0] = 0;
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
        if (!strncmp(line, "pos:", 4) || !strncmp(line, "flags:", 6))
            printf("%s\n", line);
}

int main(void) {
    char path[64], file[] = "/tmp/fdinfo-XXXXXX";
    int data = mkstemp(file);
    NEED(data >= 0 && unlink(file) == 0);
    NEED(write(data, "0123456789", 10) == 10);
    NEED(lseek(data, -3, SEEK_END) == 7);
    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", data);
    int info = open(path, O_RDONLY | O_CLOEXEC);
    NEED(info >= 0);
    show(info);

    // The file that describes itself, then itself again from where reading left off.
    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", info);
    int other = open(path, O_RDONLY);
    NEED(other >= 0 && dup2(other, info) == info);
    NEED(close(other) == 0);
    show(info);
    NEED(lseek(info, 0, SEEK_SET) == 0);
    show(info);
    return 0;
}

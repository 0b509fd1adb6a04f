// O_APPEND: writers in several processes never overwrite each other, and pwrite appends too.
#include "test.h"
int main(void) {
    enter_dir();
    for (int child = 0; child < 4; child++)
        if (fork() == 0) {
            int fd = open("log", O_WRONLY | O_APPEND | O_CREAT, 0600);
            char line[8] = "child0\n";
            line[5] = (char)('0' + child);
            for (int i = 0; i < 200; i++)
                NEED(write(fd, line, 7) == 7);
            _exit(0);
        }
    while (wait(NULL) > 0) {
    }
    int fd = open("log", O_RDWR | O_APPEND), counts[4] = {0}, broken = 0;
    char line[7];
    while (read(fd, line, 7) == 7)
        if (memcmp(line, "child", 5) || line[6] != '\n')
            broken++;
        else
            counts[line[5] - '0']++;
    printf("%d %d %d %d broken %d\n", counts[0], counts[1], counts[2], counts[3], broken);
    R(pwrite(fd, "end", 3, 0));
    R(lseek(fd, 0, SEEK_CUR));
    R(pread(fd, line, 5, 0));
    printf("%.5s\n", line);
    R(lseek(fd, 0, SEEK_END));
    return 0;
}

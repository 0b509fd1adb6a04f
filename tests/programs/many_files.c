// A thousand small files and a deep tree: nothing leaks, everything is found again.
#include "test.h"
int main(void) {
    enter_dir();
    char name[64], text[64];
    for (int i = 0; i < 1000; i++) {
        sprintf(name, "file-%d", i);
        sprintf(text, "content of %d", i * 7);
        put_file(name, text);
    }
    int wrong = 0;
    for (int i = 0; i < 1000; i++) {
        sprintf(name, "file-%d", i);
        sprintf(text, "content of %d", i * 7);
        char back[64] = "";
        int fd = open(name, O_RDONLY);
        read(fd, back, sizeof back);
        wrong += strcmp(back, text) != 0;
        close(fd);
    }
    printf("wrong %d\n", wrong);
    for (int i = 0; i < 50; i++) {
        NEED(mkdir("deep", 0755) == 0);
        NEED(chdir("deep") == 0);
    }
    put_file("bottom", "reached");
    show_file("../../deep/deep/bottom");
    char cwd[PATH_MAX];
    NEED(getcwd(cwd, sizeof cwd));
    int levels = 0;
    for (char *p = cwd; (p = strstr(p, "/deep")); p++)
        levels++;
    R(levels);
    return 0;
}

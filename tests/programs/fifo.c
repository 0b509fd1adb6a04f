// Named pipes: opening waits for the other side, O_NONBLOCK does not, the end comes with the last
// writer.
#include "test.h"
int main(void) {
    enter_dir();
    R(mkfifo("f", 0600));
    R(mkfifo("f", 0600));
    OK(open("f", O_WRONLY | O_NONBLOCK)); // nobody reads
    int reader = open("f", O_RDONLY | O_NONBLOCK);
    YES(reader >= 0);
    char text[32] = "";
    R(read(reader, text, 31)); // nobody writes: the end
    int writer = open("f", O_WRONLY | O_NONBLOCK);
    YES(writer >= 0);
    R(read(reader, text, 31)); // somebody may
    R(write(writer, "hello", 5));
    R(read(reader, text, 31));
    R(close(writer));
    R(read(reader, text, 31));
    R(close(reader));
    pid_t pid = fork();
    if (pid == 0) {
        int fd = open("f", O_WRONLY); // waits for the parent
        NEED(write(fd, "from the child", 14) == 14);
        _exit(0);
    }
    int fd = open("f", O_RDONLY);
    memset(text, 0, sizeof text);
    long n, total = 0;
    while ((n = read(fd, text + total, sizeof text - 1 - (size_t)total)) > 0)
        total += n;
    puts(text);
    waitpid(pid, NULL, 0);
    int both = open("f", O_RDWR);
    R(write(both, "xyz", 3));
    R(read(both, text, 2));
    struct stat st;
    fstat(both, &st);
    YES(S_ISFIFO(st.st_mode));
    R(lseek(both, 0, SEEK_SET));
    R(unlink("f"));
    R(write(both, "still", 5));
    return 0;
}

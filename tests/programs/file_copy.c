// sendfile, copy_file_range, splice between files and pipes.
#include "test.h"
#include <sys/sendfile.h>
int main(void) {
    enter_dir();
    put_file("from", "0123456789abcdef");
    int in = open("from", O_RDONLY), out = open("to", O_RDWR | O_CREAT, 0600);
    R(sendfile(out, in, NULL, 4));
    off_t at = 10;
    R(sendfile(out, in, &at, 100));
    R(at);
    R(lseek(in, 0, SEEK_CUR));
    show_file("to");
    int pipes[2];
    NEED(pipe(pipes) == 0);
    at = 2;
    R(sendfile(pipes[1], in, &at, 3));
    char b[10] = "";
    R(read(pipes[0], b, 10));
    printf("%s\n", b);
    R(sendfile(99, in, NULL, 1));
    R(sendfile(out, 99, NULL, 1));
    R(sendfile(in, out, NULL, 1));
    off_t from = 0, to = 20;
    R(copy_file_range(in, &from, out, &to, 6, 0));
    printf("%ld %ld\n", (long)from, (long)to);
    struct stat st;
    fstat(out, &st);
    printf("size %ld\n", (long)st.st_size);
    R(copy_file_range(in, NULL, out, NULL, 3, 0));
    R(lseek(in, 0, SEEK_CUR));
    R(copy_file_range(in, NULL, out, NULL, 3, 5));
    at = 0;
    R(splice(in, &at, pipes[1], NULL, 5, 0));
    R(read(pipes[0], b, 10));
    R(splice(in, NULL, out, NULL, 5, 0)); // neither is a pipe
    return 0;
}

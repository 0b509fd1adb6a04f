// Holes in files: SEEK_DATA and SEEK_HOLE, punching, block counts, reads of zeros.
#include "test.h"
int main(void) {
    enter_dir();
    int fd = memfd_create("holes", 0);
    NEED(ftruncate(fd, 64 << 10) == 0);
    R(lseek(fd, 0, SEEK_DATA));
    R(lseek(fd, 0, SEEK_HOLE));
    NEED(pwrite(fd, "data", 4, 16 << 10) == 4 && pwrite(fd, "more", 4, 40 << 10) == 4);
    R(lseek(fd, 0, SEEK_DATA));
    R(lseek(fd, 16 << 10, SEEK_HOLE));
    R(lseek(fd, 20 << 10, SEEK_DATA));
    R(lseek(fd, 44 << 10, SEEK_DATA));
    R(lseek(fd, 44 << 10, SEEK_HOLE));
    R(lseek(fd, 64 << 10, SEEK_HOLE));
    R(lseek(fd, 65 << 10, SEEK_DATA));
    R(lseek(fd, -1, SEEK_DATA));
    struct stat st;
    fstat(fd, &st);
    R(st.st_blocks);
    R(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 16 << 10, 4096));
    fstat(fd, &st);
    R(st.st_blocks);
    R(st.st_size);
    char text[8] = "????";
    R(pread(fd, text, 4, 16 << 10));
    R(text[0]);
    R(fallocate(fd, 0, 0, 100 << 10));
    fstat(fd, &st);
    R(st.st_size);
    R(fallocate(fd, FALLOC_FL_KEEP_SIZE, 200 << 10, 4096));
    fstat(fd, &st);
    R(st.st_size);
    R(fallocate(fd, FALLOC_FL_PUNCH_HOLE, 0, 4096));
    R(fallocate(fd, 0, -1, 4096));
    R(fallocate(fd, 0, 0, 0));
    int pipes[2];
    NEED(pipe(pipes) == 0);
    R(fallocate(pipes[1], 0, 0, 10));
    return 0;
}

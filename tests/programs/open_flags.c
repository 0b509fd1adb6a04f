// open: O_EXCL, O_NOFOLLOW, O_DIRECTORY, O_TRUNC, O_TMPFILE, O_PATH, O_CLOEXEC and their mistakes.
#include "test.h"
int main(void) {
    enter_dir();
    put_file("file", "content");
    mkdir("dir", 0755);
    symlink("file", "link");
    symlink("nowhere", "dangling");
    symlink("loop", "loop");
    OK(open("file", O_RDWR | O_CREAT | O_EXCL, 0600));
    OK(open("dangling", O_RDWR | O_CREAT | O_EXCL, 0600));
    OK(open("link", O_RDONLY | O_NOFOLLOW));
    OK(open("link", O_PATH | O_NOFOLLOW));
    OK(open("loop", O_RDONLY));
    OK(open("file", O_RDONLY | O_DIRECTORY));
    OK(open("dir", O_RDONLY | O_DIRECTORY));
    OK(open("dir", O_RDWR));
    OK(open("dir", O_RDONLY | O_CREAT, 0600));
    OK(open("file/", O_RDONLY));
    OK(open("new/", O_RDWR | O_CREAT, 0600));
    OK(open("", O_RDONLY));
    OK(open("dangling", O_RDONLY));
    OK(open("dangling", O_RDWR | O_CREAT, 0600)); // makes what it points to
    OK(access("nowhere", F_OK));
    int fd = open("file", O_RDWR | O_TRUNC);
    R(lseek(fd, 0, SEEK_END));
    R(fcntl(fd, F_GETFL) & (O_ACCMODE | O_TRUNC | O_APPEND));
    R(fcntl(fd, F_GETFD));
    fd = open("file", O_WRONLY | O_CLOEXEC | O_APPEND | O_NONBLOCK);
    R(fcntl(fd, F_GETFL) & (O_ACCMODE | O_APPEND | O_NONBLOCK));
    R(fcntl(fd, F_GETFD));
    char byte;
    R(read(fd, &byte, 1));
    fd = open("file", O_PATH);
    R(read(fd, &byte, 1));
    R(fcntl(fd, F_GETFL) & O_PATH ? 1 : 0);
    struct stat st;
    R(fstat(fd, &st));
    R(fchmod(fd, 0600));
    OK(open(".", O_TMPFILE | O_RDWR, 0600));
    OK(open(".", O_TMPFILE | O_RDONLY, 0600));
    fd = open(".", O_TMPFILE | O_RDWR, 0600);
    R(write(fd, "temporary", 9));
    fstat(fd, &st);
    R(st.st_nlink);
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    R(linkat(AT_FDCWD, path, AT_FDCWD, "kept", AT_SYMLINK_FOLLOW));
    show_file("kept");
    return 0;
}

// execveat: by a directory, by an open file (fexecve), and its errors.
#include "test.h"
extern char **environ;
static int run(int dir, const char *path, int flags, const char *word) {
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        char *argv[] = {"execveat", (char *)word, NULL};
        syscall(SYS_execveat, dir, path, argv, environ, flags);
        printf("%s: %s\n", word, errno_name(errno));
        _exit(5);
    }
    int status;
    NEED(waitpid(pid, &status, 0) == pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}
int main(int argc, char **argv) {
    if (argc == 2) {
        printf("the child: %s %s\n", argv[0], argv[1]);
        return 3;
    }
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    NEED(n > 0);
    self[n] = 0;
    char *name = strrchr(self, '/');
    *name++ = 0;
    int dir = open(*self ? self : "/", O_RDONLY | O_DIRECTORY), file = openat(dir, name, O_RDONLY);
    int by_path = openat(dir, name, O_PATH | O_CLOEXEC);
    NEED(dir >= 0 && file >= 0 && by_path >= 0);
    R(run(dir, name, 0, "directory"));
    R(run(file, "", AT_EMPTY_PATH, "file"));
    R(run(by_path, "", AT_EMPTY_PATH, "O_PATH"));
    R(run(AT_FDCWD, "", 0, "empty"));
    R(run(file, "", 0, "empty without flag"));
    R(run(dir, "no-such-file", 0, "missing"));
    R(run(dir, name, 1 << 20, "flags"));
    R(run(file, name, 0, "not a directory"));
    R(run(-1, name, 0, "no descriptor"));
    R(run(dir, "", AT_EMPTY_PATH, "a directory itself"));
    enter_dir();
    NEED(symlink("/proc/self/exe", "link") == 0);
    R(run(AT_FDCWD, "link", AT_SYMLINK_NOFOLLOW, "symbolic link"));
    put_file("plain", "text\n");
    R(run(AT_FDCWD, "plain", 0, "no execute bit"));
    chmod("plain", 0755);
    R(run(AT_FDCWD, "plain", 0, "not a program"));
    return 0;
}

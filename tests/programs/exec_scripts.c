// "#!" lines: the interpreter's argument, the script's path, interpreters that are scripts, and
// what is no program.
#include "test.h"
extern char **environ;
static void run(const char *path) {
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        char *args[] = {"zero", "one", "two", NULL};
        execve(path, args, environ);
        printf("%s: %s\n", path, errno_name(errno));
        fflush(stdout);
        _exit(9);
    }
    int status;
    waitpid(pid, &status, 0);
    R(WEXITSTATUS(status));
}
static void script(const char *name, const char *line) {
    put_file(name, line);
    chmod(name, 0755);
}
int main(int argc, char **argv) {
    if (argc > 1) {
        printf("%d:", argc);
        for (int i = 1; i < argc; i++)
            printf(" [%s]", argv[i]);
        putchar('\n');
        return argc;
    }
    enter_dir();
    script("plain", "#!/proc/self/exe\nrest\n");
    script("spaces", "#!  /proc/self/exe   a b  \n");
    script("nested", "#!plain x\n");
    script("no-newline", "#!/proc/self/exe");
    script("missing", "#!/no/such/interpreter\n");
    script("empty", "#!\n");
    script("text", "just text\n");
    script("nothing", "");
    script("directory", "#!/tmp\n");
    script("self", "#!self\n");
    const char *names[] = {"./plain", "./spaces", "./nested", "./no-newline", "./missing",
                           "./empty", "./text", "./nothing", "./directory", "./self", "."};
    for (int i = 0; i < 11; i++)
        run(names[i]);
    chmod("plain", 0644);
    run("./plain");
    return 0;
}

// How much exec carries: long arguments, many of them, an empty list, and E2BIG beyond.
#include "test.h"
static int run(char **args, char **env) {
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        execve("/proc/self/exe", args, env);
        _exit(errno == E2BIG ? 77 : errno);
    }
    int status;
    NEED(waitpid(pid, &status, 0) == pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}
int main(int argc, char **argv, char **envp) {
    if (argc == 0 || !argv[0][0]) {
        puts("no name");
        return 5;
    }
    if (!strcmp(argv[0], "child")) {
        size_t bytes = 0;
        int words = 0;
        for (int i = 0; i < argc; i++)
            bytes += strlen(argv[i]) + 1;
        while (envp[words])
            words++;
        printf("%d arguments, %zu bytes, %d variables\n", argc, bytes, words);
        return 3;
    }
    static char *args[20002], *none[] = {NULL};
    static char longest[128 << 10], longer[(128 << 10) + 1];
    memset(longest, 'x', sizeof longest - 1);
    memset(longer, 'x', sizeof longer - 1);
    args[0] = "child";
    args[1] = longest;
    R(run(args, none));
    args[1] = longer;
    R(run(args, none));
    for (int i = 1; i < 20001; i++)
        args[i] = "word";
    R(run(args, none));
    args[20001] = NULL;
    args[100] = NULL;
    R(run(args, args)); // as environment too
    for (int i = 1; i < 60; i++)
        args[i] = longest;
    args[60] = NULL;
    R(run(args, none)); // more than a quarter of the stack limit
    R(run(none, none)); // Linux gives an empty name
    return 0;
}

// What the tests of `sprout run` run inside: one behaviour for each first argument.
#include "test.h"
#include <sched.h>
#include <sys/ioctl.h>
#include <termios.h>

static volatile sig_atomic_t caught;

static void on_signal(int sig, siginfo_t *info, void *context) { caught = sig; }

static _Atomic int came;

static void *read_one(void *arg) {
    char c;
    NEED(read(0, &c, 1) == 1);
    came = 1;
    return NULL;
}

static void size(void) {
    struct winsize w = {0};
    ioctl(0, TIOCGWINSZ, &w);
    printf("%d x %d\n", w.ws_row, w.ws_col);
}

int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "";
    if (!strcmp(what, "streams")) {
        printf("%d %d %d\n", isatty(0), isatty(1), isatty(2));
        int fd = open("/dev/tty", O_RDWR);
        printf("/dev/tty: %s\n", fd < 0 ? errno_name(errno) : "open");
        if (isatty(0))
            printf("%s, foreground: %d\n", ttyname(0), tcgetpgrp(0) == getpgrp());
    } else if (!strcmp(what, "raw")) {
        struct termios t;
        NEED(tcgetattr(0, &t) == 0);
        cfmakeraw(&t);
        NEED(tcsetattr(0, TCSANOW, &t) == 0);
        printf("raw\n");
        unsigned char c;
        for (ssize_t n; (n = read(0, &c, 1)) == 1 && c != 'q';)
            printf("<%02x>\n", c);
    } else if (!strcmp(what, "lines")) {
        char line[100];
        printf("ready\n");
        for (ssize_t n; (n = read(0, line, sizeof line)) > 0;)
            printf("%zd: %.*s", n, (int)n, line);
        printf("end\n");
    } else if (!strcmp(what, "size")) {
        handle(SIGWINCH, on_signal, 0);
        size();
        while (!caught)
            pause();
        size();
    } else if (!strcmp(what, "wait")) {
        if (argc > 2) // ignore this signal
            signal(atoi(argv[2]), SIG_IGN);
        printf("ready\n");
        for (;;)
            pause();
    } else if (!strcmp(what, "spin")) {
        printf("ready\n");
        for (;;) {
        }
    } else if (!strcmp(what, "catch")) {
        for (int sig = 1; sig < 32; sig++)
            if (sig != SIGKILL && sig != SIGSTOP)
                handle(sig, on_signal, 0);
        printf("ready\n");
        for (int i = 2; i < argc; i++) {
            while (!caught)
                pause();
            printf("got %d\n", caught);
            caught = 0;
        }
    } else if (!strcmp(what, "flood")) {
        static char bytes[70000];
        memset(bytes, 'y', sizeof bytes);
        if (argc > 2)
            signal(SIGPIPE, SIG_IGN);
        ssize_t n;
        while ((n = write(1, bytes, sizeof bytes)) > 0) {
        }
        fprintf(stderr, "write: %s\n", errno_name(errno));
        return 3;
    } else if (!strcmp(what, "count")) {
        // How much standard input there is.
        static char bytes[70000];
        long total = 0;
        for (ssize_t n; (n = read(0, bytes, sizeof bytes)) > 0;)
            total += n;
        printf("%ld\n", total);
    } else if (!strcmp(what, "busy")) {
        // One thread reads, the other one only computes, both on the same processor.
        cpu_set_t one;
        CPU_ZERO(&one);
        CPU_SET(0, &one);
        NEED(sched_setaffinity(0, sizeof one, &one) == 0);
        pthread_t thread;
        NEED(pthread_create(&thread, NULL, read_one, NULL) == 0);
        printf("ready\n");
        while (!came) {
        }
    } else if (!strcmp(what, "free")) { // MIB wait|compute
        size_t size = (size_t)atoi(argv[2]) << 20;
        char *memory =
            mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), c;
        NEED(memory != MAP_FAILED);
        memset(memory, 1, size);
        printf("ready\n");
        NEED(read(0, &c, 1) == 1);
        NEED(munmap(memory, size) == 0);
        printf("freed\n");
        while (strcmp(argv[3], "wait") != 0) {
        }
        pause();
    } else if (!strcmp(what, "die")) {
        raise(atoi(argv[2]));
    }
    return 0;
}

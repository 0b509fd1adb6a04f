// The line discipline of a pseudo-terminal, seen from its master: lines, editing, echo, output
// processing, flow control, reads without lines, and mode switches.
#include "test.h"
#include <sys/ioctl.h>
#include <termios.h>

static int master, slave;

static void escaped(const char *what, const char *bytes, ssize_t n) {
    printf("%s:", what);
    if (n < 0) {
        printf(" %s\n", errno_name(errno));
        return;
    }
    printf(" %zd \"", n);
    for (ssize_t i = 0; i < n; i++) {
        unsigned char c = bytes[i];
        if (c >= ' ' && c < 127 && c != '\\')
            putchar(c);
        else
            printf("\\x%02x", c);
    }
    printf("\"\n");
}

static int readable(int fd, int ms) {
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, ms) == 1 && (p.revents & POLLIN);
}

// Reads everything that comes within a moment.
static void show_all(const char *what, int fd) {
    char bytes[8192];
    ssize_t n = 0;
    while (n < (ssize_t)sizeof bytes && readable(fd, n ? 100 : 1000)) {
        ssize_t got = read(fd, bytes + n, sizeof bytes - n);
        if (got <= 0)
            break;
        n += got;
    }
    escaped(what, bytes, n);
}

// One read, of what should be there.
static void show_read(const char *what, size_t size) {
    char bytes[8192];
    if (!readable(slave, 3000)) {
        printf("%s: nothing to read\n", what);
        return;
    }
    ssize_t n = read(slave, bytes, size);
    escaped(what, bytes, n);
}

static void type(const char *text) {
    NEED(write(master, text, strlen(text)) == (ssize_t)strlen(text));
}

static struct termios modes(void) {
    struct termios t;
    NEED(tcgetattr(slave, &t) == 0);
    return t;
}

static void set(struct termios t) { NEED(tcsetattr(slave, TCSANOW, &t) == 0); }

static void open_pair(void) {
    master = posix_openpt(O_RDWR | O_NOCTTY);
    NEED(master >= 0);
    OK(open(ptsname(master), O_RDWR | O_NOCTTY));
    R(grantpt(master));
    R(unlockpt(master));
    slave = open(ptsname(master), O_RDWR | O_NOCTTY);
    NEED(slave >= 0);
}

int main(void) {
    open_pair();
    R(isatty(slave));
    R(isatty(master));
    YES(strcmp(ttyname(slave), ptsname(master)) == 0);
    struct termios first = modes();
    printf("modes %o %o %o %o\n", first.c_iflag, first.c_oflag, first.c_cflag, first.c_lflag);
    escaped("keys", (char *)first.c_cc, 19);
    struct stat st;
    NEED(fstat(slave, &st) == 0);
    YES(S_ISCHR(st.st_mode) && st.st_rdev >> 8 == 136);
    R(lseek(slave, 0, SEEK_SET));

    puts("-- lines");
    type("hello");
    show_all("echo", master);
    R(readable(slave, 50));
    type("\r");
    show_read("line", 100);
    show_all("echo", master);
    type("abc\ndef\n");
    show_read("half", 2);
    show_read("rest", 100);
    show_read("next", 100);
    type("part\4");
    show_read("by end of file", 4);
    type("\4");
    show_read("end of file", 100);
    show_all("echo", master);

    puts("-- editing");
    type("ax\177b\n");
    show_read("erase", 100);
    show_all("echo", master);
    type("one two\27three\n");
    show_read("word", 100);
    show_all("echo", master);
    type("all gone\25kept\n");
    show_read("kill", 100);
    show_all("echo", master);
    type("a\tb\177\177c\n");
    show_read("tab", 100);
    show_all("echo", master);
    type("\1\177\2\n");
    show_read("control", 100);
    show_all("echo", master);
    type("\26\3\26\177x\n");
    show_read("literal", 100);
    show_all("echo", master);
    type("again\22\n");
    show_read("reprint", 100);
    show_all("echo", master);

    puts("-- output");
    R(write(slave, "a\nb\tc\r\n", 7));
    show_all("processed", master);
    struct termios t = first;
    t.c_oflag |= XTABS;
    set(t);
    R(write(slave, "a\tb\n", 4));
    show_all("spaces", master);
    t.c_oflag &= ~OPOST;
    set(t);
    R(write(slave, "a\tb\n", 4));
    show_all("raw", master);
    set(first);

    puts("-- flow control");
    type("\23");
    sleep_ms(200);
    R(fcntl(slave, F_SETFL, O_RDWR | O_NONBLOCK));
    R(write(slave, "later", 5));
    type("\21");
    sleep_ms(200);
    R(write(slave, "now", 3));
    show_all("output", master);
    R(tcflow(slave, TCOOFF));
    R(write(slave, "later", 5));
    R(tcflow(slave, TCOON));
    R(fcntl(slave, F_SETFL, O_RDWR));

    puts("-- without echo");
    t = first;
    t.c_lflag &= ~ECHO;
    set(t);
    type("secret\n");
    show_read("line", 100);
    show_all("echo", master);
    t.c_lflag |= ECHONL;
    set(t);
    type("secret\n");
    show_read("line", 100);
    show_all("echo", master);

    puts("-- without lines");
    t = first;
    cfmakeraw(&t);
    set(t);
    type("\3\r\4x");
    show_all("raw", slave);
    show_all("echo", master);
    t.c_cc[VMIN] = 0;
    t.c_cc[VTIME] = 0;
    set(t);
    char c;
    R(read(slave, &c, 1));
    t.c_cc[VTIME] = 2;
    set(t);
    long start = now_ms();
    R(read(slave, &c, 1));
    YES(now_ms() - start >= 190);
    t.c_cc[VMIN] = 4;
    set(t);
    type("ab");
    char four[8];
    start = now_ms();
    escaped("after a pause", four, read(slave, four, 8));
    YES(now_ms() - start >= 190);
    t.c_cc[VTIME] = 0;
    set(t);
    type("cd");
    R(readable(slave, 50));
    type("efg");
    escaped("five", four, read(slave, four, 8));
    R(fcntl(slave, F_SETFL, O_RDWR | O_NONBLOCK));
    R(read(slave, four, 8));
    type("h");
    sleep_ms(200);
    escaped("one", four, read(slave, four, 8));
    R(fcntl(slave, F_SETFL, O_RDWR));

    puts("-- switching");
    set(first);
    type("unfinished");
    sleep_ms(200);
    int unread = -1;
    R(ioctl(slave, FIONREAD, &unread));
    printf("unread %d\n", unread);
    t = first;
    t.c_lflag &= ~ICANON;
    set(t);
    R(ioctl(slave, FIONREAD, &unread));
    printf("unread %d\n", unread);
    show_read("as bytes", 100);
    type("typed ahead");
    sleep_ms(200);
    R(tcsetattr(slave, TCSAFLUSH, &first));
    type("\n");
    show_read("flushed", 100);
    type("lost\n");
    sleep_ms(200);
    R(tcflush(slave, TCIFLUSH));
    R(readable(slave, 50));
    show_all("echo", master);

    puts("-- windows");
    struct winsize w = {0};
    R(ioctl(slave, TIOCGWINSZ, &w));
    printf("%d x %d\n", w.ws_row, w.ws_col);
    w.ws_row = 40, w.ws_col = 132;
    R(ioctl(master, TIOCSWINSZ, &w));
    w = (struct winsize){0};
    R(ioctl(slave, TIOCGWINSZ, &w));
    printf("%d x %d\n", w.ws_row, w.ws_col);

    puts("-- a full line");
    static char many[5000];
    memset(many, 'x', sizeof many);
    t = first;
    t.c_lflag &= ~ECHO;
    set(t);
    R(write(master, many, 3000));
    R(write(master, many, 2000));
    type("\n");
    static char line[8192];
    NEED(readable(slave, 3000));
    ssize_t n = read(slave, line, sizeof line);
    printf("%zd bytes, last %d\n", n, n > 0 ? line[n - 1] : -1);
    set(first);

    puts("-- ends");
    type("before\n");
    sleep_ms(200);
    R(close(slave));
    show_all("what is left", master);
    R(read(master, many, 1));
    struct pollfd p = {.fd = master, .events = POLLIN | POLLOUT};
    R(poll(&p, 1, 0));
    printf("%x\n", p.revents);
    slave = open(ptsname(master), O_RDWR | O_NOCTTY);
    NEED(slave >= 0);
    show_read("kept for the next", 100);
    R(fcntl(master, F_SETFL, O_RDWR | O_NONBLOCK));
    R(read(master, many, 1));
    R(close(master));
    R(read(slave, many, 1));
    R(write(slave, many, 1));
    R(tcgetattr(slave, &t));
    p.fd = slave;
    R(poll(&p, 1, 0));
    printf("%x\n", p.revents);
    R(isatty(slave));
    int fd = open("/dev/null", O_RDWR);
    R(tcgetattr(fd, &t));
    R(ioctl(fd, TIOCGPTN, &unread));
    return 0;
}

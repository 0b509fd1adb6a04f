// Sessions, process groups and job control on a pseudo-terminal: the controlling terminal, keys that
// send signals, background reads and writes, stopping and continuing, orphans, hang-ups.
#include "test.h"
#include <sys/ioctl.h>
#include <termios.h>

static int master;
static char name[64];
static int tell[2]; // children's reports, one line each

static void say(const char *format, ...) {
    char line[200];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    NEED(write(tell[1], line, n) == n);
}

static void next_line(char *line, size_t size) {
    size_t n = 0;
    while (n < size - 1 && read(tell[0], line + n, 1) == 1 && line[n++] != '\n') {
    }
    line[n] = 0;
}

// Prints the next report.
static void heard(void) {
    char line[200];
    next_line(line, sizeof line);
    printf("  %s", line);
}

static int by_text(const void *a, const void *b) { return strcmp(a, b); }

// Prints the next reports, which may come in any order, sorted.
static void heard_sorted(int count) {
    char lines[8][200];
    for (int i = 0; i < count; i++)
        next_line(lines[i], sizeof lines[i]);
    qsort(lines, count, sizeof lines[0], by_text);
    for (int i = 0; i < count; i++)
        printf("  %s", lines[i]);
}

static void type(const char *text) {
    NEED(write(master, text, strlen(text)) == (ssize_t)strlen(text));
}

static void on_signal(int sig, siginfo_t *info, void *context) {
    say("got signal %d, code %d\n", sig, info->si_code);
}

static void show_status(const char *what, pid_t pid, int options) {
    int status = 0;
    pid_t got = waitpid(pid, &status, options | WUNTRACED | WCONTINUED);
    if (got != pid)
        printf("%s: %s\n", what, got == 0 ? "nothing" : errno_name(errno));
    else if (WIFSTOPPED(status))
        printf("%s: stopped by %d\n", what, WSTOPSIG(status));
    else if (WIFCONTINUED(status))
        printf("%s: continued\n", what);
    else if (WIFSIGNALED(status))
        printf("%s: killed by %d\n", what, WTERMSIG(status));
    else
        printf("%s: exited with %d\n", what, WEXITSTATUS(status));
}

// A session leader on the terminal; `body` runs in it.
static pid_t session(void (*body)(int tty)) {
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        close(master);
        setsid();
        int tty = open(name, O_RDWR);
        body(tty);
        _exit(0);
    }
    return pid;
}

static void new_terminal(void) {
    master = posix_openpt(O_RDWR | O_NOCTTY);
    NEED(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0);
    strcpy(name, ptsname(master));
}

static void controlling(int tty) {
    say("leads: %d\n", getsid(0) == getpid() && tcgetpgrp(tty) == getpgrp());
    say("session of the terminal: %d\n", tcgetsid(tty) == getpid());
    int again = open("/dev/tty", O_RDWR);
    say("/dev/tty: %d\n", again >= 0 && tcgetpgrp(again) == getpgrp());
    say("a second setsid: %s\n", setsid() == -1 ? errno_name(errno) : "ok");
    say("own it again: %d\n", ioctl(tty, TIOCSCTTY, 0));
    say("a group nobody is in: %s\n", tcsetpgrp(tty, 1 << 21) ? errno_name(errno) : "ok");
    signal(SIGHUP, SIG_IGN);
    say("give it up: %d\n", ioctl(tty, TIOCNOTTY));
    say("/dev/tty then: %s\n", open("/dev/tty", O_RDWR) == -1 ? errno_name(errno) : "ok");
    say("its group then: %s\n", tcgetpgrp(tty) == -1 ? errno_name(errno) : "ok");
}

static void keys(int tty) {
    handle(SIGINT, on_signal, SA_RESTART);
    handle(SIGQUIT, on_signal, SA_RESTART);
    handle(SIGTSTP, on_signal, SA_RESTART);
    handle(SIGWINCH, on_signal, SA_RESTART);
    say("ready\n");
    char line[100];
    ssize_t n = read(tty, line, sizeof line);
    say("read %zd bytes\n", n);
}

static pid_t child_in_group(int foreground, int tty, void (*body)(int)) {
    pid_t pid = fork();
    if (pid == 0) {
        setpgid(0, 0);
        signal(SIGTTOU, SIG_IGN);
        if (foreground)
            tcsetpgrp(tty, getpgrp());
        signal(SIGTTOU, SIG_DFL);
        signal(SIGTSTP, SIG_DFL);
        signal(SIGINT, SIG_DFL);
        body(tty);
        _exit(7);
    }
    setpgid(pid, pid);
    return pid;
}

static int status_of(pid_t pid) {
    int status = 0;
    waitpid(pid, &status, WUNTRACED | WCONTINUED);
    return status;
}

static void say_status(const char *what, int status) {
    if (WIFSTOPPED(status))
        say("%s: stopped by %d\n", what, WSTOPSIG(status));
    else if (WIFCONTINUED(status))
        say("%s: continued\n", what);
    else if (WIFSIGNALED(status))
        say("%s: killed by %d\n", what, WTERMSIG(status));
    else
        say("%s: exited with %d\n", what, WEXITSTATUS(status));
}

static void reads(int tty) {
    char line[100];
    ssize_t n = read(tty, line, sizeof line);
    say("a job read %zd %s\n", n, n < 0 ? errno_name(errno) : "");
}

static void writes(int tty) {
    ssize_t n = write(tty, "x", 1);
    say("a job wrote %zd\n", n);
}

static void sets_modes(int tty) {
    struct termios t;
    tcgetattr(tty, &t);
    say("a job set modes: %d\n", tcsetattr(tty, TCSANOW, &t));
}

static void sleeps(int tty) {
    say("a job sleeps\n");
    for (;;)
        pause();
}

static void jobs(int tty) {
    signal(SIGTTOU, SIG_IGN);
    signal(SIGTSTP, SIG_IGN);
    signal(SIGINT, SIG_IGN);
    pid_t job = child_in_group(0, tty, reads);
    say_status("background read", status_of(job));
    tcsetpgrp(tty, job);
    kill(-job, SIGCONT);
    say_status("foreground", status_of(job));
    say("type a line\n");
    say_status("after a line", status_of(job));
    tcsetpgrp(tty, getpgrp());

    job = child_in_group(0, tty, writes);
    say_status("background write", status_of(job));
    struct termios t;
    tcgetattr(tty, &t);
    t.c_lflag |= TOSTOP;
    tcsetattr(tty, TCSANOW, &t);
    job = child_in_group(0, tty, writes);
    say_status("background write with TOSTOP", status_of(job));
    kill(-job, SIGKILL);
    say_status("killed while stopped", status_of(job));
    job = child_in_group(0, tty, sets_modes);
    say_status("background tcsetattr", status_of(job));
    kill(job, SIGTERM);
    kill(job, SIGCONT);
    int status = status_of(job);
    if (WIFCONTINUED(status)) // whether that is seen before the end is a matter of time
        status = status_of(job);
    say_status("ended", status);

    job = child_in_group(1, tty, sleeps);
    say("stop it\n");
    say_status("stop key", status_of(job));
    kill(-job, SIGCONT);
    say_status("continued", status_of(job));
    say("interrupt it\n");
    say_status("interrupt key", status_of(job));
    tcsetpgrp(tty, getpgrp());
}

static pid_t left_behind;

static void leaves_stopped(int tty) {
    // A job whose parent goes away while it is stopped.
    pid_t pid = fork();
    if (pid == 0) {
        handle(SIGHUP, on_signal, 0);
        handle(SIGCONT, on_signal, 0);
        raise(SIGSTOP);
        raise(SIGTSTP);
        say("the stop key does not stop an orphan\n");
        _exit(0);
    }
    int status;
    waitpid(pid, &status, WUNTRACED);
    say("stopped: %d\n", WIFSTOPPED(status));
    left_behind = pid;
}

static void orphans(int tty) {
    pid_t job = child_in_group(0, tty, leaves_stopped);
    say_status("its parent", status_of(job));
}

static void leaves(int tty) {
    int ready[2];
    char byte;
    NEED(pipe(ready) == 0);
    signal(SIGTTOU, SIG_IGN);
    pid_t pid = fork();
    if (pid == 0) {
        // Blocked until it waits, or it would wait for ever.
        sigset_t hangup, none;
        sigemptyset(&none);
        sigemptyset(&hangup);
        sigaddset(&hangup, SIGHUP);
        sigprocmask(SIG_BLOCK, &hangup, NULL);
        handle(SIGHUP, on_signal, SA_RESTART);
        setpgid(0, 0);
        tcsetpgrp(tty, getpgrp());
        say("in the foreground\n");
        write(ready[1], "", 1);
        sigsuspend(&none);
        _exit(0);
    }
    read(ready[0], &byte, 1);
}

static void waits_for_hangup(int tty) {
    handle(SIGHUP, on_signal, 0);
    say("waits\n");
    char line[10];
    ssize_t n = read(tty, line, sizeof line);
    say("read ended: %d\n", n <= 0); // with EIO, or the end of file: a matter of time
    say("/dev/tty: %s\n", open("/dev/tty", O_RDWR) == -1 ? errno_name(errno) : "ok");
}

int main(void) {
    NEED(pipe(tell) == 0);
    new_terminal();

    puts("-- the controlling terminal");
    pid_t pid = session(controlling);
    for (int i = 0; i < 9; i++)
        heard();
    show_status("leader", pid, 0);

    puts("-- keys");
    pid = session(keys);
    heard();
    type("\3");
    heard();
    type("\34");
    heard();
    type("\32");
    heard();
    struct winsize w = {50, 100, 0, 0};
    R(ioctl(master, TIOCSWINSZ, &w));
    heard();
    type("end\n");
    heard();
    show_status("leader", pid, 0);
    close(master);

    puts("-- jobs");
    new_terminal();
    pid = session(jobs);
    heard(); // background read
    heard(); // foreground
    heard(); // type a line
    type("line\n");
    heard(); // read
    heard(); // after a line
    heard(); // wrote
    heard(); // background write
    heard(); // with TOSTOP
    heard(); // killed
    heard(); // tcsetattr
    heard(); // ended
    // "a job sleeps" and "stop it" come in either order.
    char word[64] = "";
    for (size_t n = 0, lines = 0; lines < 2 && read(tell[0], word, 1) == 1; n++)
        lines += word[0] == '\n';
    type("\32");
    heard(); // stop key
    heard(); // continued
    heard(); // interrupt it
    type("\3");
    heard(); // interrupt key
    show_status("leader", pid, 0);
    close(master);

    puts("-- orphans");
    new_terminal();
    pid = session(orphans);
    heard_sorted(5);
    show_status("leader", pid, 0);
    close(master);

    puts("-- the leader leaves");
    new_terminal();
    pid = session(leaves);
    for (int i = 0; i < 2; i++)
        heard();
    show_status("leader", pid, 0);
    close(master);

    puts("-- the master is closed");
    new_terminal();
    pid = session(waits_for_hangup);
    heard();
    sleep_ms(50);
    close(master);
    for (int i = 0; i < 3; i++)
        heard();
    show_status("leader", pid, 0);

    puts("-- who may do what");
    pid_t child = fork();
    if (child == 0) {
        pause();
        _exit(0);
    }
    R(setpgid(child, child) == 0);
    R(getpgid(child) == child);
    R(setpgid(child, 1 << 21));
    R(setpgid(1 << 21, 0));
    R(setpgid(child, -1));
    R(getsid(child) == getsid(0));
    kill(child, SIGSTOP);
    show_status("child", child, 0);
    kill(child, SIGCONT);
    show_status("child", child, 0);
    show_status("child", child, WNOHANG);
    siginfo_t info = {0};
    kill(child, SIGSTOP);
    R(waitid(P_PID, child, &info, WSTOPPED | WNOWAIT));
    printf("code %d status %d\n", info.si_code, info.si_status);
    kill(child, SIGKILL);
    R(waitid(P_PID, child, &info, WEXITED));
    printf("code %d status %d\n", info.si_code, info.si_status);
    return 0;
}

// inotify: which events come for every way of touching a file, in which order, for a directory and
// for what is in it; exec; unlinked files; masks; fdinfo.
#include "test.h"
#include <sys/inotify.h>
#include <sys/sendfile.h>
static int in;
static const char *names[] = {"ACCESS",      "MODIFY",  "ATTRIB",     "CLOSE_WRITE", "CLOSE_NOWRITE", "OPEN",
                              "MOVED_FROM",  "MOVED_TO", "CREATE",     "DELETE",      "DELETE_SELF",   "MOVE_SELF",
                              "0x1000",      "UNMOUNT", "Q_OVERFLOW", "IGNORED"};
static void drain(const char *what) {
    char buffer[8192] __attribute__((aligned(8)));
    ssize_t n = read(in, buffer, sizeof buffer);
    unsigned first = 0;
    printf("%s:\n", what);
    for (char *p = buffer; p < buffer + n;) {
        struct inotify_event *event = (void *)p;
        printf("  %d", event->wd);
        for (int i = 0; i < 16; i++)
            if (event->mask & (1u << i))
                printf(" %s", names[i]);
        if (event->mask & IN_ISDIR)
            printf(" ISDIR");
        if (event->mask & ~(0xffffu | IN_ISDIR))
            printf(" %#x", event->mask & ~(0xffffu | IN_ISDIR));
        if (event->len)
            printf(" \"%s\"", event->name);
        if (event->cookie) {
            if (!first)
                first = event->cookie;
            printf(" cookie+%u", event->cookie - first);
        }
        printf("\n");
        p += sizeof *event + event->len;
    }
}
static void program(void) {
    printf("ran\n");
    exit(0);
}
static void copy(const char *from, const char *to) {
    static char b[1 << 16];
    int a = open(from, O_RDONLY), c = open(to, O_WRONLY | O_CREAT | O_EXCL, 0755);
    ssize_t n;
    NEED(a >= 0 && c >= 0);
    while ((n = read(a, b, sizeof b)) > 0)
        NEED(write(c, b, n) == n);
    close(a), close(c);
}
static void fdinfo(void) {
    char path[64], line[256];
    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", in);
    FILE *f = fopen(path, "r");
    while (f && fgets(line, sizeof line, f)) {
        int wd;
        unsigned mask;
        unsigned long ino, dev, ignored;
        if (sscanf(line, "inotify wd:%d ino:%lx sdev:%lx mask:%x ignored_mask:%lx", &wd, &ino, &dev, &mask, &ignored) == 5) {
            struct stat st;
            stat(wd == 1 ? "d" : "d/f", &st);
            printf("fdinfo wd %d mask %#x ignored %lx inode %s\n", wd, mask, ignored,
                   st.st_ino == ino ? "right" : "wrong");
        }
    }
    if (f)
        fclose(f);
}
int main(int argc, char **argv) {
    if (argc > 1 || !strcmp(argv[0], "argument"))
        program();
    enter_dir();
    in = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    NEED(in >= 0 && mkdir("d", 0755) == 0);
    put_file("d/f", "0123456789");
    R(inotify_add_watch(in, "d", IN_ALL_EVENTS));
    R(inotify_add_watch(in, "d/f", IN_ALL_EVENTS | IN_EXCL_UNLINK));
    fdinfo();
    char b[16];
    int f = open("d/f", O_RDWR);
    drain("open");
    read(f, b, 4);
    drain("read");
    lseek(f, 0, SEEK_END);
    read(f, b, 4);
    drain("read at the end");
    pread(f, b, 4, 0);
    drain("pread");
    read(f, b, 0);
    drain("read of nothing");
    write(f, "x", 1);
    drain("write");
    pwrite(f, "x", 1, 0);
    drain("pwrite");
    write(f, "x", 0);
    drain("write of nothing");
    ftruncate(f, 8);
    drain("ftruncate");
    ftruncate(f, 8);
    drain("ftruncate to the same");
    truncate("d/f", 6);
    drain("truncate");
    fallocate(f, 0, 0, 100);
    drain("fallocate");
    int other = open("other", O_RDWR | O_CREAT, 0600);
    off_t from = 0;
    NEED(sendfile(other, f, &from, 4) == 4);
    drain("sendfile from it");
    lseek(other, 0, SEEK_SET);
    NEED(sendfile(f, other, NULL, 4) == 4);
    drain("sendfile to it");
    loff_t one = 0, two = 0;
    NEED(copy_file_range(f, &one, other, &two, 4, 0) == 4);
    drain("copy_file_range from it");
    one = two = 0;
    NEED(copy_file_range(other, &one, f, &two, 4, 0) == 4);
    drain("copy_file_range to it");
    int ends[2];
    NEED(pipe(ends) == 0);
    one = 0;
    NEED(splice(f, &one, ends[1], NULL, 4, 0) == 4);
    drain("splice from it");
    one = 0;
    NEED(splice(ends[0], NULL, f, &one, 4, 0) == 4);
    drain("splice to it");
    fchmod(f, 0600);
    drain("fchmod");
    fchown(f, 0, 0);
    drain("fchown");
    struct timespec both[2] = {{1, 0}, {2, 0}}, atime[2] = {{1, 0}, {0, UTIME_OMIT}},
                    mtime[2] = {{0, UTIME_OMIT}, {2, 0}}, none[2] = {{0, UTIME_OMIT}, {0, UTIME_OMIT}};
    futimens(f, both);
    drain("both times");
    utimensat(AT_FDCWD, "d/f", atime, 0);
    drain("access time");
    utimensat(AT_FDCWD, "d/f", mtime, 0);
    drain("modification time");
    utimensat(AT_FDCWD, "d/f", none, 0);
    drain("neither");
    void *p = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, f, 0);
    (void)*(volatile char *)p;
    munmap(p, 4096);
    drain("mmap");
    int copied = dup(f);
    close(f);
    drain("close, dup stays");
    close(copied);
    drain("close");
    close(open("d/f", O_RDONLY));
    drain("open and close to read");
    close(open("d/f", O_WRONLY | O_TRUNC));
    drain("O_TRUNC");
    close(open("d/new", O_WRONLY | O_CREAT, 0600));
    drain("O_CREAT");
    int path = open("d/f", O_PATH);
    close(path);
    drain("O_PATH");
    int dir = open("d", O_RDONLY);
    drain("open the directory");
    syscall(SYS_getdents64, dir, (char[1024]){0}, 1024);
    drain("getdents");
    fchmod(dir, 0700);
    drain("fchmod of the directory");
    close(dir);
    drain("close the directory");
    mkdir("d/sub", 0755);
    drain("mkdir");
    dir = open("d/sub", O_RDONLY);
    close(dir);
    drain("open a subdirectory");
    chmod("d/sub", 0700);
    drain("chmod of it");
    symlink("f", "d/link");
    readlink("d/link", b, sizeof b);
    drain("symlink, readlink");
    link("d/f", "d/hard");
    drain("link");
    unlink("d/hard");
    drain("unlink of a second name");
    mkfifo("d/fifo", 0600);
    drain("mkfifo");
    rename("d/new", "d/newer");
    drain("rename");
    rename("d/newer", "newer");
    drain("rename out");
    rename("newer", "d/f2");
    drain("rename in");
    syscall(SYS_renameat2, AT_FDCWD, "d/f2", AT_FDCWD, "d/sub", 2);
    drain("exchange");
    NEED(rmdir("d/f2") == 0);
    drain("rmdir");
    R(inotify_add_watch(in, "d/sub", IN_ALL_EVENTS));
    rename("d/fifo", "d/sub");
    drain("rename over a watched file");
    rename("d", "e");
    drain("rename of the watched directory");
    rename("e", "d");
    drain("and back");
    f = open("d/f", O_RDWR);
    unlink("d/f");
    drain("unlink while open");
    write(f, "x", 1);
    drain("write to the unlinked");
    close(f);
    drain("its close");
    mkdir("d/dir", 0755);
    R(inotify_add_watch(in, "d/dir", IN_ALL_EVENTS));
    drain("another directory");
    rmdir("d/dir");
    drain("rmdir of a watched one");

    printf("-- exec\n");
    copy("/proc/self/exe", "d/program");
    put_file("d/script", "#!d/program argument\n");
    chmod("d/script", 0755);
    drain("made");
    R(inotify_add_watch(in, "d", IN_OPEN | IN_ACCESS | IN_CLOSE));
    for (int i = 0; i < 2; i++) {
        fflush(stdout);
        if (fork() == 0) {
            execl(i ? "d/script" : "d/program", "argument", NULL);
            printf("exec: %s\n", errno_name(errno));
            _exit(1);
        }
        wait(NULL);
        drain(i ? "script" : "program");
    }

    printf("-- masks\n");
    put_file("g", "");
    R(inotify_add_watch(in, "g", IN_OPEN));
    R(inotify_add_watch(in, "g", IN_CLOSE | IN_MASK_ADD));
    R(inotify_add_watch(in, "g", IN_CLOSE | IN_MASK_CREATE));
    R(inotify_add_watch(in, "g", IN_CLOSE | IN_MASK_CREATE | IN_MASK_ADD));
    R(inotify_add_watch(in, "g", IN_OPEN | IN_ONLYDIR));
    R(inotify_add_watch(in, "g", 0));
    R(inotify_add_watch(in, "g", 0x800000));
    R(inotify_add_watch(in, "g", IN_ISDIR));
    R(inotify_add_watch(in, "absent", 0x800000));
    R(inotify_add_watch(99, "g", IN_OPEN));
    R(inotify_add_watch(99, "g", 0));
    R(inotify_add_watch(0, "g", IN_OPEN));
    R(inotify_add_watch(in, (char *)8, IN_OPEN));
    R(inotify_rm_watch(in, 77));
    R(inotify_rm_watch(99, 1));
    R(inotify_init1(1));
    close(open("g", O_RDONLY));
    drain("both");
    R(inotify_add_watch(in, "g", IN_OPEN | IN_ONESHOT));
    close(open("g", O_RDONLY));
    close(open("g", O_RDONLY));
    drain("once");
    R(inotify_add_watch(in, "d", IN_ALL_EVENTS | IN_EXCL_UNLINK));
    f = open("d/h", O_RDWR | O_CREAT, 0600);
    unlink("d/h");
    write(f, "x", 1);
    close(f);
    drain("IN_EXCL_UNLINK");
    R(inotify_add_watch(in, "d", IN_ALL_EVENTS));
    f = open("d/h", O_RDWR | O_CREAT, 0600);
    unlink("d/h");
    write(f, "x", 1);
    close(f);
    drain("without");
    R(inotify_rm_watch(in, 1));
    drain("removed");
    return 0;
}

// inotify: events of a watched directory, in order, with names.
#include "test.h"
#include <sys/inotify.h>
static void drain(int fd) {
    char buffer[4096] __attribute__((aligned(8)));
    ssize_t n = read(fd, buffer, sizeof buffer);
    if (n < 0) {
        printf("read: %s\n", errno_name(errno));
        return;
    }
    for (char *p = buffer; p < buffer + n;) {
        struct inotify_event *event = (void *)p;
        printf("wd %d mask %#x name %s cookie %d\n", event->wd, event->mask,
               event->len ? event->name : "-", event->cookie != 0);
        p += sizeof *event + event->len;
    }
}
int main(void) {
    enter_dir();
    int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    NEED(fd >= 0);
    NEED(mkdir("d", 0755) == 0);
    R(inotify_add_watch(fd, "d", IN_CREATE | IN_DELETE | IN_MODIFY | IN_CLOSE_WRITE | IN_MOVE));
    R(inotify_add_watch(fd, "absent", IN_CREATE));
    drain(fd);
    put_file("d/f", "x");
    drain(fd);
    NEED(rename("d/f", "d/g") == 0);
    drain(fd);
    NEED(mkdir("d/sub", 0755) == 0);
    NEED(unlink("d/g") == 0);
    struct pollfd p = {fd, POLLIN, 0};
    R(poll(&p, 1, 0));
    drain(fd);
    put_file("file", "1");
    R(inotify_add_watch(fd, "file", IN_ATTRIB | IN_DELETE_SELF));
    NEED(chmod("file", 0600) == 0);
    NEED(unlink("file") == 0);
    drain(fd);
    R(inotify_rm_watch(fd, 1));
    drain(fd);
    R(inotify_rm_watch(fd, 1));
    return 0;
}

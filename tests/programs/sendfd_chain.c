// Descriptors passed over a socket: the receiver's are new numbers of the same open file, also
// through a second process and after the sender has closed its own.
#include "test.h"
static void send_fd(int sock, int fd) {
    char byte = 'f', space[CMSG_SPACE(sizeof(int))] = {0};
    struct iovec part = {&byte, 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = space,
                             .msg_controllen = sizeof space};
    struct cmsghdr *c = CMSG_FIRSTHDR(&message);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(c), &fd, sizeof fd);
    NEED(sendmsg(sock, &message, 0) == 1);
}
static int receive_fd(int sock, int flags) {
    char byte, space[CMSG_SPACE(sizeof(int))];
    struct iovec part = {&byte, 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = space,
                             .msg_controllen = sizeof space};
    NEED(recvmsg(sock, &message, flags) == 1);
    struct cmsghdr *c = CMSG_FIRSTHDR(&message);
    int fd = -1;
    if (c && c->cmsg_type == SCM_RIGHTS)
        memcpy(&fd, CMSG_DATA(c), sizeof fd);
    return fd;
}
int main(void) {
    enter_dir();
    int a[2], b[2];
    NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, a) == 0 && socketpair(AF_UNIX, SOCK_DGRAM, 0, b) == 0);
    int fd = open("f", O_RDWR | O_CREAT, 0600);
    NEED(write(fd, "0123456789", 10) == 10 && lseek(fd, 3, SEEK_SET) == 3);
    pid_t pid = fork();
    if (pid == 0) {
        close(fd);
        int got = receive_fd(a[1], 0);
        char text[3] = "";
        NEED(read(got, text, 2) == 2);
        printf("the child read %s\n", text);
        fflush(stdout);
        send_fd(b[1], got);
        _exit(0);
    }
    send_fd(a[0], fd);
    close(fd);
    int back = receive_fd(b[0], MSG_CMSG_CLOEXEC);
    waitpid(pid, NULL, 0);
    YES(back >= 0);
    R(lseek(back, 0, SEEK_CUR)); // moved by the child
    R(fcntl(back, F_GETFD));
    // In flight to oneself, with nobody to take it: gone with the socket.
    int pipes[2];
    NEED(pipe(pipes) == 0);
    send_fd(a[0], pipes[1]);
    close(pipes[1]);
    char byte;
    fcntl(pipes[0], F_SETFL, O_NONBLOCK);
    R(read(pipes[0], &byte, 1));
    close(a[0]);
    close(a[1]);
    R(read(pipes[0], &byte, 1));
    return 0;
}

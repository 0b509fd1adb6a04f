// System calls with known arguments, for the tests of `sprout run --strace`.
#include "test.h"
#include <netinet/in.h>
#include <poll.h>
#include <sys/epoll.h>

static int to_child[2], to_parent[2];

static void *blocked(void *arg) {
    char c;
    read(to_child[0], &c, 1);
    return NULL;
}

static void on_signal(int sig) { (void)sig; }

int main(int argc, char **argv) {
    if (argc > 1) { // die of a fault
        *(volatile int *)8 = 1;
        return 0;
    }
    enter_dir();
    int fd = openat(AT_FDCWD, "file", O_RDWR | O_CREAT | O_TRUNC, 0640);
    write(fd, "some \"text\"\n", 12);
    lseek(fd, 0, SEEK_SET);
    char bytes[64];
    read(fd, bytes, sizeof bytes);
    struct stat st;
    fstat(fd, &st);
    close(fd);
    open("/no/such/file", O_RDONLY | O_CLOEXEC);
    void *at = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(at, 4096, PROT_READ);
    munmap(at, 8192);
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigaddset(&action.sa_mask, SIGTERM);
    sigaction(SIGUSR1, &action, NULL);
    raise(SIGUSR1);
    int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons(1)};
    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connect(s, (struct sockaddr *)&addr, sizeof addr);
    struct iovec vec[2] = {{"ab", 2}, {"c", 1}};
    pipe(to_child);
    pipe(to_parent);
    writev(to_child[1], vec, 2);
    read(to_child[0], bytes, 3);
    struct pollfd p = {.fd = to_child[0], .events = POLLIN};
    poll(&p, 1, 0);
    struct timespec t = {0, 1000};
    nanosleep(&t, NULL);
    pid_t pid = fork();
    if (pid == 0) {
        // The parent waits by then, whatever comes between.
        sleep_ms(100);
        _exit(3);
    }
    int status;
    waitpid(pid, &status, 0);
    pthread_t thread;
    pthread_create(&thread, NULL, blocked, NULL);
    sleep_ms(200);
    write(to_child[1], "x", 1);
    pthread_join(thread, NULL);
    return 0;
}

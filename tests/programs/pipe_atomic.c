// Writes up to PIPE_BUF are atomic, larger ones may mix; O_NONBLOCK never writes part of a small
// one; packets (O_DIRECT) stay apart.
#include "test.h"
int main(void) {
    int p[2];
    NEED(pipe(p) == 0);
    for (int child = 0; child < 4; child++)
        if (fork() == 0) {
            char block[PIPE_BUF];
            memset(block, 'a' + child, sizeof block);
            for (int i = 0; i < 50; i++)
                NEED(write(p[1], block, sizeof block) == (ssize_t)sizeof block);
            _exit(0);
        }
    close(p[1]);
    char block[PIPE_BUF];
    int counts[4] = {0}, mixed = 0;
    for (;;) {
        size_t got = 0;
        ssize_t n = 0;
        while (got < sizeof block && (n = read(p[0], block + got, sizeof block - got)) > 0)
            got += (size_t)n;
        if (got == 0)
            break;
        for (size_t i = 1; i < got; i++)
            mixed |= block[i] != block[0];
        counts[block[0] - 'a']++;
    }
    while (wait(NULL) > 0) {
    }
    printf("%d %d %d %d mixed %d\n", counts[0], counts[1], counts[2], counts[3], mixed);
    NEED(pipe2(p, O_NONBLOCK) == 0);
    R(fcntl(p[0], F_GETPIPE_SZ));
    R(fcntl(p[0], F_SETPIPE_SZ, 4096));
    R(write(p[1], block, 1000));
    R(write(p[1], block, 4096)); // not in pieces
    R(write(p[1], block, 3096));
    R(write(p[1], block, 1));
    R(read(p[0], block, 4096));
    NEED(pipe2(p, O_NONBLOCK | O_DIRECT) == 0);
    R(write(p[1], "one", 3));
    R(write(p[1], "three", 5));
    R(read(p[0], block, 100));
    R(read(p[0], block, 2)); // the rest of a packet is lost
    R(read(p[0], block, 100));
    return 0;
}

// A tiny server: listening socket shared by fork, a child per connection, shared pipes to EOF.
#include "test.h"
#include <arpa/inet.h>
#include <netinet/in.h>
int main(void) {
    struct sockaddr_in a = {.sin_family = AF_INET};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int s = socket(AF_INET, SOCK_STREAM, 0);
    socklen_t len = sizeof a;
    NEED(bind(s, (struct sockaddr *)&a, sizeof a) == 0 && listen(s, 10) == 0);
    NEED(getsockname(s, (struct sockaddr *)&a, &len) == 0);
    for (int i = 0; i < 3; i++)
        if (fork() == 0) {
            int c = accept(s, NULL, NULL);
            char b[10];
            ssize_t n = read(c, b, sizeof b);
            b[0]++;
            write(c, b, n);
            _exit(0);
        }
    for (int i = 0; i < 3; i++) {
        int c = socket(AF_INET, SOCK_STREAM, 0);
        NEED(connect(c, (struct sockaddr *)&a, sizeof a) == 0);
        char b[10] = "a";
        b[0] = (char)('a' + i);
        write(c, b, 1);
        R(read(c, b, 10));
        printf("%c\n", b[0]);
        R(read(c, b, 10));
        close(c);
    }
    int status, count = 0;
    while (wait(&status) > 0)
        count += WIFEXITED(status) && WEXITSTATUS(status) == 0;
    printf("%d children\n", count);
    return 0;
}

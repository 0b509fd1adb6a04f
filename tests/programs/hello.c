// The least a program does: write a line, leave with a status. No test.h: nothing else is needed.
#include <unistd.h>
int main(void) {
    static const char line[] = "hello, world\n";
    write(1, line, sizeof line - 1);
    static const char err[] = "to stderr\n";
    write(2, err, sizeof err - 1);
    return 7;
}

// argv arrives as given, in order, contiguous in memory; envp and auxv follow it.
// case three: one two three
// case odd: -x --flag=a=b ünïcode 'quoted' $NOT
// case many: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20
#include "test.h"
#include <elf.h>
#include <sys/auxv.h>
extern char **environ;
int main(int argc, char **argv) {
    printf("argc %d\n", argc);
    for (int i = 1; i < argc; i++)
        printf("argv[%d] = %s\n", i, argv[i]);
    YES(argv[argc] == NULL);
    YES(strcmp(strrchr(argv[0], '/') + 1, "args") == 0);
    int ascending = 1;
    for (int i = 0; i + 1 < argc; i++)
        ascending &= argv[i] + strlen(argv[i]) + 1 == argv[i + 1];
    YES(ascending);
    YES(environ == argv + argc + 1);
    if (environ[0])
        YES(environ[0] == argv[argc - 1] + strlen(argv[argc - 1]) + 1);
    setenv("SPROUT_TEST", "value", 1);
    printf("%s\n", getenv("SPROUT_TEST"));
    printf("page size %lu, clock ticks %lu\n", getauxval(AT_PAGESZ), getauxval(AT_CLKTCK));
    YES(getauxval(AT_PHDR) != 0);
    YES(getauxval(AT_PHNUM) >= 4);
    YES(getauxval(AT_PHENT) == sizeof(Elf64_Phdr));
    YES(getauxval(AT_ENTRY) != 0);
    YES(getauxval(AT_UID) == getuid());
    YES(getauxval(AT_EGID) == getegid());
    YES(getauxval(AT_SECURE) == 0);
    YES(getauxval(AT_RANDOM) != 0);
    YES(strcmp((char *)getauxval(AT_PLATFORM), "x86_64") == 0);
    YES(getauxval(AT_SYSINFO_EHDR) != 0);
    const char *name = (const char *)getauxval(AT_EXECFN);
    YES(name && strcmp(strrchr(name, '/') + 1, "args") == 0);
    return argc;
}

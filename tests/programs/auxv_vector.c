// The auxiliary vector as it lies on the stack: behind envp, AT_NULL last, and what it says is true.
#include "test.h"
#include <elf.h>
#include <sys/auxv.h>
extern char **environ;
extern char __ehdr_start[];
int main(int argc, char **argv) {
    (void)argc, (void)argv;
    char **end = environ;
    while (*end)
        end++;
    Elf64_auxv_t *aux = (Elf64_auxv_t *)(end + 1);
    YES(((uintptr_t)aux & 7) == 0);
    int seen[64] = {0}, count = 0, doubled = 0;
    for (; aux->a_type != AT_NULL; aux++, count++) {
        if (aux->a_type < 64)
            doubled |= seen[aux->a_type]++;
        if (aux->a_type != AT_EXECFN && aux->a_type != AT_RANDOM)
            doubled |= getauxval(aux->a_type) != aux->a_un.a_val;
    }
    YES(count > 10);
    YES(!doubled);
    for (int type = 0; type < 26; type++)
        if (seen[type]) // later ones tell the kernel's version
            printf("has %d\n", type);
    Elf64_Ehdr *header = (Elf64_Ehdr *)__ehdr_start;
    YES(getauxval(AT_ENTRY) == header->e_entry);
    YES(getauxval(AT_PHNUM) == header->e_phnum);
    YES(getauxval(AT_PHDR) == (unsigned long)__ehdr_start + header->e_phoff);
    R(getauxval(AT_BASE));
    R(getauxval(AT_FLAGS));
    YES(getauxval(AT_HWCAP) != 0);
    YES(getauxval(AT_MINSIGSTKSZ) >= 2048);
    // The sixteen random bytes are on the stack too, above everything.
    unsigned char *random = (unsigned char *)getauxval(AT_RANDOM);
    int distinct = 0;
    for (int i = 1; i < 16; i++)
        distinct += random[i] != random[0];
    YES(distinct > 0);
    YES((char *)random > (char *)aux);
    YES(strlen((char *)getauxval(AT_EXECFN)) > 0);
    // The vDSO is an ELF file.
    YES(memcmp((void *)getauxval(AT_SYSINFO_EHDR), ELFMAG, SELFMAG) == 0);
    return 0;
}

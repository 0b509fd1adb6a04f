// The vDSO as an ELF object, read in every way that readers use: by its place in the maps, by both
// kinds of hash table, with and without versions, by sections; and each function it has, called.
#include "test.h"
#include <elf.h>
#include <link.h>
#include <sys/auxv.h>

static const char *const names[] = {
    "clock_gettime", "__vdso_clock_gettime", "gettimeofday", "__vdso_gettimeofday",
    "time",          "__vdso_time",          "getcpu",       "__vdso_getcpu",
    "clock_getres",  "__vdso_clock_getres",  "LINUX_2.6",    "no_such_name",
};
enum { NAMES = sizeof names / sizeof *names };

static const char *base;
static const Elf64_Sym *symbols;
static const char *strings;
static const uint32_t *hash, *gnu_hash;
static const uint16_t *versions;
static const Elf64_Verdef *definitions;

static const void *at(unsigned long address) {
    return base + address;
}

static uint32_t sysv(const char *name) {
    uint32_t h = 0;
    for (; *name; name++) {
        h = (h << 4) + (unsigned char)*name;
        h = (h ^ (h & 0xf0000000) >> 24) & ~0xf0000000;
    }
    return h;
}

static uint32_t gnu(const char *name) {
    uint32_t h = 5381;
    for (; *name; name++)
        h = h * 33 + (unsigned char)*name;
    return h;
}

static const Elf64_Sym *by_hash(const char *name) {
    const uint32_t *bucket = hash + 2, *chain = bucket + hash[0];
    for (uint32_t i = bucket[sysv(name) % hash[0]]; i; i = chain[i])
        if (!strcmp(strings + symbols[i].st_name, name))
            return symbols + i;
    return NULL;
}

static const Elf64_Sym *by_gnu_hash(const char *name) {
    uint32_t buckets = gnu_hash[0], first = gnu_hash[1], words = gnu_hash[2], shift = gnu_hash[3];
    const uint64_t *filter = (const uint64_t *)(gnu_hash + 4);
    const uint32_t *bucket = (const uint32_t *)(filter + words), *chain = bucket + buckets;
    uint32_t h = gnu(name);
    uint64_t mask = 1UL << h % 64 | 1UL << (h >> shift) % 64;
    if ((filter[h / 64 % words] & mask) != mask)
        return NULL;
    for (uint32_t i = bucket[h % buckets]; i >= first; i++) {
        uint32_t found = chain[i - first];
        if ((found | 1) == (h | 1) && !strcmp(strings + symbols[i].st_name, name))
            return symbols + i;
        if (found & 1)
            break;
    }
    return NULL;
}

// The name of a symbol's version, as a linker looks it up.
static const char *version_of(const Elf64_Sym *symbol) {
    uint16_t wanted = versions[symbol - symbols] & 0x7fff;
    for (const Elf64_Verdef *d = definitions;; d = (const void *)((const char *)d + d->vd_next)) {
        if (d->vd_ndx == wanted) {
            const Elf64_Verdaux *aux = (const void *)((const char *)d + d->vd_aux);
            const char *name = strings + aux->vda_name;
            return d->vd_hash == sysv(name) && !(d->vd_flags & VER_FLG_BASE) ? name : "?";
        }
        if (!d->vd_next)
            return "none";
    }
}

static void dynamic(void) {
    const Elf64_Ehdr *header = (const void *)base;
    const Elf64_Phdr *program = at(header->e_phoff);
    int loads = 0, notes = 0, frames = 0;
    for (int i = 0; i < header->e_phnum; i++) {
        loads += program[i].p_type == PT_LOAD && !program[i].p_offset && !program[i].p_vaddr;
        notes += program[i].p_type == PT_NOTE;
        frames += program[i].p_type == PT_GNU_EH_FRAME;
        if (program[i].p_type != PT_DYNAMIC)
            continue;
        for (const Elf64_Dyn *d = at(program[i].p_vaddr); d->d_tag; d++)
            switch (d->d_tag) {
            case DT_HASH: hash = at(d->d_un.d_ptr); break;
            case DT_GNU_HASH: gnu_hash = at(d->d_un.d_ptr); break;
            case DT_SYMTAB: symbols = at(d->d_un.d_ptr); break;
            case DT_STRTAB: strings = at(d->d_un.d_ptr); break;
            case DT_VERSYM: versions = at(d->d_un.d_ptr); break;
            case DT_VERDEF: definitions = at(d->d_un.d_ptr); break;
            case DT_VERDEFNUM: printf("version definitions: %lu\n", d->d_un.d_val); break;
            }
        for (const Elf64_Dyn *d = at(program[i].p_vaddr); d->d_tag; d++)
            if (d->d_tag == DT_SONAME)
                puts(strings + d->d_un.d_val);
    }
    printf("loaded parts %d, notes: %d, frames: %d\n", loads, notes > 0, frames);
    NEED(hash && gnu_hash && symbols && strings && versions && definitions);
}

static void look_up(void) {
    for (int i = 0; i < NAMES; i++) {
        const Elf64_Sym *symbol = by_hash(names[i]), *same = by_gnu_hash(names[i]);
        if (!symbol) {
            printf("%s: missing, in both: %d\n", names[i], !same);
            continue;
        }
        printf("%s: bind %d type %d absolute %d version %s, in both: %d\n", names[i],
               ELF64_ST_BIND(symbol->st_info), ELF64_ST_TYPE(symbol->st_info),
               symbol->st_shndx == SHN_ABS, version_of(symbol), same == symbol);
    }
}

static void sections(void) {
    const Elf64_Ehdr *header = (const void *)base;
    const Elf64_Shdr *section = at(header->e_shoff);
    const char *name = at(section[header->e_shstrndx].sh_offset);
    static const char *const wanted[] = {".hash",    ".gnu.hash",      ".dynsym",   ".dynstr",
                                         ".dynamic", ".gnu.version",   ".text",     ".eh_frame",
                                         ".note",    ".gnu.version_d", ".shstrtab"};
    for (unsigned w = 0; w < sizeof wanted / sizeof *wanted; w++) {
        int found = 0;
        for (int i = 0; i < header->e_shnum; i++) {
            if (strcmp(name + section[i].sh_name, wanted[w]))
                continue;
            found++;
            if (section[i].sh_type == SHT_DYNSYM)
                printf("symbols at the same place: %d, strings linked: %d\n",
                       at(section[i].sh_addr) == (void *)symbols,
                       at(section[section[i].sh_link].sh_addr) == (void *)strings);
            if (!strcmp(wanted[w], ".text")) {
                const Elf64_Sym *time = by_hash("time");
                printf("time() is in .text: %d\n", time->st_shndx == i &&
                       time->st_value - section[i].sh_addr < section[i].sh_size);
            }
        }
        printf("section %s: %d\n", wanted[w], found);
    }
}

static int in_maps(void) {
    char line[256];
    unsigned long start = 0, end = 0, found_start = 0, found_end = 0;
    FILE *maps = fopen("/proc/self/maps", "r");
    NEED(maps);
    while (fgets(line, sizeof line, maps))
        if (strstr(line, "[vdso]") && sscanf(line, "%lx-%lx r-xp", &start, &end) == 2)
            found_start = start, found_end = end;
        else if (strstr(line, "[vsyscall]"))
            fputs(line, stdout);
    fclose(maps);
    return found_start == (unsigned long)base && found_end > found_start;
}

static void calls(void) {
#define CALL(name, ...) ((long (*)())at(by_gnu_hash(name)->st_value))(__VA_ARGS__)
    struct timespec a = {0}, b = {0};
    struct timeval v = {0};
    struct timezone zone = {7, 7};
    unsigned cpu = ~0u, node = ~0u;
    long seconds = 0;
    static const int clocks[] = {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_PROCESS_CPUTIME_ID,
                                 CLOCK_THREAD_CPUTIME_ID, CLOCK_MONOTONIC_RAW, CLOCK_REALTIME_COARSE,
                                 CLOCK_MONOTONIC_COARSE, CLOCK_BOOTTIME, CLOCK_TAI};
    for (unsigned i = 0; i < sizeof clocks / sizeof *clocks; i++) {
        long first = CALL("clock_gettime", clocks[i], &a);
        long second = CALL("__vdso_clock_gettime", clocks[i], &b);
        printf("clock %d: %ld %ld, forward: %d\n", clocks[i], first, second,
               b.tv_sec > a.tv_sec || (b.tv_sec == a.tv_sec && b.tv_nsec >= a.tv_nsec));
    }
    printf("clock 99: %ld\n", CALL("clock_gettime", 99, &a));
    printf("gettimeofday: %ld", CALL("gettimeofday", &v, &zone));
    printf(", zone %d %d, with neither: %ld\n", zone.tz_minuteswest, zone.tz_dsttime,
           CALL("__vdso_gettimeofday", NULL, NULL));
    seconds = CALL("time", NULL);
    long stored = 0, returned = CALL("__vdso_time", &stored);
    printf("time: stored what it returned: %d, near: %d %d\n", stored == returned,
           labs(returned - v.tv_sec) <= 1, labs(seconds - v.tv_sec) <= 1);
    printf("getcpu: %ld", CALL("getcpu", &cpu, &node, NULL));
    printf(", small: %d %d, with neither: %ld\n", cpu < 4096, node < 64,
           CALL("__vdso_getcpu", NULL, NULL, NULL));
    printf("clock_getres: %ld", CALL("clock_getres", CLOCK_MONOTONIC, &a));
    printf(", %ld s %ld ns, without: %ld, of none: %ld\n", (long)a.tv_sec, a.tv_nsec,
           CALL("__vdso_clock_getres", CLOCK_REALTIME, NULL), CALL("clock_getres", 99, &a));
}

static sigjmp_buf back;
static void *volatile want;

static void faulted(int sig, siginfo_t *info, void *context) {
    unsigned long rip = ((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
    printf("signal %d code %d, as wanted: %d, in the object: %d\n", sig, info->si_code,
           info->si_addr == want, rip - (unsigned long)base < 0x4000);
    siglongjmp(back, 1);
}

int main(void) {
    base = (const char *)getauxval(AT_SYSINFO_EHDR);
    NEED(base && !memcmp(base, ELFMAG, SELFMAG));
    printf("where maps say: %d\n", in_maps());
    dynamic();
    look_up();
    sections();
    calls();
    handle(SIGSEGV, faulted, SA_NODEFER);
    const Elf64_Sym *s = by_hash("time");
    want = (void *)8;
    if (!sigsetjmp(back, 1))
        ((long (*)(void *))at(s->st_value))(want);
    want = (void *)base;
    if (!sigsetjmp(back, 1))
        *(volatile char *)base = 1;
    return 0;
}

// ELF files with layouts that linkers seldom make, packers and hand-written ones do: each is written
// to a file, run, and must end as under Linux: with the byte it finds at an address, by a signal, or
// by a refusal of exec.
#include "test.h"
#include <elf.h>

enum { R = PF_R, W = PF_W, X = PF_X, MAX = 6 };
#define AT 0x401000UL
#define FAR 0x1030000000UL

static unsigned char file[0x8000];
static Elf64_Phdr headers[MAX];
static unsigned count;
static char path[64], helper[64];

static void header(unsigned type, unsigned flags, unsigned long offset, unsigned long address,
                   unsigned long length, unsigned long memory, unsigned long align) {
    headers[count++] = (Elf64_Phdr){.p_type = type,
                                    .p_flags = flags,
                                    .p_offset = offset,
                                    .p_vaddr = address,
                                    .p_paddr = address,
                                    .p_filesz = length,
                                    .p_memsz = memory,
                                    .p_align = align};
}

static void load(unsigned flags, unsigned long offset, unsigned long address, unsigned long length,
                 unsigned long memory) {
    header(PT_LOAD, flags, offset, address, length, memory, 4096);
}

static unsigned char *put(unsigned char *at, const void *bytes, unsigned length) {
    memcpy(at, bytes, length);
    return at + length;
}

// exit_group(byte at `address`), after storing `store` there unless that is negative.
static unsigned code(unsigned long offset, unsigned long address, int store) {
    unsigned char *at = file + offset, *start = at, byte = store;
    at = put(at, "\x48\xb8", 2);
    at = put(at, &address, 8);
    if (store >= 0)
        at = put(put(at, "\xc6\x00", 2), &byte, 1);
    at = put(at, "\x0f\xb6\x38\xb8\xe7\0\0\0\x0f\x05", 10);
    return at - start;
}

// The same for position-independent files: the byte `distance` behind the code.
static void code_relative(unsigned long offset, int distance) {
    unsigned char *at = put(file + offset, "\x0f\xb6\x3d", 3);
    distance -= 7;
    at = put(at, &distance, 4);
    put(at, "\xb8\xe7\0\0\0\x0f\x05", 7);
}

static void save(const char *name, unsigned type, unsigned long entry, unsigned long table,
                 unsigned long size) {
    Elf64_Ehdr h = {.e_ident = {0x7f, 'E', 'L', 'F', 2, 1, 1},
                    .e_type = type,
                    .e_machine = EM_X86_64,
                    .e_version = 1,
                    .e_entry = entry,
                    .e_phoff = table,
                    .e_ehsize = 64,
                    .e_phentsize = 56,
                    .e_phnum = count};
    memcpy(file, &h, sizeof h);
    if (table + sizeof headers <= sizeof file)
        memcpy(file + table, headers, sizeof *headers * count);
    int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0755);
    NEED(fd >= 0 && write(fd, file, size) == (long)size && !close(fd));
}

static void run(const char *what) {
    int status;
    printf("%s: ", what);
    fflush(stdout);
    pid_t child = fork();
    if (!child) {
        execl(path, path, NULL);
        printf("exec: %s\n", errno_name(errno));
        fflush(stdout);
        _exit(99);
    }
    waitpid(child, &status, 0);
    if (WIFSIGNALED(status))
        printf("signal %d\n", WTERMSIG(status));
    else if (WEXITSTATUS(status) != 99)
        printf("%d\n", WEXITSTATUS(status));
    fflush(stdout);
    memset(file, 0, sizeof file);
    count = 0;
}

static void fixed(const char *what, unsigned long entry) {
    save(path, ET_EXEC, entry, 64, sizeof file);
    run(what);
}

static void relocatable(const char *what, unsigned long entry) {
    save(path, ET_DYN, entry, 64, sizeof file);
    run(what);
}

static void text(unsigned long address, int store) {
    load(R | X, 0x1000, AT, code(0x1000, address, store), 0x100);
    headers[count - 1].p_memsz = headers[count - 1].p_filesz;
}

static void ends_and_gaps(void) {
    for (int memory = 16; memory <= 17; memory++) {
        text(0x402020, -1);
        file[0x2020] = 42;
        load(R | W, 0x2000, 0x402000, 16, memory);
        fixed(memory == 16 ? "what the file has behind it" : "cleared behind the file", AT);
    }
    text(0x402020, -1);
    file[0x2020] = 43;
    load(R, 0x2000, 0x402000, 16, 0x100);
    fixed("cleared where it cannot be written", AT);
    text(0x404321, -1);
    load(R | W, 0x2000, 0x402000, 16, 0x5000);
    fixed("pages of memory behind", AT);
    text(0x406fff, 3);
    load(R, 0x2000, 0x402000, 16, 0x5000);
    fixed("memory behind what cannot be written", AT);
    text(0x403800, -1);
    load(R | W, 0x2000, 0x402000, 16, 16);
    load(R | W, 0x3000, 0x405000, 16, 16);
    fixed("the gap", AT);
    text(0x60abcd, 9);
    load(R | W, 0, 0x600000, 0, 0x12000);
    fixed("memory only", AT);
    text(0x600123, 9);
    load(0, 0, 0x600000, 0, 0x1000);
    fixed("memory only, without rights", AT);
    text(0x600123, 9);
    load(R | W, 0x123, 0x600123, 0, 1);
    fixed("one byte of memory", AT);
    text(0x600123, 9);
    load(R | W, 0x777, 0x600123, 0, 1);
    fixed("one byte, offset unlike the address", AT);
    text(FAR + 0x3000000, 4);
    load(R | W, 0, FAR, 0, 0x40000000);
    fixed("much memory", AT);
    text(0x402000, -1);
    load(R | W, 0x2000, 0x402000, 0, 0);
    fixed("a segment of nothing", AT);
    load(R | W, 0, 0, 0, 0);
    text(AT, -1);
    fixed("a segment of nothing at 0", AT);
}

static void overlaps(void) {
    text(0x401800, -1);
    file[0x1800] = 6, file[0x3800] = 7;
    load(R | W, 0x3800, 0x401800, 4, 4);
    fixed("two in a page, the code lost", AT);
    load(R | W, 0x3800, 0x401800, 4, 4);
    load(R | X, 0x1000, AT, code(0x1000, 0x401800, -1), 0x900);
    headers[1].p_filesz = 0x900;
    file[0x1800] = 6, file[0x3800] = 7;
    fixed("two in a page, descending", AT);
    text(0x402800, -1);
    file[0x2800] = 1, file[0x3800] = 2;
    load(R | W, 0x2000, 0x402000, 0x1000, 0x1000);
    load(R | W, 0x3000, 0x402000, 0x1000, 0x1000);
    fixed("one over the other", AT);
    text(0x402800, -1);
    file[0x2800] = 1;
    load(R | W, 0x2000, 0x402000, 0x1000, 0x1000);
    load(R | W, 0, 0x402900, 0, 0x10);
    fixed("memory over a file's page", AT);
    load(R | W, 0x3000, 0x600000, 16, 16);
    file[0x3000] = 21;
    text(0x600000, -1);
    fixed("the later address first", AT);
    load(R | W | X, 0, 0x400000, 0x300, 0x300);
    code(0x200, 0x4002f0, 3);
    fixed("all in one", 0x400200);
}

static void places(void) {
    static const unsigned long addresses[] = {0x10000, 0x7e0000000000, 0x7fffffffe000, 0x7ffffffff000,
                                              0x800000000000, 0xffffffff80000000, 0xfffffffffffff000};
    for (unsigned i = 0; i < sizeof addresses / sizeof *addresses; i++) {
        char what[40];
        snprintf(what, sizeof what, "at %#lx", addresses[i]);
        // Where the stack may be, natively, nobody knows.
        if (addresses[i] == 0x7fffffffe000)
            continue;
        load(R | X, 0x1000, addresses[i], 0x100, 0x100);
        code(0x1000, addresses[i], -1);
        fixed(what, addresses[i]);
    }
    text(AT, -1);
    load(R | W, 0x2000, 0x402000, 16, ~0UL - 0x402000);
    fixed("memory beyond all addresses", AT);
    text(AT, -1);
    load(R | W, 0x2000, 0x402000, 16, ~0UL);
    fixed("more memory than there is", AT);
    text(AT, -1);
    load(R | W, 0x2000, 0x402000, 32, 16);
    fixed("more file than memory", AT);
    text(AT, -1);
    load(R | W, 0x2001, 0x402000, 16, 16);
    fixed("offset unlike the address", AT);
    text(AT, -1);
    load(R | W, 0x10, 0x402800, 16, 16);
    fixed("offset below its place in the page", AT);
    text(AT, -1);
    load(R | W, 0x20000, 0x420000, 0x1000, 0x1000);
    fixed("beyond the file, not touched", AT);
    text(0x420010, -1);
    load(R | W, 0x20000, 0x420000, 0x1000, 0x1000);
    fixed("beyond the file, touched", AT);
    text(AT, -1);
    load(R | W, 0x20000, 0x420000, 0x800, 0x1000);
    fixed("beyond the file, cleared", AT);
    text(AT, -1);
    fixed("entry nowhere", 0);
    text(AT, -1);
    fixed("entry of the kernel", 0xffffffff81000000);
    text(AT, -1);
    fixed("entry in no address", 0x8000000000000000);
    static const unsigned long aligns[] = {0, 1, 3, 0x10000, 0x200000, 1UL << 46, ~0UL};
    for (unsigned i = 0; i < sizeof aligns / sizeof *aligns; i++) {
        text(AT, -1);
        headers[0].p_align = aligns[i];
        fixed("aligned", AT);
    }
}

static void anywhere(void) {
    // At whatever address, so the code tells the low bits of its own: lea rdi, [rip - 7]; shr; exit.
    static const unsigned char tell[] = "\x48\x8d\x3d\xf9\xff\xff\xff\x48\xc1\xef\x0c\x81\xe7\x0f\0\0\0"
                                        "\xb8\xe7\0\0\0\x0f\x05";
    static const unsigned long aligns[] = {0, 3, 0x1000, 0x10000, 0x200000};
    for (unsigned i = 0; i < sizeof aligns / sizeof *aligns; i++) {
        memcpy(file + 0x1000, tell, sizeof tell - 1);
        load(R | X, 0x1000, 0x5000, 0x100, 0x100);
        headers[0].p_align = aligns[i];
        if (aligns[i] >= 0x10000)
            relocatable("anywhere, aligned", 0x5000);
        else {
            code_relative(0x1000, 0x80);
            file[0x1080] = 31;
            relocatable("anywhere", 0x5000);
        }
    }
    code_relative(0x1080, 0x1000);
    file[0x3080] = 17;
    load(R | X, 0x1000, 0x201000, 0x100, 0x100);
    load(R, 0x3000, 0x202000, 0x100, 0x100);
    relocatable("from 2 MiB on", 0x201080);
    code_relative(0x1080, -0x1000);
    file[0x3080] = 18;
    load(R | X, 0x1000, 0x2000, 0x100, 0x100);
    load(R, 0x3000, 0x1000, 0x100, 0x100);
    relocatable("descending", 0x2080);
    header(PT_NOTE, R, 0, 0, 0, 0, 4);
    relocatable("nothing to load", 0x1000);
    header(PT_NOTE, R, 0, 0, 0, 0, 4);
    fixed("nothing to load, fixed", 0x1000);
}

static void stacks(void) {
    // sub rsp, 4096; code that exits with 11 is stored there and jumped to.
    static const unsigned char run_on_stack[] =
        "\x48\x81\xec\0\x10\0\0\xc7\x04\x24\xbf\x0b\0\0\xc7\x44\x24\x04\0\xb8\xe7\0\xc7\x44\x24\x08"
        "\0\0\x0f\x05\xff\xe4";
    static const unsigned flags[][2] = {{R | W | X, 0}, {R | W, 0}, {0, 0}, {R | W | X, R | W}, {R | W, X}};
    for (unsigned i = 0; i < sizeof flags / sizeof *flags; i++) {
        memcpy(file + 0x1000, run_on_stack, sizeof run_on_stack - 1);
        load(R | X, 0x1000, AT, 0x100, 0x100);
        if (flags[i][0])
            header(PT_GNU_STACK, flags[i][0], 0, 0, 0, 0, 16);
        if (flags[i][1])
            header(PT_GNU_STACK, flags[i][1], 0, 0, 0, 0, 16);
        fixed("code on the stack", AT);
    }
}

static void heads(void) {
    static const struct {
        const char *what;
        unsigned at;
        unsigned char value;
    } bytes[] = {{"magic", 3, 'G'},       {"class", 4, 1},        {"byte order", 5, 2},
                 {"version", 6, 9},       {"system", 7, 9},       {"kind", 16, 1},
                 {"kind", 16, 4},         {"machine", 18, 3},     {"machine", 18, 183},
                 {"e_version", 20, 7},    {"header size", 52, 0}, {"entry size", 54, 32},
                 {"entry size", 54, 64},  {"no headers", 56, 0},  {"sections", 60, 200},
                 {"many headers", 57, 5}};
    for (unsigned i = 0; i < sizeof bytes / sizeof *bytes; i++) {
        text(AT, -1);
        save(path, ET_EXEC, AT, 64, sizeof file);
        int fd = open(path, O_WRONLY);
        NEED(pwrite(fd, &bytes[i].value, 1, bytes[i].at) == 1 && !close(fd));
        run(bytes[i].what);
    }
    static const unsigned long tables[] = {0, 72, 0x1800, 0x7f00, 0x7fe0, 0x8000, 1UL << 62, ~0UL};
    for (unsigned i = 0; i < sizeof tables / sizeof *tables; i++) {
        text(AT, -1);
        if (tables[i] == 0)
            save(path, ET_EXEC, AT, 64, 0x2000), truncate(path, 100);
        else
            save(path, ET_EXEC, AT, tables[i], sizeof file);
        run("program headers elsewhere");
    }
    for (unsigned size = 0; size < 130; size += 43) {
        text(AT, -1);
        save(path, ET_EXEC, AT, 64, size);
        run("cut");
    }
}

static void interpreter(const char *what, const char *name, unsigned long length) {
    text(AT, -1);
    strcpy((char *)file + 0x2000, name);
    header(PT_INTERP, R, 0x2000, 0, length, length, 1);
    fixed(what, AT);
}

static void interpreters(void) {
    unsigned long name = strlen(helper) + 1;
    code_relative(0x1000, 0x80);
    file[0x1080] = 77;
    load(R | X, 0x1000, 0x1000, 0x100, 0x100);
    load(R | W, 0x2000, 0x9000, 0x10, 0x3000);
    save(helper, ET_DYN, 0x1000, 64, sizeof file);
    memset(file, 0, sizeof file), count = 0;
    interpreter("interpreter", helper, name);
    interpreter("without its end", helper, name - 1);
    interpreter("of one byte", "", 1);
    interpreter("too long", helper, 5000);
    interpreter("missing", "/nowhere/at/all", 16);
    interpreter("a folder", "/", 2);
    text(AT, -1);
    header(PT_INTERP, R, 0x9000, 0, 10, 10, 1);
    fixed("its name beyond the file", AT);
    text(AT, -1);
    strcpy((char *)file + 0x2000, helper);
    header(PT_INTERP, R, 0x2000, 0, name, name, 1);
    header(PT_INTERP, R, 0x3000, 0, 1, 1, 1);
    fixed("two of them", AT);
    // Odd interpreters.
    static const struct {
        const char *what;
        unsigned at, size;
        unsigned char value;
    } bad[] = {{"interpreter's magic", 0, 0x8000, 0},   {"its kind", 16, 0x8000, 1},
               {"its machine", 18, 0x8000, 3},          {"its headers", 56, 0x8000, 0},
               {"cut in its header", 0, 40, 0x7f},      {"cut in its headers", 0, 100, 0x7f},
               {"empty", 0, 0, 0}};
    for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
        code_relative(0x1000, 0x80);
        load(R | X, 0x1000, 0x1000, 0x100, 0x100);
        save(helper, ET_DYN, 0x1000, 64, sizeof file);
        int fd = open(helper, O_WRONLY);
        NEED(!ftruncate(fd, bad[i].size));
        if (bad[i].size)
            NEED(pwrite(fd, &bad[i].value, 1, bad[i].at) == 1);
        close(fd);
        memset(file, 0, sizeof file), count = 0;
        interpreter(bad[i].what, helper, name);
    }
    load(R | X, 0x1000, 0x700000, code(0x1000, 0x700080, -1), 0x100);
    file[0x1080] = 78;
    headers[0].p_filesz = 0x100;
    save(helper, ET_EXEC, 0x700000, 64, sizeof file);
    memset(file, 0, sizeof file), count = 0;
    interpreter("interpreter at its own place", helper, name);
    NEED(!chmod(helper, 0644));
    interpreter("interpreter not executable", helper, name);
}

int main(void) {
    char folder[] = "/tmp/elf-layouts-XXXXXX";
    NEED(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/program", folder);
    snprintf(helper, sizeof helper, "%s/helper", folder);
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    ends_and_gaps();
    overlaps();
    places();
    anywhere();
    stacks();
    heads();
    interpreters();
    unlink(path);
    unlink(helper);
    rmdir(folder);
    return 0;
}

// mlock and its kin: what is locked, and what msync, madvise and mremap say of it.
#include "test.h"
#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif
#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif
#define PAGE 4096
static long locked(void) {
    char line[256];
    long kb = -1;
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f))
        sscanf(line, "VmLck: %ld", &kb);
    if (f)
        fclose(f);
    return kb;
}
static char *area(int pages, int prot, int flags) {
    char *p = mmap(NULL, pages * PAGE, prot, flags | MAP_ANONYMOUS, -1, 0);
    NEED(p != MAP_FAILED);
    return p;
}
static int resident(void *p, int pages) {
    unsigned char v[64];
    int n = 0;
    NEED(mincore(p, pages * PAGE, v) == 0);
    for (int i = 0; i < pages; i++)
        n += v[i] & 1;
    return n;
}
int main(void) {
    const int rw = PROT_READ | PROT_WRITE;
    enter_dir();
    long before = locked();
    char *p = area(8, rw, MAP_PRIVATE);
    R(mlock(p + 100, 2 * PAGE));
    printf("locked %ld kB, %d resident\n", locked() - before, resident(p, 8));
    R(mlock(p, PAGE));
    R(munlock(p + PAGE, 1));
    printf("locked %ld kB\n", locked() - before);
    R(syscall(SYS_mlock2, p, 8 * PAGE, 1));
    printf("locked %ld kB, %d resident\n", locked() - before, resident(p, 8));
    R(syscall(SYS_mlock2, p, 8 * PAGE, 2));
    R(mlock(p, 0));
    R(mlock((void *)PAGE, 0));
    R(mlock((void *)PAGE, 1));
    R(munlock((void *)PAGE, 1));
    R(mlock(p, -1UL));
    R(mlock((void *)(-1UL - PAGE), 100));
    R(mlock(p, 1UL << 60));
    R(munlock(p, -2UL));
    R(syscall(SYS_mlock2, (void *)PAGE, 1, 8));

    printf("-- on locked memory\n");
    R(msync(p, PAGE, MS_INVALIDATE));
    R(msync(p, PAGE, MS_ASYNC | MS_INVALIDATE));
    R(msync(p, PAGE, MS_SYNC));
    R(msync(p, PAGE, MS_SYNC | MS_ASYNC));
    R(msync(p, PAGE, 8));
    R(msync(p + 1, PAGE, MS_SYNC));
    R(msync(p, 0, MS_INVALIDATE));
    R(msync((void *)PAGE, PAGE, MS_SYNC));
    R(madvise(p, PAGE, MADV_DONTNEED));
    R(madvise(p, PAGE, MADV_FREE));
    R(madvise(p, PAGE, MADV_COLD));
    R(madvise(p, PAGE, MADV_PAGEOUT));
    R(madvise(p, PAGE, MADV_NORMAL));
    p[0] = 'x';
    R(madvise(p, PAGE, MADV_DONTNEED_LOCKED));
    YES(p[0] == 0);
    R(munlock(p, 4 * PAGE));
    R(madvise(p, 8 * PAGE, MADV_DONTNEED));
    R(msync(p, 4 * PAGE, MS_INVALIDATE));
    R(msync(p, 5 * PAGE, MS_INVALIDATE));
    R(munlock(p, 8 * PAGE));
    printf("locked %ld kB\n", locked() - before);

    printf("-- holes, areas without access\n");
    munmap(p + 2 * PAGE, PAGE);
    R(mlock(p, 8 * PAGE));
    printf("locked %ld kB\n", locked() - before);
    R(munlock(p, 8 * PAGE));
    printf("locked %ld kB\n", locked() - before);
    R(msync(p, 8 * PAGE, MS_SYNC));
    munmap(p, 8 * PAGE);
    p = area(2, PROT_NONE, MAP_PRIVATE);
    R(mlock(p, 2 * PAGE));
    printf("locked %ld kB\n", locked() - before);
    munmap(p, 2 * PAGE);
    printf("locked %ld kB\n", locked() - before);

    printf("-- kept and not kept\n");
    p = area(4, rw, MAP_PRIVATE | MAP_LOCKED);
    printf("locked %ld kB, %d resident\n", locked() - before, resident(p, 4));
    fflush(stdout);
    if (fork() == 0) {
        printf("child: locked %ld kB\n", locked());
        R(msync(p, PAGE, MS_INVALIDATE));
        fflush(stdout);
        _exit(0);
    }
    wait(NULL);
    char *q = mremap(p, 4 * PAGE, 8 * PAGE, MREMAP_MAYMOVE);
    NEED(q != MAP_FAILED);
    printf("locked %ld kB, %d resident\n", locked() - before, resident(q, 8));
    R(mprotect(q, PAGE, PROT_READ));
    printf("locked %ld kB\n", locked() - before);
    R(mprotect(q, PAGE, rw));
    // What Linux counts as locked while both areas exist is not what it gives back.
    R(munlock(q, 8 * PAGE));
    q[PAGE] = 'q';
    char *moved = mremap(q, 8 * PAGE, 8 * PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL);
    NEED(moved != MAP_FAILED);
    YES(moved != q && moved[PAGE] == 'q');
    YES(q[PAGE] == 0);
    printf("locked %ld kB\n", locked() - before);
    R(mprotect(moved, PAGE, rw));
    munmap(q, 8 * PAGE), munmap(moved, 8 * PAGE);

    printf("-- mremap refuses\n");
    p = area(8, rw, MAP_PRIVATE);
    char *target = area(8, rw, MAP_PRIVATE);
    OK(mremap(p, 4 * PAGE, 8 * PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL));
    OK(mremap(p, 4 * PAGE, 4 * PAGE, MREMAP_DONTUNMAP, NULL));
    OK(mremap(p, 4 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, p + 1));
    OK(mremap(p, 4 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, p + PAGE));
    OK(mremap(p, 4 * PAGE, 4 * PAGE, 8));
    OK(mremap(p, 4 * PAGE, 4 * PAGE, MREMAP_FIXED, target));
    OK(mremap(p, 4 * PAGE, 4 * PAGE, MREMAP_FIXED | MREMAP_MAYMOVE, target + 1));
    OK(mremap(p, 4 * PAGE, 4 * PAGE, MREMAP_FIXED | MREMAP_MAYMOVE, p + 2 * PAGE));
    OK(mremap(p, 4 * PAGE, 0, MREMAP_MAYMOVE));
    OK(mremap(p + 1, 4 * PAGE, 4 * PAGE, MREMAP_MAYMOVE));
    OK(mremap(p, 0, 4 * PAGE, MREMAP_MAYMOVE));
    OK(mremap((void *)PAGE, PAGE, 2 * PAGE, MREMAP_MAYMOVE));
    p[0] = '0';
    YES(mremap(p, 4 * PAGE, 4 * PAGE, MREMAP_FIXED | MREMAP_MAYMOVE | MREMAP_DONTUNMAP, target) == target);
    YES(target[0] == '0' && p[0] == 0);
    int fd = open("f", O_RDWR | O_CREAT, 0600);
    NEED(ftruncate(fd, 2 * PAGE) == 0);
    char *shared = mmap(NULL, 2 * PAGE, rw, MAP_SHARED, fd, 0);
    strcpy(shared, "shared");
    char *twin = mremap(shared, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL);
    OK(twin);
    if (twin != MAP_FAILED)
        YES(!strcmp(twin, "shared") && !strcmp(shared, "shared"));

    printf("-- all\n");
    R(mlockall(0));
    R(mlockall(MCL_ONFAULT));
    R(mlockall(8));
    R(mlockall(MCL_FUTURE));
    long now = locked();
    printf("locked %ld kB\n", now - before);
    p = area(4, rw, MAP_PRIVATE);
    printf("locked %ld kB, %d resident\n", locked() - now, resident(p, 4));
    R(mlockall(MCL_FUTURE | MCL_ONFAULT));
    q = area(4, rw, MAP_PRIVATE);
    printf("locked %ld kB, %d resident\n", locked() - now, resident(q, 4));
    R(mlockall(MCL_CURRENT));
    YES(locked() > now);
    YES(resident(q, 4) == 4);
    now = locked();
    p = area(4, rw, MAP_PRIVATE);
    printf("locked %ld kB\n", locked() - now);
    R(munlockall());
    printf("locked %ld kB\n", locked());
    R(msync(q, PAGE, MS_INVALIDATE));
    return 0;
}

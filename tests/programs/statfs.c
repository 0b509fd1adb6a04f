// statfs and statvfs answer with plausible, consistent numbers.
#include "test.h"
#include <sys/statfs.h>
#include <sys/statvfs.h>
int main(void) {
    struct statfs fs;
    R(statfs("/tmp", &fs));
    YES(fs.f_bsize >= 512);
    YES(fs.f_blocks >= fs.f_bfree);
    YES(fs.f_namelen == 255);
    R(statfs("/proc", &fs));
    printf("proc type %#lx\n", (long)fs.f_type);
    R(statfs("/absent", &fs));
    int fd = open("/tmp", O_RDONLY);
    R(fstatfs(fd, &fs));
    R(fstatfs(99, &fs));
    R(syscall(SYS_statfs, "/tmp", (void *)8));
    struct statvfs v;
    R(statvfs("/tmp", &v));
    R(v.f_namemax);
    return 0;
}

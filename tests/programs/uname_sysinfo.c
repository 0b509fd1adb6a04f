// uname, sysinfo, sysconf, getcpu, getrandom's flags: fields that make sense.
#include "test.h"
#include <sched.h>
#include <sys/random.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
int main(void) {
    struct utsname u;
    R(uname(&u));
    printf("%s %s\n", u.sysname, u.machine);
    int major = 0, minor = 0;
    YES(sscanf(u.release, "%d.%d", &major, &minor) == 2 && major >= 5);
    YES(strlen(u.nodename) > 0);
    struct sysinfo s;
    R(sysinfo(&s));
    YES(s.totalram * s.mem_unit > 16 << 20);
    YES(s.freeram <= s.totalram);
    YES(s.procs > 0 && s.uptime >= 0);
    YES(sysconf(_SC_NPROCESSORS_ONLN) >= 1);
    YES(sysconf(_SC_NPROCESSORS_CONF) >= sysconf(_SC_NPROCESSORS_ONLN));
    R(sysconf(_SC_PAGESIZE));
    YES(sysconf(_SC_PHYS_PAGES) > 1000);
    unsigned cpu = 999, node = 999;
    R(syscall(SYS_getcpu, &cpu, &node, NULL));
    YES(cpu < 512 && node < 64);
    cpu_set_t set;
    R(sched_getaffinity(0, sizeof set, &set));
    YES(CPU_COUNT(&set) >= 1);
    unsigned char a[64], b[64];
    R(getrandom(a, sizeof a, 0));
    R(getrandom(b, sizeof b, GRND_NONBLOCK));
    YES(memcmp(a, b, sizeof a) != 0);
    R(getrandom(a, 16, GRND_RANDOM));
    R(getrandom(a, 16, 0x100));
    R(getrandom(a, 16, GRND_RANDOM | GRND_INSECURE));
    R(getrandom(a, 0, 0));
    R(getentropy(a, 256));
    R(getentropy(a, 257));
    return 0;
}

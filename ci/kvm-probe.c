// Says what the KVM of the machine it runs on can do, and proves that it runs guest code: a
// real-mode guest adds two numbers and writes the sum to a port. Exits 0 only if that worked.
// Build: gcc -static -O1 -o kvm-probe kvm-probe.c
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

static int check(int result, const char *what) {
    if (result < 0) {
        perror(what);
        exit(1);
    }
    return result;
}

struct feature {
    const char *name;
    uint32_t leaf, subleaf;
    char reg; // one of a, b, c, d
    int bit;
};

static const struct feature features[] = {
    {"fxsr", 1, 0, 'd', 24},        {"sse2", 1, 0, 'd', 26},      {"sse4_2", 1, 0, 'c', 20},
    {"pcid", 1, 0, 'c', 17},        {"x2apic", 1, 0, 'c', 21},    {"tsc_deadline", 1, 0, 'c', 24},
    {"xsave", 1, 0, 'c', 26},       {"osxsave", 1, 0, 'c', 27},   {"avx", 1, 0, 'c', 28},
    {"rdrand", 1, 0, 'c', 30},      {"fsgsbase", 7, 0, 'b', 0},   {"smep", 7, 0, 'b', 7},
    {"avx2", 7, 0, 'b', 5},         {"erms", 7, 0, 'b', 9},       {"invpcid", 7, 0, 'b', 10},
    {"rdseed", 7, 0, 'b', 18},      {"smap", 7, 0, 'b', 20},      {"clflushopt", 7, 0, 'b', 23},
    {"umip", 7, 0, 'c', 2},         {"pku", 7, 0, 'c', 3},        {"rdpid", 7, 0, 'c', 22},
    {"xsaveopt", 0xd, 1, 'a', 0},   {"xsavec", 0xd, 1, 'a', 1},   {"xsaves", 0xd, 1, 'a', 3},
    {"syscall", 0x80000001, 0, 'd', 11}, {"nx", 0x80000001, 0, 'd', 20},
    {"pdpe1gb", 0x80000001, 0, 'd', 26}, {"rdtscp", 0x80000001, 0, 'd', 27},
    {"invtsc", 0x80000007, 0, 'd', 8},
};

static void print_features(int kvm) {
    struct kvm_cpuid2 *cpuid = calloc(1, sizeof *cpuid + 256 * sizeof *cpuid->entries);
    cpuid->nent = 256;
    check(ioctl(kvm, KVM_GET_SUPPORTED_CPUID, cpuid), "KVM_GET_SUPPORTED_CPUID");
    for (int offered = 1; offered >= 0; offered--) {
        printf("cpuid %s:", offered ? "offered" : "missing");
        for (size_t i = 0; i < sizeof features / sizeof *features; i++) {
            const struct feature *f = &features[i];
            int set = 0;
            for (uint32_t j = 0; j < cpuid->nent; j++) {
                const struct kvm_cpuid_entry2 *e = &cpuid->entries[j];
                if (e->function != f->leaf || e->index != f->subleaf)
                    continue;
                uint32_t value = f->reg == 'a' ? e->eax : f->reg == 'b' ? e->ebx
                               : f->reg == 'c' ? e->ecx : e->edx;
                set = value >> f->bit & 1;
            }
            if (set == offered)
                printf(" %s", f->name);
        }
        printf("\n");
    }
    free(cpuid);
}

static void print_capabilities(int kvm, int vm) {
    static const struct { const char *name; int number; } caps[] = {
        {"tsc_control", KVM_CAP_TSC_CONTROL}, {"get_tsc_khz", KVM_CAP_GET_TSC_KHZ},
        {"xsave", KVM_CAP_XSAVE},             {"xcrs", KVM_CAP_XCRS},
        {"readonly_mem", KVM_CAP_READONLY_MEM}, {"split_irqchip", KVM_CAP_SPLIT_IRQCHIP},
        {"immediate_exit", KVM_CAP_IMMEDIATE_EXIT}, {"binary_stats_fd", KVM_CAP_BINARY_STATS_FD},
        {"sync_regs", KVM_CAP_SYNC_REGS},     {"nr_memslots", KVM_CAP_NR_MEMSLOTS},
        {"max_vcpus", KVM_CAP_MAX_VCPUS},     {"vm_tsc_control", KVM_CAP_VM_TSC_CONTROL},
    };
    printf("capabilities: api=%d", ioctl(kvm, KVM_GET_API_VERSION, 0));
    for (size_t i = 0; i < sizeof caps / sizeof *caps; i++)
        printf(" %s=%d", caps[i].name, ioctl(vm, KVM_CHECK_EXTENSION, caps[i].number));
    printf("\n");
}

static void print_tsc(int vcpu) {
    int64_t offset = 0;
    struct kvm_device_attr attr = {
        .group = KVM_VCPU_TSC_CTRL, .attr = KVM_VCPU_TSC_OFFSET, .addr = (uint64_t)&offset};
    int has = ioctl(vcpu, KVM_HAS_DEVICE_ATTR, &attr);
    int get = ioctl(vcpu, KVM_GET_DEVICE_ATTR, &attr);
    int64_t before = offset, wanted = before - 123456789;
    offset = wanted;
    int set = ioctl(vcpu, KVM_SET_DEVICE_ATTR, &attr);
    offset = 0;
    ioctl(vcpu, KVM_GET_DEVICE_ATTR, &attr);
    printf("tsc: khz=%d offset attribute has=%d get=%d set=%d kept=%s\n",
           ioctl(vcpu, KVM_GET_TSC_KHZ, 0), has, get, set, offset == wanted ? "yes" : "no");
}

int main(void) {
    // mov dx, 0x3f8; add al, bl; out dx, al; hlt
    static const uint8_t code[] = {0xba, 0xf8, 0x03, 0x00, 0xd8, 0xee, 0xf4};
    int kvm = check(open("/dev/kvm", O_RDWR | O_CLOEXEC), "/dev/kvm");
    print_features(kvm);
    int vm = check(ioctl(kvm, KVM_CREATE_VM, 0), "KVM_CREATE_VM");
    print_capabilities(kvm, vm);

    void *memory = mmap(NULL, 0x1000, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        check(-1, "mmap");
    memcpy(memory, code, sizeof code);
    struct kvm_userspace_memory_region region = {
        .guest_phys_addr = 0x1000, .memory_size = 0x1000, .userspace_addr = (uint64_t)memory};
    check(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region), "KVM_SET_USER_MEMORY_REGION");

    int vcpu = check(ioctl(vm, KVM_CREATE_VCPU, 0), "KVM_CREATE_VCPU");
    print_tsc(vcpu);
    int size = check(ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), "KVM_GET_VCPU_MMAP_SIZE");
    struct kvm_run *run = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
    if (run == MAP_FAILED)
        check(-1, "mmap of the vCPU");
    struct kvm_sregs sregs;
    check(ioctl(vcpu, KVM_GET_SREGS, &sregs), "KVM_GET_SREGS");
    sregs.cs.base = 0;
    sregs.cs.selector = 0;
    check(ioctl(vcpu, KVM_SET_SREGS, &sregs), "KVM_SET_SREGS");
    struct kvm_regs regs = {.rip = 0x1000, .rax = 40, .rbx = 2, .rflags = 2};
    check(ioctl(vcpu, KVM_SET_REGS, &regs), "KVM_SET_REGS");

    check(ioctl(vcpu, KVM_RUN, 0), "KVM_RUN");
    uint8_t sum = run->exit_reason == KVM_EXIT_IO ? *((uint8_t *)run + run->io.data_offset) : 0;
    if (sum != 42) {
        fprintf(stderr, "the guest did not compute: exit reason %u, value %u\n", run->exit_reason, sum);
        return 1;
    }
    check(ioctl(vcpu, KVM_RUN, 0), "KVM_RUN");
    if (run->exit_reason != KVM_EXIT_HLT) {
        fprintf(stderr, "the guest did not halt: exit reason %u\n", run->exit_reason);
        return 1;
    }
    printf("guest: ran and halted\n");
    return 0;
}

// What the host's KVM itself charges for a system call: a bare guest, no kernel in it, loops on
// SYSCALL with the shortest handler there is. Prints nanoseconds a call, the best of some rounds.
// Under a software KVM all of it runs in ring 3; on hardware SYSCALL enters ring 0 and stays there.
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>

#define MEMORY (2 << 20)
#define CODE 0x10000
#define HANDLER 0x11000
#define CALLS 5000
#define ROUNDS 5

static double now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e9 + t.tv_nsec;
}

int main(void) {
    int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    int vm = kvm < 0 ? -1 : ioctl(kvm, KVM_CREATE_VM, 0);
    char *memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (vm < 0 || memory == MAP_FAILED)
        return 1;
    struct kvm_userspace_memory_region slot = {.memory_size = MEMORY,
                                               .userspace_addr = (uintptr_t)memory};
    if (ioctl(vm, KVM_SET_USER_MEMORY_REGION, &slot))
        return 1;
    // The first 2 MiB as they are, and behind them a page without memory: touching it exits.
    *(uint64_t *)(memory + 0x1000) = 0x2000 | 7;
    *(uint64_t *)(memory + 0x2000) = 0x3000 | 7;
    *(uint64_t *)(memory + 0x3000) = 0x0 | 0x87;
    *(uint64_t *)(memory + 0x3008) = MEMORY | 0x87;
    uint64_t *gdt = (uint64_t *)(memory + 0x5000);
    gdt[5] = 0x00cff3000000ffff;
    gdt[6] = 0x00affb000000ffff;
    static const unsigned char code[] = {
        0x0f, 0x05,                         // again: syscall
        0x49, 0xff, 0xcc,                   // dec r12
        0x75, 0xf9,                         // jnz again
        0xa2, 0x00, 0x00, 0x20, 0, 0, 0, 0, // movabs [MEMORY], al
        0x00, 0xeb, 0xfe};                  // (end of the address)  jmp .
    memcpy(memory + CODE, code, sizeof code);
    memcpy(memory + HANDLER, "\x41\x53\x9d\xff\xe1", 5); // push r11; popfq; jmp *rcx
    int vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
    int size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
    if (vcpu < 0 || size < 0)
        return 1;
    struct kvm_run *run = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
    struct kvm_sregs sregs;
    if (run == MAP_FAILED || ioctl(vcpu, KVM_GET_SREGS, &sregs))
        return 1;
    struct kvm_segment segment = {.limit = ~0u, .present = 1, .dpl = 3, .s = 1, .g = 1};
    sregs.cs = sregs.ss = segment;
    sregs.cs.selector = 0x33, sregs.cs.type = 11, sregs.cs.l = 1;
    sregs.ss.selector = 0x2b, sregs.ss.type = 3, sregs.ss.db = 1;
    sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss;
    sregs.cr0 = 0x80050033, sregs.cr3 = 0x1000, sregs.cr4 = 0x6a0, sregs.efer = 0xd01;
    sregs.gdt.base = 0x5000, sregs.gdt.limit = 55;
    struct {
        struct kvm_msrs head;
        struct kvm_msr_entry entries[3];
    } msrs = {.head.nmsrs = 3,
              .entries = {{.index = 0xc0000081, .data = 0x0023001000000000},
                          {.index = 0xc0000082, .data = HANDLER},
                          {.index = 0xc0000084, .data = 0x47500}}};
    if (ioctl(vcpu, KVM_SET_SREGS, &sregs) || ioctl(vcpu, KVM_SET_MSRS, &msrs) != 3)
        return 1;
    double best = 0;
    for (int round = 0; round < ROUNDS; round++) {
        struct kvm_regs regs = {.rip = CODE, .rsp = 0x18000, .rflags = 0x202, .r12 = CALLS};
        if (ioctl(vcpu, KVM_SET_REGS, &regs))
            return 1;
        double start = now_ns();
        ioctl(vcpu, KVM_RUN, 0);
        double call = (now_ns() - start) / CALLS;
        if (run->exit_reason != KVM_EXIT_MMIO)
            return 2;
        best = round == 0 || call < best ? call : best;
        run->immediate_exit = 1; // completes the access
        ioctl(vcpu, KVM_RUN, 0);
        run->immediate_exit = 0;
    }
    printf("%.1f\n", best);
    return 0;
}

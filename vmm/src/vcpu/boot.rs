//! Registers of a vCPU that is about to enter the sentry for the first time: 64-bit mode, ring 0,
//! paging on. The sentry loads its own GDT, IDT, TSS and stack.

use kvm_bindings::{CpuId, kvm_regs, kvm_segment, kvm_sregs, kvm_xcr, kvm_xcrs};
use kvm_ioctls::VcpuFd;
use sprout_abi::layout::{BOOT_INFO_GPA, selector};

use crate::host::cpuid;

// Control register bits (Intel SDM vol. 3, 2.5).
const CR0_PE: u64 = 1 << 0;
const CR0_MP: u64 = 1 << 1;
const CR0_ET: u64 = 1 << 4;
const CR0_NE: u64 = 1 << 5;
const CR0_WP: u64 = 1 << 16;
const CR0_PG: u64 = 1 << 31;
const CR4_PAE: u64 = 1 << 5;
const CR4_PGE: u64 = 1 << 7;
const CR4_OSFXSR: u64 = 1 << 9;
const CR4_OSXMMEXCPT: u64 = 1 << 10;
const CR4_FSGSBASE: u64 = 1 << 16;
const CR4_OSXSAVE: u64 = 1 << 18;
const EFER_SCE: u64 = 1 << 0;
const EFER_LME: u64 = 1 << 8;
const EFER_LMA: u64 = 1 << 10;
const EFER_NXE: u64 = 1 << 11;

/// Bit 1 of RFLAGS always reads as one.
const RFLAGS_FIXED: u64 = 1 << 1;

/// Sets all registers for the first entry at `entry` on the page tables at `root`.
pub fn set_registers(
    vcpu: &VcpuFd,
    cpuid: &CpuId,
    entry: u64,
    root: u64,
) -> Result<(), kvm_ioctls::Error> {
    let mut sregs = vcpu.get_sregs()?;
    special_registers(&mut sregs, cpuid, root);
    vcpu.set_sregs(&sregs)?;
    vcpu.set_xcrs(&extended_control(cpuid))?;
    vcpu.set_regs(&kvm_regs {
        rip: entry,
        rdi: BOOT_INFO_GPA,
        rflags: RFLAGS_FIXED,
        ..Default::default()
    })
}

fn special_registers(sregs: &mut kvm_sregs, table: &CpuId, root: u64) {
    let fsgsbase = if cpuid::has_fsgsbase(table) {
        CR4_FSGSBASE
    } else {
        0
    };
    sregs.cr0 = CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_PG;
    sregs.cr3 = root;
    sregs.cr4 = CR4_PAE | CR4_PGE | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE | fsgsbase;
    sregs.efer = EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE;
    // Flat segments as the sentry's GDT will define them: code type 0xb (execute, read, accessed),
    // data type 3 (read, write, accessed).
    let code = kvm_segment {
        selector: selector::KERNEL_CODE,
        limit: u32::MAX,
        type_: 0xb,
        present: 1,
        s: 1,
        l: 1,
        g: 1,
        ..Default::default()
    };
    let data = kvm_segment {
        selector: selector::KERNEL_DATA,
        type_: 3,
        l: 0,
        db: 1,
        ..code
    };
    sregs.cs = code;
    (sregs.ds, sregs.es, sregs.ss) = (data, data, data);
    (sregs.fs, sregs.gs) = (data, data);
}

fn extended_control(table: &CpuId) -> kvm_xcrs {
    let mut xcrs = kvm_xcrs {
        nr_xcrs: 1,
        ..Default::default()
    };
    xcrs.xcrs[0] = kvm_xcr {
        xcr: 0,
        value: cpuid::xcr0(table),
        ..Default::default()
    };
    xcrs
}

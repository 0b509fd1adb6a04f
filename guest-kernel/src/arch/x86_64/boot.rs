//! From the VMM's entry state to the first task.
//!
//! The privilege mode is found by behaviour: ring-3 code executes SYSCALL and looks at the privilege
//! level it arrives with. Ring 0: a processor that virtualizes it (*hardware mode*); the kernel
//! slots lose their U bit and SMEP, SMAP and UMIP go on. Ring 3: a KVM that emulates ring 0 and runs
//! ring 3 natively (*ring-3 mode*); the sentry stays where it is. There, where the VMM asked for
//! it, the sentry keeps the page tables it booted on for itself (*strict mode*; see `entry`).

use super::tables::{self, deny_io_ports};
use super::{MODE, cpuid, fpu, ring0};
use core::arch::asm;
use core::sync::atomic::Ordering;
use sprout_abi::boot::{BOOT_MAGIC, BootInfo, RestoreInfo, SharedPage, boot_flags, mode};
use sprout_abi::layout::{
    BOOT_INFO_GPA, DIRECT_MAP_BASE, KERNEL_PML4_SLOTS, PAGE_TABLES_GPA, RESTORE_INFO_GPA,
    SHARED_PAGE_GPA,
};

/// What the VMM wrote before the first run.
pub fn boot_info() -> &'static BootInfo {
    // SAFETY: the page is reserved, written before the first instruction, and plain data.
    unsafe { &*((DIRECT_MAP_BASE + BOOT_INFO_GPA) as *const BootInfo) }
}

/// What the VMM wrote before this restored guest resumed.
pub fn restore_info() -> RestoreInfo {
    // SAFETY: the page is reserved, any bytes are a valid value, and the VMM writes it only while
    // this vCPU is stopped.
    unsafe { ((DIRECT_MAP_BASE + RESTORE_INFO_GPA) as *const RestoreInfo).read_volatile() }
}

/// Wipes the fresh bytes in it.
pub fn forget_restore_entropy() {
    let info = (DIRECT_MAP_BASE + RESTORE_INFO_GPA) as *mut RestoreInfo;
    // SAFETY: the page is reserved, and the VMM writes it only while this vCPU is stopped.
    unsafe { (&raw mut (*info).entropy).write_volatile([0; 64]) }
}

/// The page shared with the VMM.
pub fn shared_page() -> &'static SharedPage {
    // SAFETY: the page is reserved and consists of atomics.
    unsafe { &*((DIRECT_MAP_BASE + SHARED_PAGE_GPA) as *const SharedPage) }
}

/// First Rust code: on the boot stack, in the privilege level the sentry keeps.
pub(super) extern "C" fn main(found: u32) -> ! {
    MODE.store(found, Ordering::Relaxed);
    shared_page().privilege_mode.store(found, Ordering::Relaxed);
    let info = boot_info();
    assert!(info.magic == BOOT_MAGIC, "boot information is missing");
    assert!(
        info.abi_version == sprout_abi::ABI_VERSION,
        "the VMM speaks ABI version {}, this sentry {}",
        info.abi_version,
        sprout_abi::ABI_VERSION
    );
    assert!(
        cpuid(7, 0).ebx & 1 != 0,
        "the processor has no FSGSBASE; the sentry needs it"
    );
    if found == mode::HARDWARE {
        close_kernel_half();
        protect();
    } else if info.flags & boot_flags::STRICT != 0 {
        enter_strict_mode();
    }
    fpu::init();
    crate::arch::kernel::sentry_boot(info)
}

/// Ring-3 mode becomes strict mode. No program has page tables yet.
fn enter_strict_mode() {
    deny_io_ports();
    tables::set_strict();
    MODE.store(mode::RING3_STRICT, Ordering::Relaxed);
    shared_page()
        .privilege_mode
        .store(mode::RING3_STRICT, Ordering::Relaxed);
    load_strict_idt();
}

/// Strict mode, on each vCPU.
pub(super) fn load_strict_idt() {
    // SAFETY: ring-3 mode; the table is complete and constant, and serves the sentry's own `int3`
    // as the one before did.
    unsafe { ring0::call(ring0::LIDT, tables::IDT_STRICT_POINTER, 0) };
}

/// Hardware mode: the sentry's memory becomes supervisor memory. The tables of other vCPUs are
/// copied from these.
fn close_kernel_half() {
    deny_io_ports();
    // SAFETY: ring 0 (hardware mode). Clearing U in the two top-level entries takes nothing from
    // ring 0; the CR3 reload makes it take effect.
    unsafe {
        let pml4 = (DIRECT_MAP_BASE + PAGE_TABLES_GPA) as *mut u64;
        for slot in KERNEL_PML4_SLOTS {
            let entry = pml4.add(slot);
            entry.write_volatile(entry.read_volatile() & !4);
        }
        asm!("mov {t}, cr3", "mov cr3, {t}", t = out(reg) _, options(nostack));
    }
}

/// Hardware mode, on each vCPU: what the processor offers to keep ring 0 out of programs' memory and
/// programs out of its secrets.
pub(super) fn protect() {
    /// CPUID.7.EBX and .ECX bits, with the CR4 bits they allow.
    const SMEP: (u32, u64) = (1 << 7, 1 << 20);
    const SMAP: (u32, u64) = (1 << 20, 1 << 21);
    const UMIP: (u32, u64) = (1 << 2, 1 << 11);
    let features = cpuid(7, 0);
    let mut cr4_bits = 0;
    for (features, (bit, cr4)) in [
        (features.ebx, SMEP),
        (features.ebx, SMAP),
        (features.ecx, UMIP),
    ] {
        if features & bit != 0 {
            cr4_bits |= cr4;
        }
    }
    // SAFETY: ring 0 (hardware mode), on tables whose kernel half is supervisor memory.
    unsafe {
        asm!(
            "mov {t}, cr4", "or {t}, {bits}", "mov cr4, {t}",
            t = out(reg) _, bits = in(reg) cr4_bits,
            options(nostack)
        );
    }
}

//! x86-64: boot, traps, context switch, and the two privilege modes (see `boot`).

#![allow(unsafe_code)]

mod boot;
mod cpu;
pub mod debug;
mod entry;
mod fpu;
pub mod page_table;
mod ring0;
pub mod signal_frame;
mod switch;
mod tables;
pub mod tlb;
mod traps;
pub mod vdso;

pub use boot::{boot_info, forget_restore_entropy, restore_info, shared_page};
pub use cpu::{
    cpu_count, cpu_index, own_root, prepare as prepare_cpus, secondary_entry, spin_ticks,
};
pub use fpu::FpuState;
pub use switch::{KernelStack, ThreadRegisters, switch, switch_to_idle};

use crate::errno::{Errno, Result};
use core::arch::asm;
use core::sync::atomic::{AtomicU32, Ordering};
use sprout_abi::boot::mode;
use sprout_abi::hypercall::Request;
use sprout_abi::layout::{
    DIRECT_MAP_BASE, DOORBELL_PORT, IMAGE_BASE, IMAGE_STRIDE, KERNEL_BASE, USER_END,
    hypercall_slot_gpa,
};

static MODE: AtomicU32 = AtomicU32::new(mode::UNKNOWN);

/// Whether the sentry itself runs in ring 3 (software KVM).
pub fn in_ring3_mode() -> bool {
    MODE.load(Ordering::Relaxed) >= mode::RING3
}

/// Whether program and sentry are on page tables of their own (strict mode).
pub fn is_strict() -> bool {
    MODE.load(Ordering::Relaxed) == mode::RING3_STRICT
}

unsafe extern "C" {
    fn syscall_entry();
}

/// LSTAR.
pub fn syscall_entry_address() -> u64 {
    syscall_entry as *const () as u64
}

/// The time-stamp counter. The VMM keeps the guest's equal to what its clock readings use.
pub fn tsc() -> u64 {
    // SAFETY: RDTSC reads a counter; ring 3 may (CR4.TSD is clear).
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// CPUID as the program sees it.
pub fn cpuid(leaf: u32, subleaf: u32) -> core::arch::x86_64::CpuidResult {
    core::arch::x86_64::__cpuid_count(leaf, subleaf)
}

/// The vsyscall page as /proc/PID/maps shows it.
pub const GATE_AREA: &str =
    "ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]\n";

/// `uname -m`.
pub const MACHINE: &[u8] = b"x86_64";

/// AT_HWCAP: CPUID.1.EDX.
pub fn hwcap() -> u64 {
    cpuid(1, 0).edx.into()
}

/// AT_HWCAP2: bit 1: programs may use RDFSBASE and its kin.
pub fn hwcap2() -> u64 {
    2
}

/// AT_MINSIGSTKSZ: what a signal frame takes.
pub fn minimum_signal_stack() -> u64 {
    FpuState::new().bytes().len() as u64 + 1024
}

/// exec: the new program has no thread pointer yet.
pub fn reset_thread_pointers() {
    switch::set_fs_base(0);
    switch::set_gs_base(0);
}

/// arch_prctl(2); `answer` writes what was asked for to `addr`.
pub fn arch_prctl(
    operation: u32,
    addr: u64,
    answer: impl FnOnce(u64) -> Result<()>,
) -> Result<u64> {
    const ARCH_SET_GS: u32 = 0x1001;
    const ARCH_SET_FS: u32 = 0x1002;
    const ARCH_GET_FS: u32 = 0x1003;
    const ARCH_GET_GS: u32 = 0x1004;
    const ARCH_GET_CPUID: u32 = 0x1011;
    const ARCH_SET_CPUID: u32 = 0x1012;
    match operation {
        ARCH_SET_FS | ARCH_SET_GS if addr >= USER_END => return Err(Errno::EPERM),
        ARCH_SET_FS => switch::set_fs_base(addr),
        ARCH_SET_GS => switch::set_gs_base(addr),
        ARCH_GET_FS => answer(switch::fs_base())?,
        ARCH_GET_GS => answer(switch::gs_base())?,
        ARCH_GET_CPUID => return Ok(1),
        // The processor can't be made to fault there.
        ARCH_SET_CPUID => return Err(Errno::ENODEV),
        _ => return Err(Errno::EINVAL),
    }
    Ok(0)
}

/// Guest-physical address of kernel memory (direct map or the sentry's own image).
///
/// # Panics
/// When `va` is neither: the sentry never passes user addresses here.
pub fn kernel_gpa(va: u64) -> u64 {
    if tables::TABLES_RANGE.contains(&va) {
        tables::local().tables.load(Ordering::Relaxed) + (va - tables::TABLES_RANGE.start)
    } else if va >= KERNEL_BASE {
        va - KERNEL_BASE
    } else {
        let gpa = va.wrapping_sub(DIRECT_MAP_BASE);
        assert!(
            gpa < IMAGE_BASE + 4 * IMAGE_STRIDE,
            "not a kernel address: {va:#x}"
        );
        gpa
    }
}

/// Rings the doorbell with `request`; returns its result.
pub fn doorbell(request: Request) -> i64 {
    let gpa = hypercall_slot_gpa(cpu_index());
    let page = (DIRECT_MAP_BASE + gpa) as *mut Request;
    // SAFETY: the slot is this vCPU's for this use (`layout`), no interrupts in the sentry.
    // The VMM writes the result and memory the request names before the instruction completes; the
    // asm block is a compiler barrier for memory.
    unsafe {
        page.write_volatile(request);
        if is_strict() {
            // The program may not ring it, so ring 3 may not.
            ring0::call(ring0::OUT, gpa, DOORBELL_PORT.into());
        } else {
            asm!(
                "out dx, eax",
                in("dx") DOORBELL_PORT,
                in("eax") gpa as u32,
                options(nostack, preserves_flags)
            );
        }
        page.read_volatile().result
    }
}

//! Ring-3 mode: what takes ring 0 is done by the emulated stubs, asked for with `int3`, and `int 4`
//! for the most frequent, each at one address, by which the stubs know them. A call costs 5 to 12 us
//! and changes no register but RAX.

use core::arch::asm;

/// INVLPG of the address in RDI.
pub const INVLPG: u64 = 0;
/// WRMSR of ECX from EDX:ESI.
pub const WRMSR: u64 = 1;
/// LIDT from the operand at RDI.
pub const LIDT: u64 = 2;
/// OUT of EDI to the port in DX.
pub const OUT: u64 = 3;
/// Reads CR2 to RAX.
pub const READ_CR2: u64 = 4;

/// Loads CR3.
///
/// # Safety
///
/// In shared ring-3 mode only; `root` must map what the sentry uses.
pub unsafe fn load_cr3(root: u64) {
    // SAFETY: as in `call`; what `root` is is the caller's promise.
    unsafe { asm!("call ring0_load_cr3", in("rdi") root) };
}

/// Calls service `operation`.
///
/// # Safety
///
/// In ring-3 mode only; as safe as the instruction it stands for.
pub unsafe fn call(operation: u64, rdi: u64, rdx: u64) -> u64 {
    let result;
    // SAFETY: the gate returns to the next instruction with RAX changed (`entry`). What the operation does is the caller's promise.
    unsafe {
        asm!("call ring0_call", inout("rax") operation => result, in("rdi") rdi, in("rdx") rdx);
    }
    result
}

//! Ring-3 mode: what takes ring 0 is done by the emulated stubs, asked for with `int 4`. A call costs
//! 5-7 us and changes no register but RAX.

use core::arch::asm;

/// Loads CR3 from RDI.
pub const LOAD_CR3: u64 = 0;
/// INVLPG of the address in RDI.
pub const INVLPG: u64 = 1;
/// WRMSR of ECX from EDX:ESI.
pub const WRMSR: u64 = 2;
/// LIDT from the operand at RDI.
pub const LIDT: u64 = 3;
/// OUT of EDI to the port in DX.
pub const OUT: u64 = 4;
/// Reads CR2 to RAX.
pub const READ_CR2: u64 = 5;

/// Calls service `operation`.
///
/// # Safety
///
/// In ring-3 mode only; as safe as the instruction it stands for.
pub unsafe fn call(operation: u64, rdi: u64, rdx: u64) -> u64 {
    let result;
    // SAFETY: the gate returns to the next instruction with RAX changed (`entry`); it needs no stack
    // of ours. What the operation does is the caller's promise.
    unsafe {
        asm!("int 4", inout("rax") operation => result, in("rdi") rdi, in("rdx") rdx,
            options(nostack));
    }
    result
}

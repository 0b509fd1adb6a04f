//! What an operator sees when a guest stops in a way it should not: registers, the names of the
//! sentry's functions on the stack.

use std::fmt::Write as _;

use kvm_ioctls::VcpuFd;
use sprout_abi::layout::{DIRECT_MAP_BASE, KERNEL_BASE};
use vm_memory::{Bytes, GuestAddress};

use crate::boot::symbols::Symbols;
use crate::memory::GuestMemory;

/// Most frames of a backtrace.
const MAX_FRAMES: usize = 32;

/// Registers and, when the sentry was executing, its backtrace.
pub fn describe(vcpu: &VcpuFd, memory: &GuestMemory, symbols: Option<&Symbols<'_>>) -> String {
    let (Ok(regs), Ok(sregs)) = (vcpu.get_regs(), vcpu.get_sregs()) else {
        return "registers can't be read".into();
    };
    let mut text = String::new();
    let _ = writeln!(
        text,
        "rip {:#x} (ring {}) rsp {:#x} rflags {:#x} cr2 {:#x} cr3 {:#x}",
        regs.rip,
        sregs.cs.selector & 3,
        regs.rsp,
        regs.rflags,
        sregs.cr2,
        sregs.cr3
    );
    let _ = writeln!(
        text,
        "rax {:#x} rbx {:#x} rcx {:#x} rdx {:#x} rsi {:#x} rdi {:#x} rbp {:#x}",
        regs.rax, regs.rbx, regs.rcx, regs.rdx, regs.rsi, regs.rdi, regs.rbp
    );
    let _ = writeln!(
        text,
        "r8 {:#x} r9 {:#x} r10 {:#x} r11 {:#x} r12 {:#x} r13 {:#x} r14 {:#x} r15 {:#x}",
        regs.r8, regs.r9, regs.r10, regs.r11, regs.r12, regs.r13, regs.r14, regs.r15
    );
    if regs.rip >= KERNEL_BASE {
        let frames = frames(memory, regs.rip, regs.rbp);
        match symbols {
            Some(symbols) => text.push_str(&symbols.backtrace(&frames)),
            None => {
                let _ = writeln!(text, "  {frames:#x?}");
            }
        }
    }
    text
}

/// Follows the frame-pointer chain through the sentry's stack.
fn frames(memory: &GuestMemory, rip: u64, mut frame: u64) -> Vec<u64> {
    let mut addresses = vec![rip];
    while addresses.len() < MAX_FRAMES {
        let (Some(next), Some(back)) = (
            read_kernel(memory, frame),
            frame.checked_add(8).and_then(|at| read_kernel(memory, at)),
        ) else {
            break;
        };
        // A return address points behind the call, so that a name is looked up for the call.
        addresses.push(back.saturating_sub(1));
        if next <= frame || back < KERNEL_BASE {
            break;
        }
        frame = next;
    }
    addresses
}

/// A word of the sentry's memory by virtual address.
fn read_kernel(memory: &GuestMemory, address: u64) -> Option<u64> {
    let gpa = match address {
        KERNEL_BASE.. => address - KERNEL_BASE,
        DIRECT_MAP_BASE.. => address - DIRECT_MAP_BASE,
        _ => return None,
    };
    memory.ram().read_obj(GuestAddress(gpa)).ok()
}

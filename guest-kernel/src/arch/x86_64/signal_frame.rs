//! Signal frames on a program's stack, as Linux lays them out on x86-64
//! (arch/x86/include/uapi/asm/sigcontext.h, arch/x86/kernel/signal_64.c, fpu/signal.c).

use crate::arch::{FpuState, TrapFrame};
use crate::errno::{Errno, Result};
use crate::task::Task;
use crate::task::signal::{AltStack, SigAction, SigInfo, SigSet, sa};
use alloc::sync::Arc;
use sprout_abi::layout::{USER_END, selector};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes};

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct SigContext {
    r8_r15: [u64; 8],
    rdi: u64,
    rsi: u64,
    rbp: u64,
    rbx: u64,
    rdx: u64,
    rax: u64,
    rcx: u64,
    rsp: u64,
    rip: u64,
    rflags: u64,
    cs: u16,
    gs: u16,
    fs: u16,
    ss: u16,
    err: u64,
    trapno: u64,
    oldmask: u64,
    cr2: u64,
    fpstate: u64,
    reserved: [u64; 8],
}

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct UContext {
    flags: u64,
    link: u64,
    stack_sp: u64,
    stack_flags: u32,
    pad: u32,
    stack_size: u64,
    context: SigContext,
    mask: u64,
}

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct RtSigFrame {
    restorer: u64,
    ucontext: UContext,
    info: SigInfo,
}

const _: () = assert!(size_of::<SigContext>() == 256 && size_of::<RtSigFrame>() == 440);

/// uc_flags: extended state present; SS saved; SS restored strictly.
const UC_FLAGS: u64 = 1 | 2 | UC_STRICT_RESTORE_SS;
const UC_STRICT_RESTORE_SS: u64 = 4;
/// `_fpx_sw_bytes` in the FXSAVE area's software-reserved bytes.
const SW_RESERVED: usize = 464;
const FP_XSTATE_MAGIC1: u32 = 0x4650_5853;
const FP_XSTATE_MAGIC2: u32 = 0x4650_5845;
/// RFLAGS a program may set: CF PF AF ZF SF TF DF OF NT? no; AC RF ID.
const RFLAGS_USER: u64 = 0x0025_0dd5;
const RFLAGS_FIXED: u64 = 0x202;
/// Bytes below RSP that belong to the interrupted function (System V ABI).
const RED_ZONE: u64 = 128;

/// Builds the frame for `action`'s handler and points `frame` at the handler. EFAULT: the stack has
/// no room.
pub fn push(
    task: &Arc<Task>,
    frame: &mut TrapFrame,
    info: &SigInfo,
    action: &SigAction,
    old_mask: SigSet,
    alt_stack: AltStack,
) -> Result<()> {
    let space = task.process().space();
    let on_alt = alt_stack.contains(frame.rsp);
    let mut sp = frame.rsp.wrapping_sub(RED_ZONE);
    if action.flags & sa::ONSTACK != 0 && alt_stack.size != 0 && !on_alt {
        sp = alt_stack.base.wrapping_add(alt_stack.size);
    }
    let trap = *task.trap.lock();
    let mut fpu = task.fpu.lock();
    fpu.save();
    let fp_len = fpu.bytes().len() as u64;
    let fpstate = sp.wrapping_sub(fp_len + 4) & !63;
    let address = (fpstate.wrapping_sub(size_of::<RtSigFrame>() as u64) & !15).wrapping_sub(8);
    if on_alt && !alt_stack.contains(address) || address >= USER_END {
        return Err(Errno::EFAULT);
    }
    let stack_flags = match (alt_stack.size, on_alt) {
        (0, _) => 2, // SS_DISABLE
        (_, true) => 1 | alt_stack.flags,
        (_, false) => alt_stack.flags,
    };
    let saved = RtSigFrame {
        restorer: action.restorer,
        ucontext: UContext {
            flags: UC_FLAGS,
            link: 0,
            stack_sp: alt_stack.base,
            stack_flags,
            pad: 0,
            stack_size: alt_stack.size,
            context: SigContext {
                r8_r15: [
                    frame.r8, frame.r9, frame.r10, frame.r11, frame.r12, frame.r13, frame.r14,
                    frame.r15,
                ],
                rdi: frame.rdi,
                rsi: frame.rsi,
                rbp: frame.rbp,
                rbx: frame.rbx,
                rdx: frame.rdx,
                rax: frame.rax,
                rcx: frame.rcx,
                rsp: frame.rsp,
                rip: frame.rip,
                rflags: frame.rflags,
                cs: selector::USER_CODE,
                gs: 0,
                fs: 0,
                ss: selector::USER_DATA,
                err: trap.error,
                trapno: trap.number,
                oldmask: old_mask.0,
                cr2: trap.address,
                fpstate,
                reserved: [0; 8],
            },
            mask: old_mask.0,
        },
        info: *info,
    };
    let mut legacy = [0u8; 512];
    legacy.copy_from_slice(fpu.bytes().get(..512).ok_or(Errno::EFAULT)?);
    let software = [
        u64::from(FP_XSTATE_MAGIC1) | (fp_len + 4) << 32,
        FpuState::components(),
        fp_len,
        0,
        0,
        0,
    ];
    legacy[SW_RESERVED..].copy_from_slice(software.as_bytes());
    let write = |addr: u64, bytes: &[u8]| {
        if space.write_some(addr, bytes) == bytes.len() {
            Ok(())
        } else {
            Err(Errno::EFAULT)
        }
    };
    write(fpstate, &legacy)?;
    write(fpstate + 512, &fpu.bytes()[512..])?;
    write(fpstate + fp_len, &FP_XSTATE_MAGIC2.to_le_bytes())?;
    write(address, saved.as_bytes())?;
    // Handlers start with fresh floating-point state, as on Linux.
    fpu.reset();
    fpu.restore();
    frame.rdi = info.signo as u64;
    frame.rsi = address + core::mem::offset_of!(RtSigFrame, info) as u64;
    frame.rdx = address + core::mem::offset_of!(RtSigFrame, ucontext) as u64;
    frame.rax = 0;
    frame.rsp = address;
    frame.rip = action.handler;
    frame.rflags &= !(0x100 | 0x400 | 0x1_0000);
    frame.orig_rax = u64::MAX;
    Ok(())
}

/// What rt_sigreturn restores besides registers: mask and alternate stack.
pub struct Restored {
    /// Blocked signals.
    pub mask: SigSet,
    /// Alternate stack as saved.
    pub alt_stack: AltStack,
}

/// rt_sigreturn: takes the frame at the stack pointer back. EFAULT or EINVAL: it is not one.
pub fn pop(task: &Arc<Task>, frame: &mut TrapFrame) -> Result<Restored> {
    let space = task.process().space();
    let read = |addr: u64, bytes: &mut [u8]| {
        if space.read_some(addr, bytes) == bytes.len() {
            Ok(())
        } else {
            Err(Errno::EFAULT)
        }
    };
    let mut saved = RtSigFrame::new_zeroed();
    // The handler's RET took the restorer's address.
    read(frame.rsp.wrapping_sub(8), saved.as_mut_bytes())?;
    let context = &saved.ucontext.context;
    // RIP is looked at on the way back to the program. Linux takes any selector and makes the IRET's
    // fault the same signal.
    let strict_ss = saved.ucontext.flags & UC_STRICT_RESTORE_SS != 0;
    if context.cs | 3 != selector::USER_CODE || strict_ss && context.ss | 3 != selector::USER_DATA {
        return Err(Errno::EFAULT);
    }
    let mut fpu = task.fpu.lock();
    if context.fpstate == 0 {
        fpu.reset();
    } else {
        fpu.load(|legacy, extended| {
            read(context.fpstate, legacy)?;
            let magic = legacy.get(SW_RESERVED..SW_RESERVED + 4);
            let known = magic == Some(&FP_XSTATE_MAGIC1.to_le_bytes());
            if known {
                read(context.fpstate.wrapping_add(512), extended)?;
            }
            Ok(known)
        })?;
    }
    fpu.restore();
    [
        frame.r8, frame.r9, frame.r10, frame.r11, frame.r12, frame.r13, frame.r14, frame.r15,
    ] = context.r8_r15;
    frame.rdi = context.rdi;
    frame.rsi = context.rsi;
    frame.rbp = context.rbp;
    frame.rbx = context.rbx;
    frame.rdx = context.rdx;
    frame.rax = context.rax;
    frame.rcx = context.rcx;
    frame.rsp = context.rsp;
    frame.rip = context.rip;
    frame.rflags = context.rflags & RFLAGS_USER | RFLAGS_FIXED;
    frame.orig_rax = u64::MAX;
    let alt_stack = AltStack {
        base: saved.ucontext.stack_sp,
        size: if saved.ucontext.stack_flags & 2 != 0 {
            0
        } else {
            saved.ucontext.stack_size
        },
        flags: saved.ucontext.stack_flags & crate::task::signal::SS_AUTODISARM,
    };
    Ok(Restored {
        mask: SigSet(saved.ucontext.mask),
        alt_stack,
    })
}

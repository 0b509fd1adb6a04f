//! Kernel stacks and the switch between them.

use super::tables;
use crate::arch::TrapFrame;
use crate::errno::{Errno, Result};
use crate::task::Task;
use alloc::alloc::{Layout, alloc, dealloc};
use alloc::sync::Arc;
use core::arch::asm;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, Ordering};

unsafe extern "C" {
    fn switch_stacks(save: *mut u64, load: u64);
    fn new_task_entry();
}

/// Bytes of a kernel stack.
const STACK_SIZE: usize = 32 << 10;
/// Written at the lowest word: a stack that overflowed has overwritten it.
const CANARY: u64 = 0x5452_4f55_545f_5350;

/// A task's kernel stack. The program's registers are saved at its top.
pub struct KernelStack {
    base: NonNull<u8>,
}

// SAFETY: plain owned memory.
unsafe impl Send for KernelStack {}
// SAFETY: shared access is through `TrapFrame` copies of a task that is not running.
unsafe impl Sync for KernelStack {}

impl KernelStack {
    const LAYOUT: Layout = match Layout::from_size_align(STACK_SIZE, 4096) {
        Ok(layout) => layout,
        Err(_) => panic!("bad stack layout"),
    };

    /// A fresh stack; ENOMEM when there is no memory for it.
    pub fn new() -> Result<KernelStack> {
        // SAFETY: the layout's size is not zero.
        let base = NonNull::new(unsafe { alloc(Self::LAYOUT) }).ok_or(Errno::ENOMEM)?;
        // SAFETY: the first word of the allocation, aligned.
        unsafe { base.cast::<u64>().write(CANARY) };
        Ok(KernelStack { base })
    }

    fn top(&self) -> u64 {
        self.base.as_ptr().addr() as u64 + STACK_SIZE as u64
    }

    fn frame(&self) -> *mut TrapFrame {
        (self.top() - size_of::<TrapFrame>() as u64) as *mut TrapFrame
    }

    /// The program's registers of a task that is not running.
    pub fn program_registers(&self) -> TrapFrame {
        // SAFETY: the top of the stack is reserved for the frame; a copy of plain data.
        unsafe { self.frame().read() }
    }

    /// Prepares a task that has not run: it starts in the program with `frame`. Returns the stack
    /// pointer for [`ThreadRegisters::set_kernel_sp`].
    pub fn prepare(&self, frame: &TrapFrame) -> u64 {
        let mut sp = self.frame().addr() as u64;
        // SAFETY: writes below the top of an owned stack that nothing runs on yet.
        unsafe {
            self.frame().write(*frame);
            sp -= 8;
            (sp as *mut u64).write(new_task_entry as *const () as u64);
            for _ in 0..6 {
                sp -= 8;
                (sp as *mut u64).write(0);
            }
        }
        sp
    }

    fn check(&self) {
        // SAFETY: the first word of the allocation.
        let word = unsafe { self.base.cast::<u64>().read_volatile() };
        assert!(word == CANARY, "a kernel stack overflowed");
    }
}

impl Drop for KernelStack {
    fn drop(&mut self) {
        self.check();
        // SAFETY: allocated in `new` with this layout; the task it belonged to never runs again.
        unsafe { dealloc(self.base.as_ptr(), Self::LAYOUT) }
    }
}

/// What is saved of a task besides its stack and FPU state.
#[derive(Default)]
pub struct ThreadRegisters {
    kernel_sp: AtomicU64,
    fs_base: AtomicU64,
    gs_base: AtomicU64,
}

impl ThreadRegisters {
    /// Sets the kernel stack pointer of a task that has not run.
    pub fn set_kernel_sp(&self, sp: u64) {
        self.kernel_sp.store(sp, Ordering::Relaxed);
    }

    /// Sets the TLS base of a task that is not running.
    pub fn set_tls(&self, base: u64) {
        self.fs_base.store(base, Ordering::Relaxed);
    }

    /// Takes FS and GS base from the processor (fork: for the child).
    pub fn copy_current_bases(&self) {
        self.fs_base.store(fs_base(), Ordering::Relaxed);
        self.gs_base.store(gs_base(), Ordering::Relaxed);
    }
}

/// FS base of the running program.
pub fn fs_base() -> u64 {
    let base;
    // SAFETY: reads a register; CR4.FSGSBASE is set (checked at boot).
    unsafe { asm!("rdfsbase {}", out(reg) base, options(nomem, nostack, preserves_flags)) };
    base
}

/// GS base of the running program (the sentry itself uses neither).
pub fn gs_base() -> u64 {
    let base;
    // SAFETY: as above.
    unsafe { asm!("rdgsbase {}", out(reg) base, options(nomem, nostack, preserves_flags)) };
    base
}

/// Sets FS base; `base` must be a user address (a non-canonical one would fault).
pub fn set_fs_base(base: u64) {
    // SAFETY: the sentry does not use FS; the callers pass canonical addresses only.
    unsafe { asm!("wrfsbase {}", in(reg) base, options(nomem, nostack, preserves_flags)) }
}

/// Sets GS base, as [`set_fs_base`].
pub fn set_gs_base(base: u64) {
    // SAFETY: as above.
    unsafe { asm!("wrgsbase {}", in(reg) base, options(nomem, nostack, preserves_flags)) }
}

/// Leaves `from` (`None`: the boot stack, for good) and goes on where `to` left off. Returns when
/// something switches back to `from`. The scheduler must keep both alive until then: as current
/// task, or waiting to be reaped.
pub fn switch(from: Option<Arc<Task>>, to: Arc<Task>) {
    // References held across the switch would be lost with a stack that never runs again.
    let pointer = |task: Arc<Task>| Arc::as_ptr(&task);
    let (from, to) = (from.map(pointer), pointer(to));
    // SAFETY: the scheduler keeps both tasks alive (see above); `to` is not running, so its saved
    // stack pointer is valid; the kernel lock keeps other vCPUs away from both.
    unsafe {
        let to = &*to;
        let mut boot_sp = 0;
        let save = match from {
            Some(from) => {
                let from = &*from;
                from.stack.check();
                from.registers.copy_current_bases();
                from.registers.kernel_sp.as_ptr()
            }
            None => &raw mut boot_sp,
        };
        set_fs_base(to.registers.fs_base.load(Ordering::Relaxed));
        set_gs_base(to.registers.gs_base.load(Ordering::Relaxed));
        tables::set_kernel_stack(to.stack.top());
        switch_stacks(save, to.registers.kernel_sp.load(Ordering::Relaxed));
    }
}

/// Leaves `from` without another task to run: this vCPU idles on its boot stack. Returns when
/// something switches back to `from`.
pub fn switch_to_idle(from: Arc<Task>) {
    let from = Arc::as_ptr(&from);
    // SAFETY: the scheduler keeps the task alive. Nothing is on the boot stack: whoever leaves it
    // never comes back. It begins with what `switch_stacks` takes off: six registers and where to
    // go, with the stack aligned as at a call.
    unsafe {
        let from = &*from;
        from.stack.check();
        from.registers.copy_current_bases();
        let start = tables::BOOT_STACK_TOP - 16;
        let entry: unsafe extern "C" fn() -> ! = super::cpu::idle_main;
        (start as *mut u64).write(entry as *const () as u64);
        for register in 1..=6 {
            ((start - 8 * register) as *mut u64).write(0);
        }
        switch_stacks(from.registers.kernel_sp.as_ptr(), start - 48);
    }
}

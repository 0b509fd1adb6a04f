//! The registers of a program as saved on entry to the sentry.

/// Saved at the top of the task's kernel stack, in the order the entry code pushes; the same as
/// Linux's `struct pt_regs` (arch/x86/include/asm/ptrace.h).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct TrapFrame {
    pub r15: u64,
    pub r14: u64,
    pub r13: u64,
    pub r12: u64,
    pub rbp: u64,
    pub rbx: u64,
    pub r11: u64,
    pub r10: u64,
    pub r9: u64,
    pub r8: u64,
    pub rax: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    /// System-call number, or -1 for an exception.
    pub orig_rax: u64,
    pub rip: u64,
    pub cs: u64,
    pub rflags: u64,
    pub rsp: u64,
    pub ss: u64,
}

const _: () = assert!(size_of::<TrapFrame>() == 168);

impl TrapFrame {
    /// The system-call number: Linux looks at the low half of the register, with its sign.
    pub fn number(&self) -> u64 {
        i64::from(self.orig_rax as i32) as u64
    }

    /// The six argument registers of a system call.
    pub fn args(&self) -> [u64; 6] {
        [self.rdi, self.rsi, self.rdx, self.r10, self.r8, self.r9]
    }

    /// Sets what the system call returns.
    pub fn set_return(&mut self, value: u64) {
        self.rax = value;
    }

    /// What the system call returns.
    pub fn return_value(&self) -> u64 {
        self.rax
    }

    /// Makes the program execute its system call again.
    pub fn restart_syscall(&mut self) {
        // SYSCALL is two bytes long.
        self.rip = self.rip.wrapping_sub(2);
        self.rax = self.orig_rax;
    }

    /// Program counter.
    pub fn ip(&self) -> u64 {
        self.rip
    }

    /// Sets the stack pointer.
    pub fn set_sp(&mut self, sp: u64) {
        self.rsp = sp;
    }

    /// Registers of a program that starts at `entry` with stack pointer `sp`.
    pub fn start(entry: u64, sp: u64) -> TrapFrame {
        TrapFrame {
            rip: entry,
            rsp: sp,
            cs: sprout_abi::layout::selector::USER_CODE.into(),
            ss: sprout_abi::layout::selector::USER_DATA.into(),
            // Interrupts enabled; bit 1 is always set.
            rflags: 0x202,
            orig_rax: u64::MAX,
            ..TrapFrame::default()
        }
    }

    /// Stack pointer.
    pub fn sp(&self) -> u64 {
        self.rsp
    }
}

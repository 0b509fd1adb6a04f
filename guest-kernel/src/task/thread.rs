//! One task: a thread of a program.

use crate::arch::{FpuState, KernelStack, ThreadRegisters};
use crate::errno::Result;
use crate::fs::fd::{FdTable, FsContext};
use crate::smp;
use crate::sync::{Lock, Rank};
use crate::task::attributes::Attributes;
use crate::task::policy::Policy;
use crate::task::process::Process;
use crate::task::sched;
use crate::task::signal::{SigInfo, SigSet, TaskSignals};
use crate::wait::{PollEvents, Wake};
use alloc::sync::{Arc, Weak};
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};

/// Where a task is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum RunState {
    /// On the vCPU or in the run queue.
    Runnable = 0,
    /// In [`sched::block_current`].
    Blocked = 1,
    /// Exited; its stack may still be in use until the next switch.
    Dead = 2,
    /// Stopped by a signal.
    Stopped = 3,
}

/// What the processor said of an exception.
#[derive(Clone, Copy, Debug, Default)]
pub struct TrapInfo {
    /// Its vector.
    pub number: u64,
    /// Error code, 0 if it has none.
    pub error: u64,
    /// CR2 of the last page fault.
    pub address: u64,
}

/// Descriptors, and root, directory and umask, of a thread made without CLONE_FILES or CLONE_FS, or
/// after unshare; `None`: the process's.
#[derive(Clone, Default)]
pub struct OwnParts {
    /// Descriptor table.
    pub files: Option<Arc<Lock<FdTable>>>,
    /// Root, working directory, umask.
    pub fs: Option<Arc<Lock<FsContext>>>,
}

/// A thread.
pub struct Task {
    tid: AtomicU32,
    process: Arc<Process>,
    this: Weak<Task>,
    state: AtomicU8,
    woken: AtomicBool,
    killed: AtomicBool,
    /// The vCPU on whose stack it is, or [`Task::NOWHERE`]: only that one may run it.
    on_cpu: AtomicU32,
    /// The vCPUs it may run on, a bit mask.
    affinity: AtomicU64,
    /// What it does not share with its process's other threads.
    own: Lock<OwnParts>,
    /// Whether there is anything in it.
    has_own: AtomicBool,
    /// What its scheduling is set to.
    pub policy: Lock<Policy>,
    /// What it keeps of itself.
    pub attributes: Lock<Attributes>,
    /// Signal mask, pending signals, alternate stack.
    pub signals: Lock<TaskSignals>,
    /// PR_SET_NAME, NUL-padded.
    pub name: Lock<[u8; 16]>,
    /// Address to clear and wake at exit (set_tid_address, CLONE_CHILD_CLEARTID).
    pub clear_child_tid: AtomicU64,
    /// Head of the robust futex list.
    pub robust_list: AtomicU64,
    /// Kernel stack, with the program's registers at its top.
    pub stack: KernelStack,
    /// FS/GS base and the kernel stack pointer while switched away.
    pub registers: ThreadRegisters,
    /// Vector and floating-point registers while switched away.
    pub fpu: Lock<FpuState>,
    /// The last exception, for signal frames.
    pub trap: Lock<TrapInfo>,
    /// ns of CPU time used, without the current slice.
    pub cpu_time_ns: AtomicU64,
    /// Where it stands among the others ([`crate::task::turns`]), without the current slice.
    pub turn_ns: AtomicU64,
    /// Monotonic start of the current slice.
    pub slice_start_ns: AtomicU64,
    /// TSC ticks of it that it spent in the sentry, up to when it last entered it.
    pub system_ticks: AtomicU64,
    /// TSC when it entered the sentry, or came to run in it; 0 while its program runs.
    pub entered_tsc: AtomicU64,
}

impl Task {
    /// A task of `process`, not yet in the run queue.
    pub fn new(tid: u32, process: Arc<Process>, name: [u8; 16]) -> Result<Arc<Task>> {
        let stack = KernelStack::new()?;
        Ok(Arc::new_cyclic(|this| Task {
            tid: AtomicU32::new(tid),
            process,
            this: this.clone(),
            state: AtomicU8::new(RunState::Blocked as u8),
            woken: AtomicBool::new(false),
            killed: AtomicBool::new(false),
            on_cpu: AtomicU32::new(Task::NOWHERE),
            affinity: AtomicU64::new(u64::MAX),
            own: Lock::new(Rank::ProcessPart, OwnParts::default()),
            has_own: AtomicBool::new(false),
            policy: Lock::new(Rank::Leaf, Policy::default()),
            attributes: Lock::new(Rank::Leaf, Attributes::default()),
            signals: Lock::new(Rank::TaskSignals, TaskSignals::default()),
            name: Lock::new(Rank::Leaf, name),
            clear_child_tid: AtomicU64::new(0),
            robust_list: AtomicU64::new(0),
            stack,
            registers: ThreadRegisters::default(),
            fpu: Lock::new(Rank::TaskState, FpuState::new()),
            trap: Lock::new(Rank::TaskState, Default::default()),
            cpu_time_ns: AtomicU64::new(0),
            turn_ns: AtomicU64::new(0),
            slice_start_ns: AtomicU64::new(0),
            system_ticks: AtomicU64::new(0),
            entered_tsc: AtomicU64::new(0),
        }))
    }

    /// From `tsc` on its time is the sentry's.
    #[inline]
    pub fn enter_system(&self, tsc: u64) {
        self.entered_tsc.store(tsc, Ordering::Relaxed);
    }

    /// From `tsc` on its time is its program's, or it does not run. Only the vCPU that runs it writes
    /// these, so no read-modify-write is needed.
    #[inline]
    pub fn leave_system(&self, tsc: u64) {
        let span = tsc.saturating_sub(self.entered_tsc.load(Ordering::Relaxed));
        let ticks = self.system_ticks.load(Ordering::Relaxed);
        self.system_ticks.store(ticks + span, Ordering::Relaxed);
        self.entered_tsc.store(0, Ordering::Relaxed);
    }

    /// Thread id.
    pub fn tid(&self) -> u32 {
        self.tid.load(Ordering::Relaxed)
    }

    /// Gives the task another id (exec of a thread, restore of a snapshot).
    pub fn set_tid(&self, tid: u32) {
        self.tid.store(tid, Ordering::Relaxed);
    }

    /// Its process.
    pub fn process(&self) -> &Arc<Process> {
        &self.process
    }

    /// What it does not share with the other threads.
    pub fn own_parts(&self) -> OwnParts {
        if self.has_own.load(Ordering::Relaxed) {
            self.own.lock().clone()
        } else {
            OwnParts::default()
        }
    }

    /// Sets that; returns what it was, to be dropped without locks.
    pub fn set_own_parts(&self, parts: OwnParts) -> OwnParts {
        let any = parts.files.is_some() || parts.fs.is_some();
        self.has_own.store(any, Ordering::Relaxed);
        core::mem::replace(&mut *self.own.lock(), parts)
    }

    /// Its descriptor table.
    pub fn files(&self) -> Arc<Lock<FdTable>> {
        self.own_parts()
            .files
            .unwrap_or_else(|| self.process.files())
    }

    /// Its root, working directory and umask.
    pub fn fs(&self) -> Arc<Lock<FsContext>> {
        self.own_parts().fs.unwrap_or_else(|| self.process.fs())
    }

    /// Run state.
    pub fn state(&self) -> RunState {
        match self.state.load(Ordering::Relaxed) {
            0 => RunState::Runnable,
            1 => RunState::Blocked,
            3 => RunState::Stopped,
            _ => RunState::Dead,
        }
    }

    pub(super) fn set_state(&self, state: RunState) {
        self.state.store(state as u8, Ordering::Relaxed);
    }

    /// [`Task::cpu`] of a task that is on no vCPU.
    pub(super) const NOWHERE: u32 = u32::MAX;

    /// The vCPU whose current task it is: it runs there, or nothing else does since it blocked.
    pub fn cpu(&self) -> Option<usize> {
        match self.on_cpu.load(Ordering::Relaxed) {
            Task::NOWHERE => None,
            cpu => Some(cpu as usize),
        }
    }

    pub(super) fn set_cpu(&self, cpu: Option<usize>) {
        let cpu = cpu.map_or(Task::NOWHERE, |cpu| cpu as u32);
        self.on_cpu.store(cpu, Ordering::Relaxed);
    }

    /// The vCPUs it may run on, a bit mask; bits beyond the last vCPU mean nothing.
    pub fn affinity(&self) -> u64 {
        self.affinity.load(Ordering::Relaxed)
    }

    /// Sets the vCPUs it may run on, from when it is next scheduled; `sched` is to be told.
    pub(super) fn set_affinity(&self, mask: u64) {
        self.affinity.store(mask, Ordering::Relaxed);
    }

    /// Whether vCPU `cpu` may run it now.
    pub(super) fn may_run_on(&self, cpu: usize) -> bool {
        self.affinity() & 1 << cpu != 0 && self.cpu().is_none_or(|on| on == cpu)
    }

    /// Makes it runnable if it is blocked; a wake-up that comes first is remembered. One that runs a
    /// program on another vCPU enters the sentry there.
    pub fn wake_up(&self) {
        self.woken.store(true, Ordering::Relaxed);
        match self.state() {
            RunState::Blocked => {
                if let Some(this) = self.this.upgrade() {
                    sched::enqueue(this);
                }
            }
            RunState::Runnable => {
                if let Some(cpu) = self.cpu() {
                    smp::interrupt(cpu);
                }
            }
            RunState::Dead | RunState::Stopped => {}
        }
    }

    /// Whether a wake-up came since the last call.
    pub(super) fn take_woken(&self) -> bool {
        self.woken.swap(false, Ordering::Relaxed)
    }

    /// Asks the task to exit before it next returns to the program.
    pub fn kill(&self) {
        self.killed.store(true, Ordering::Relaxed);
        if self.state() == RunState::Stopped
            && let Some(this) = self.this.upgrade()
        {
            sched::enqueue(this);
        }
        self.wake_up();
    }

    /// Whether it was asked to exit.
    pub fn is_killed(&self) -> bool {
        self.killed.load(Ordering::Relaxed)
    }

    /// Whether a system call should stop waiting.
    pub fn signal_pending(&self) -> bool {
        self.is_killed() || {
            let mask = self.signals.lock().mask;
            self.deliverable(mask)
        }
    }

    fn deliverable(&self, mask: SigSet) -> bool {
        let own = self.signals.lock().pending.set();
        let shared = self.process.signals.lock().pending.set();
        ((own | shared) - mask) != SigSet::EMPTY
    }

    /// Queues a signal for this thread.
    pub fn send_signal(&self, info: SigInfo) {
        if let Some(this) = self.this.upgrade() {
            crate::task::signal::send_to_task(&this, info);
        }
    }
}

impl Wake for Task {
    fn wake(&self, _: PollEvents) {
        self.wake_up();
    }
}

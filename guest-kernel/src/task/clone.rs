//! New threads and processes: clone, clone3, fork, vfork.

use crate::arch::TrapFrame;
use crate::errno::{Errno, Result};
use crate::sync::{Lock, Rank};
use crate::task::process::{self, Process};
use crate::task::signal::{self, AltStack, SigInfo, number::SIGSEGV};
use crate::task::thread::{OwnParts, Task};
use crate::task::{Ctx, sched};
use crate::wait::PollEvents;
use alloc::sync::{Arc, Weak};
use bitflags::bitflags;
use core::sync::atomic::Ordering;

bitflags! {
    /// Flags of clone(2), without the signal number in the low byte.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct CloneFlags: u64 {
        #[allow(missing_docs)] const VM = 0x100;
        #[allow(missing_docs)] const FS = 0x200;
        #[allow(missing_docs)] const FILES = 0x400;
        #[allow(missing_docs)] const SIGHAND = 0x800;
        #[allow(missing_docs)] const PIDFD = 0x1000;
        #[allow(missing_docs)] const PTRACE = 0x2000;
        #[allow(missing_docs)] const VFORK = 0x4000;
        #[allow(missing_docs)] const PARENT = 0x8000;
        #[allow(missing_docs)] const THREAD = 0x1_0000;
        #[allow(missing_docs)] const NEWNS = 0x2_0000;
        #[allow(missing_docs)] const SYSVSEM = 0x4_0000;
        #[allow(missing_docs)] const SETTLS = 0x8_0000;
        #[allow(missing_docs)] const PARENT_SETTID = 0x10_0000;
        #[allow(missing_docs)] const CHILD_CLEARTID = 0x20_0000;
        #[allow(missing_docs)] const DETACHED = 0x40_0000;
        #[allow(missing_docs)] const UNTRACED = 0x80_0000;
        #[allow(missing_docs)] const CHILD_SETTID = 0x100_0000;
        #[allow(missing_docs)] const NEWCGROUP = 0x200_0000;
        #[allow(missing_docs)] const NEWUTS = 0x400_0000;
        #[allow(missing_docs)] const NEWIPC = 0x800_0000;
        #[allow(missing_docs)] const NEWUSER = 0x1000_0000;
        #[allow(missing_docs)] const NEWPID = 0x2000_0000;
        #[allow(missing_docs)] const NEWNET = 0x4000_0000;
        #[allow(missing_docs)] const IO = 0x8000_0000;
        #[allow(missing_docs)] const CLEAR_SIGHAND = 0x1_0000_0000;
        #[allow(missing_docs)] const INTO_CGROUP = 0x2_0000_0000;
        /// In the place of a signal number: of clone3 and unshare only.
        const NEWTIME = 0x80;
    }
}

impl CloneFlags {
    /// Namespaces, which there are none of but the first.
    pub const NAMESPACES: CloneFlags = CloneFlags::NEWNS
        .union(CloneFlags::NEWCGROUP)
        .union(CloneFlags::NEWUTS)
        .union(CloneFlags::NEWIPC)
        .union(CloneFlags::NEWUSER)
        .union(CloneFlags::NEWPID)
        .union(CloneFlags::NEWNET)
        .union(CloneFlags::NEWTIME);
}

/// What to make.
#[derive(Clone, Copy, Debug)]
pub struct CloneArgs {
    /// Flags.
    pub flags: CloneFlags,
    /// Signal to the parent when the child exits; 0: none.
    pub exit_signal: u32,
    /// Stack pointer of the child; 0: as the parent's.
    pub stack: u64,
    /// Where PARENT_SETTID stores the id.
    pub parent_tid: u64,
    /// Where CHILD_SETTID and CHILD_CLEARTID store it.
    pub child_tid: u64,
    /// Thread pointer for SETTLS.
    pub tls: u64,
    /// The id it is to have; 0: any.
    pub wanted_id: i32,
}

impl CloneArgs {
    /// A plain fork.
    pub fn fork() -> CloneArgs {
        CloneArgs {
            flags: CloneFlags::empty(),
            exit_signal: crate::task::signal::number::SIGCHLD,
            stack: 0,
            parent_tid: 0,
            child_tid: 0,
            tls: 0,
            wanted_id: 0,
        }
    }
}

/// Most threads and processes at once: a guest that forks without end gets EAGAIN.
const MAX_TASKS: usize = 8192;

/// Makes the thread or process and lets it run; returns its id to the parent.
pub fn clone(ctx: &Ctx, frame: &TrapFrame, args: CloneArgs) -> Result<u64> {
    let flags = args.flags;
    let has = |flag| flags.contains(flag);
    check(ctx, flags)?;
    if has(CloneFlags::SETTLS) && args.tls >= sprout_abi::layout::USER_END {
        return Err(Errno::EPERM);
    }
    if process::task_count() >= MAX_TASKS {
        return Err(Errno::EAGAIN);
    }
    let parent = ctx.task();
    let policy = parent.policy.lock().forked(has(CloneFlags::IO))?;
    let attributes = parent.attributes.lock().forked();
    let tid = match args.wanted_id {
        0 => process::allocate_id()?,
        wanted => process::claim_id(wanted)?,
    };
    let (child_process, new_process) = if has(CloneFlags::THREAD) {
        (ctx.process().clone(), false)
    } else {
        (new_process(ctx, tid, &args)?, true)
    };
    let name = *parent.name.lock();
    let child = Task::new(tid, child_process.clone(), name)?;
    *child.policy.lock() = policy;
    *child.attributes.lock() = attributes;
    if !new_process {
        drop(child.set_own_parts(parts_of_thread(ctx, flags)));
    }
    {
        let (mask, alt_stack) = {
            let from = parent.signals.lock();
            (from.saved_mask.unwrap_or(from.mask), from.alt_stack)
        };
        let mut to = child.signals.lock();
        to.mask = mask;
        // A child that shares the memory but not the stack must not run handlers on ours.
        let keep = !has(CloneFlags::VM) || has(CloneFlags::VFORK);
        to.alt_stack = if keep { alt_stack } else { AltStack::default() };
    }
    {
        let mut state = parent.fpu.lock();
        state.save();
        child.fpu.lock().copy_from(&state);
    }
    child.set_affinity(parent.affinity());
    child.registers.copy_current_bases();
    if has(CloneFlags::SETTLS) {
        child.registers.set_tls(args.tls);
    }
    let mut registers = *frame;
    registers.set_return(0);
    if args.stack >= sprout_abi::layout::USER_END {
        // No program can run there, and to try is more than some hosts' KVM can take: the child
        // ends as it would at the first use of its stack.
        signal::send_to_task(&child, SigInfo::kernel(SIGSEGV));
    } else if args.stack != 0 {
        registers.set_sp(args.stack);
    }
    child
        .registers
        .set_kernel_sp(child.stack.prepare(&registers));
    let id = tid.to_le_bytes();
    if has(CloneFlags::PARENT_SETTID) {
        // As Linux: where it can't be stored, it is not.
        ctx.space().write_some(args.parent_tid, &id);
    }
    if has(CloneFlags::CHILD_SETTID) {
        child_process.space().write_some(args.child_tid, &id);
    }
    if has(CloneFlags::CHILD_CLEARTID) {
        child
            .clear_child_tid
            .store(args.child_tid, Ordering::Relaxed);
    }
    if new_process {
        process::insert(child_process.clone());
        crate::time::cpu_limit::watch(&child_process);
    }
    process::insert_task(&child);
    let thread = Arc::downgrade(&child);
    sched::enqueue_new(child, ctx.task());
    if has(CloneFlags::VFORK) {
        if new_process {
            wait_for_vfork(ctx, &child_process);
        } else {
            wait_for_thread(ctx, &thread);
        }
    }
    Ok(tid.into())
}

/// Refuses what contradicts itself, as Linux does, and what there is not.
fn check(ctx: &Ctx, flags: CloneFlags) -> Result<()> {
    let has = |flag| flags.contains(flag);
    let fs_of_another = CloneFlags::NEWNS | CloneFlags::NEWUSER;
    let not_of_a_thread = CloneFlags::NEWUSER | CloneFlags::NEWPID;
    let consistent = !(has(CloneFlags::FS) && flags.intersects(fs_of_another))
        && (!has(CloneFlags::THREAD) || has(CloneFlags::SIGHAND))
        && (!has(CloneFlags::SIGHAND) || has(CloneFlags::VM))
        && !(has(CloneFlags::SIGHAND) && has(CloneFlags::CLEAR_SIGHAND))
        && !(has(CloneFlags::THREAD) && flags.intersects(not_of_a_thread))
        // Siblings of the first process would have no parent.
        && !(has(CloneFlags::PARENT) && ctx.process().pid() == process::init_pid());
    if !consistent || has(CloneFlags::PIDFD) {
        return Err(Errno::EINVAL);
    }
    if flags.intersects(CloneFlags::NAMESPACES) {
        return Err(Errno::EPERM);
    }
    if has(CloneFlags::INTO_CGROUP) {
        // No descriptor is one of a control group.
        return Err(Errno::EBADF);
    }
    Ok(())
}

/// What a new thread does not share with the first ones: what its maker does not, or it itself.
fn parts_of_thread(ctx: &Ctx, flags: CloneFlags) -> OwnParts {
    let mut parts = ctx.task().own_parts();
    if !flags.contains(CloneFlags::FILES) {
        let copy = ctx.files().lock().fork();
        parts.files = Some(Arc::new(Lock::new(Rank::Descriptors, copy)));
    }
    if !flags.contains(CloneFlags::FS) {
        let copy = ctx.fs().lock().clone();
        parts.fs = Some(Arc::new(Lock::new(Rank::FsContext, copy)));
    }
    parts
}

fn new_process(ctx: &Ctx, pid: u32, args: &CloneArgs) -> Result<Arc<Process>> {
    let has = |flag| args.flags.contains(flag);
    let parent = ctx.process();
    let space = if has(CloneFlags::VM) {
        ctx.space().clone()
    } else {
        Arc::new(ctx.space().fork()?)
    };
    let files = if has(CloneFlags::FILES) {
        ctx.files().clone()
    } else {
        let copy = ctx.files().lock().fork();
        Arc::new(Lock::new(Rank::Descriptors, copy))
    };
    let fs = if has(CloneFlags::FS) {
        ctx.fs().clone()
    } else {
        let copy = ctx.fs().lock().clone();
        Arc::new(Lock::new(Rank::FsContext, copy))
    };
    let child = Process::new(pid, Some(parent), space, files, fs);
    child.exit_signal.store(args.exit_signal, Ordering::Relaxed);
    if has(CloneFlags::PARENT) {
        child
            .parent
            .store(parent.parent.load(Ordering::Relaxed), Ordering::Relaxed);
        let exit_signal = parent.exit_signal.load(Ordering::Relaxed);
        child.exit_signal.store(exit_signal, Ordering::Relaxed);
    }
    if has(CloneFlags::CLEAR_SIGHAND) {
        child.signals.lock().reset_handlers();
    }
    if has(CloneFlags::SIGHAND) {
        let actions = parent.signals.lock().actions.clone();
        child.signals.lock().actions = actions;
    }
    Ok(Arc::new(child))
}

/// As [`wait_for_vfork`], of a thread.
fn wait_for_thread(ctx: &Ctx, child: &Weak<Task>) {
    let waker = ctx.task().clone() as Arc<dyn crate::wait::Wake>;
    let token = ctx.process().thread_gone.add(waker, PollEvents::IN);
    let lives = |task: Arc<Task>| process::find_task(task.tid()).is_some();
    while child.upgrade().is_some_and(lives) && !ctx.task().is_killed() {
        sched::block_current(ctx.task(), None);
    }
    ctx.process().thread_gone.remove(token);
}

/// The parent of a vfork stands still until the child has its own memory or is gone. Only death
/// interrupts it.
fn wait_for_vfork(ctx: &Ctx, child: &Arc<Process>) {
    let waker = ctx.task().clone() as Arc<dyn crate::wait::Wake>;
    let token = child.vfork_done.add(waker, PollEvents::IN);
    while !child.vfork_released.load(Ordering::Relaxed) && !ctx.task().is_killed() {
        sched::block_current(ctx.task(), None);
    }
    child.vfork_done.remove(token);
}

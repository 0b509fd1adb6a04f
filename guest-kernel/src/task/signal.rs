//! Signals: what is pending, what a process wants done, and who gets what.
//!
//! Linux first: a signal is sent to a thread or to a process; a process-directed one is taken by any
//! thread that does not block it. It takes effect when a thread is about to return to the program
//! ([`deliver`]): ignored, the default action, or a handler on a frame that the architecture
//! builds on the program's stack.

use crate::arch::{self, TrapFrame};
use crate::errno::Errno;
use crate::sync::{Lock, Rank};
use crate::task::observer;
use crate::task::process::{self, ExitStatus, Process};
use crate::task::process_timers;
use crate::task::thread::{RunState, Task};
use crate::task::{exit, sched};
use crate::tty::job;
use crate::wait::PollEvents;
use alloc::sync::Arc;
use core::ops::{BitAnd, BitOr, Not, Sub};
use core::sync::atomic::Ordering;
use zerocopy::{FromBytes, Immutable, IntoBytes};

#[allow(missing_docs)]
pub mod number {
    pub const SIGHUP: u32 = 1;
    pub const SIGINT: u32 = 2;
    pub const SIGQUIT: u32 = 3;
    pub const SIGILL: u32 = 4;
    pub const SIGTRAP: u32 = 5;
    pub const SIGABRT: u32 = 6;
    pub const SIGBUS: u32 = 7;
    pub const SIGFPE: u32 = 8;
    pub const SIGKILL: u32 = 9;
    pub const SIGUSR1: u32 = 10;
    pub const SIGSEGV: u32 = 11;
    pub const SIGUSR2: u32 = 12;
    pub const SIGPIPE: u32 = 13;
    pub const SIGALRM: u32 = 14;
    pub const SIGTERM: u32 = 15;
    pub const SIGSTKFLT: u32 = 16;
    pub const SIGCHLD: u32 = 17;
    pub const SIGCONT: u32 = 18;
    pub const SIGSTOP: u32 = 19;
    pub const SIGTSTP: u32 = 20;
    pub const SIGTTIN: u32 = 21;
    pub const SIGTTOU: u32 = 22;
    pub const SIGURG: u32 = 23;
    pub const SIGXCPU: u32 = 24;
    pub const SIGXFSZ: u32 = 25;
    pub const SIGVTALRM: u32 = 26;
    pub const SIGPROF: u32 = 27;
    pub const SIGWINCH: u32 = 28;
    pub const SIGIO: u32 = 29;
    pub const SIGPWR: u32 = 30;
    pub const SIGSYS: u32 = 31;
    pub const SIGRTMIN: u32 = 32;
    pub const NSIG: u32 = 64;
}
use number::*;

/// A set of signals, bit n-1 for signal n.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SigSet(pub u64);

impl SigSet {
    /// No signal.
    pub const EMPTY: SigSet = SigSet(0);
    /// SIGKILL and SIGSTOP, which nothing can block.
    pub const UNBLOCKABLE: SigSet = SigSet(1 << (SIGKILL - 1) | 1 << (SIGSTOP - 1));

    /// The set of one signal.
    pub const fn of(signal: u32) -> SigSet {
        if signal == 0 || signal > NSIG {
            SigSet(0)
        } else {
            SigSet(1 << (signal - 1))
        }
    }

    /// Whether `signal` is in the set.
    pub const fn has(self, signal: u32) -> bool {
        self.0 & SigSet::of(signal).0 != 0
    }
}

impl BitOr for SigSet {
    type Output = SigSet;
    fn bitor(self, other: SigSet) -> SigSet {
        SigSet(self.0 | other.0)
    }
}
impl BitAnd for SigSet {
    type Output = SigSet;
    fn bitand(self, other: SigSet) -> SigSet {
        SigSet(self.0 & other.0)
    }
}
impl Sub for SigSet {
    type Output = SigSet;
    fn sub(self, other: SigSet) -> SigSet {
        SigSet(self.0 & !other.0)
    }
}
impl Not for SigSet {
    type Output = SigSet;
    fn not(self) -> SigSet {
        SigSet(!self.0)
    }
}

/// Values of si_code.
#[allow(missing_docs)]
pub mod code {
    pub const SI_USER: i32 = 0;
    pub const SI_KERNEL: i32 = 0x80;
    pub const SI_QUEUE: i32 = -1;
    pub const SI_TIMER: i32 = -2;
    pub const SI_TKILL: i32 = -6;
    pub const SEGV_MAPERR: i32 = 1;
    pub const SEGV_ACCERR: i32 = 2;
    pub const BUS_ADRALN: i32 = 1;
    pub const BUS_ADRERR: i32 = 2;
    pub const FPE_INTDIV: i32 = 1;
    pub const FPE_FLTDIV: i32 = 3;
    pub const FPE_FLTOVF: i32 = 4;
    pub const FPE_FLTUND: i32 = 5;
    pub const FPE_FLTRES: i32 = 6;
    pub const FPE_FLTINV: i32 = 7;
    pub const ILL_ILLOPN: i32 = 2;
    pub const TRAP_BRKPT: i32 = 1;
    pub const TRAP_TRACE: i32 = 2;
    pub const CLD_EXITED: i32 = 1;
    pub const CLD_KILLED: i32 = 2;
    pub const CLD_DUMPED: i32 = 3;
    pub const CLD_STOPPED: i32 = 5;
    pub const CLD_CONTINUED: i32 = 6;
}

/// `siginfo_t`, as its 16 leading and 112 following bytes (include/uapi/asm-generic/siginfo.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct SigInfo {
    /// Signal number.
    pub signo: i32,
    /// errno, mostly 0.
    pub errno: i32,
    /// Why: [`code`].
    pub code: i32,
    pad: i32,
    /// The union that follows, by kind.
    pub fields: [u64; 14],
}

const _: () = assert!(size_of::<SigInfo>() == 128);

impl SigInfo {
    /// With a code of its own, and nothing else yet.
    pub fn new(signal: u32, code: i32) -> SigInfo {
        SigInfo {
            signo: signal as i32,
            errno: 0,
            code,
            pad: 0,
            fields: [0; 14],
        }
    }

    /// What says that there was nothing to say.
    pub fn none() -> SigInfo {
        SigInfo::new(0, 0)
    }

    /// From the kernel itself.
    pub fn kernel(signal: u32) -> SigInfo {
        SigInfo::new(signal, code::SI_KERNEL)
    }

    /// From kill or tgkill by `pid` (uid 0).
    pub fn user(signal: u32, code: i32, pid: u32) -> SigInfo {
        let mut info = SigInfo::new(signal, code);
        info.fields[0] = pid.into();
        info
    }

    /// A fault at `addr`.
    pub fn fault(signal: u32, code: i32, addr: u64) -> SigInfo {
        let mut info = SigInfo::new(signal, code);
        info.fields[0] = addr;
        info
    }

    /// From a POSIX timer: id, overrun count and sigev_value.
    pub fn timer(signal: u32, id: u32, overrun: u32, value: u64) -> SigInfo {
        let mut info = SigInfo::new(signal, code::SI_TIMER);
        info.fields[1] = value;
        info.set_overrun(id, overrun);
        info
    }

    /// Says how many expiries of timer `id` had no signal of their own before this one.
    pub fn set_overrun(&mut self, id: u32, overrun: u32) {
        self.fields[0] = u64::from(id) | u64::from(overrun) << 32;
    }

    /// A child changed state: `status` is its exit code or signal.
    pub fn child(code: i32, pid: u32, status: i32) -> SigInfo {
        let mut info = SigInfo::new(SIGCHLD, code);
        info.fields[0] = pid.into();
        info.fields[1] = status as u32 as u64;
        info
    }

    /// The signal number.
    pub fn signal(&self) -> u32 {
        self.signo as u32
    }
}

/// `struct sigaction` as the kernel takes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct SigAction {
    /// Address of the handler, [`SIG_DFL`] or [`SIG_IGN`].
    pub handler: u64,
    /// [`sa`] flags.
    pub flags: u64,
    /// Address of the code that calls rt_sigreturn.
    pub restorer: u64,
    /// Blocked while the handler runs.
    pub mask: u64,
}

/// Default action.
pub const SIG_DFL: u64 = 0;
/// Ignore.
pub const SIG_IGN: u64 = 1;

/// Flags of sigaction.
#[allow(missing_docs)]
pub mod sa {
    pub const NOCLDSTOP: u64 = 1;
    pub const NOCLDWAIT: u64 = 2;
    pub const SIGINFO: u64 = 4;
    pub const RESTORER: u64 = 0x0400_0000;
    pub const ONSTACK: u64 = 0x0800_0000;
    pub const RESTART: u64 = 0x1000_0000;
    pub const NODEFER: u64 = 0x4000_0000;
    pub const RESETHAND: u64 = 0x8000_0000;
    pub const EXPOSE_TAGBITS: u64 = 0x800;
    /// What there is; a program that asks for more finds it missing when it reads the action back.
    pub const KNOWN: u64 = NOCLDSTOP
        | NOCLDWAIT
        | SIGINFO
        | EXPOSE_TAGBITS
        | RESTORER
        | ONSTACK
        | RESTART
        | NODEFER
        | RESETHAND;
}

/// What SIG_DFL means for a signal (signal(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefaultAction {
    /// End the process.
    Terminate,
    /// End it as if dumping core.
    Core,
    /// Nothing.
    Ignore,
    /// Stop all threads.
    Stop,
    /// Go on after a stop.
    Continue,
}

/// The default action of `signal`.
pub fn default_action(signal: u32) -> DefaultAction {
    match signal {
        SIGQUIT | SIGILL | SIGTRAP | SIGABRT | SIGBUS | SIGFPE | SIGSEGV | SIGXCPU | SIGXFSZ
        | SIGSYS => DefaultAction::Core,
        SIGCHLD | SIGURG | SIGWINCH => DefaultAction::Ignore,
        SIGSTOP | SIGTSTP | SIGTTIN | SIGTTOU => DefaultAction::Stop,
        SIGCONT => DefaultAction::Continue,
        _ => DefaultAction::Terminate,
    }
}

pub use super::pending::{Pending, Queued, TimerMark};

/// Where a handler with SA_ONSTACK runs (sigaltstack).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AltStack {
    /// Lowest address.
    pub base: u64,
    /// Bytes; 0: none.
    pub size: u64,
    /// SS_AUTODISARM.
    pub flags: u32,
}

impl AltStack {
    /// Whether `sp` is on it. One with SS_AUTODISARM is never in use: it is disarmed meanwhile.
    pub fn contains(&self, sp: u64) -> bool {
        self.flags & SS_AUTODISARM == 0
            && self.size != 0
            && sp > self.base
            && sp - self.base <= self.size
    }
}

/// Whether the fields of a `siginfo_t` with this code are known (`known_siginfo_layout`).
pub fn is_known_kind(signal: i32, code: i32) -> bool {
    /// The most a code of any file's SIGIO can be, and the least code there is.
    const POLL_CODES: i32 = 6;
    const SI_DETHREAD: i32 = -7;
    const SI_ASYNCNL: i32 = -60;
    let most = match signal as u32 {
        SIGILL => 11,
        SIGFPE => 15,
        SIGSEGV => 10,
        SIGBUS => 5,
        SIGTRAP => 6,
        SIGCHLD => 6,
        SIGSYS => 2,
        _ => 0,
    };
    match code {
        code::SI_KERNEL | SI_ASYNCNL => true,
        1.. => code <= most.max(POLL_CODES),
        _ => code >= SI_DETHREAD,
    }
}

/// Per-thread signal state.
#[derive(Default)]
pub struct TaskSignals {
    /// Blocked signals.
    pub mask: SigSet,
    /// What is blocked but for the sigtimedwait the thread is in: not ignored when it arrives.
    pub waiting_mask: SigSet,
    /// Mask to restore once a handler was set up (sigsuspend, ppoll, epoll_pwait).
    pub saved_mask: Option<SigSet>,
    /// Directed at this thread.
    pub pending: Pending,
    /// Alternate stack.
    pub alt_stack: AltStack,
}

/// What is to be done with each signal, by number - 1. Processes made with CLONE_SIGHAND share it.
pub type Actions = Arc<Lock<[SigAction; 64]>>;

fn new_actions(actions: [SigAction; 64]) -> Actions {
    Arc::new(Lock::new(Rank::SignalActions, actions))
}

/// Per-process signal state.
pub struct ProcessSignals {
    /// What is to be done with them.
    pub actions: Actions,
    /// Directed at the process.
    pub pending: Pending,
    /// Stopped by SIGSTOP and the like.
    pub stopped: Option<u32>,
    /// A stop or continue the parent has not been told of by wait yet (signal, or SIGCONT).
    pub unreported: Option<u32>,
}

impl Default for ProcessSignals {
    fn default() -> Self {
        ProcessSignals {
            actions: new_actions([SigAction::default(); 64]),
            pending: Pending::default(),
            stopped: None,
            unreported: None,
        }
    }
}

impl ProcessSignals {
    /// What a child by fork starts with: the actions, nothing pending.
    pub fn forked(&self) -> ProcessSignals {
        ProcessSignals {
            actions: new_actions(*self.actions.lock()),
            ..ProcessSignals::default()
        }
    }

    /// exec: handlers are gone, ignored signals stay ignored. Who shared the actions keeps them.
    pub fn reset_handlers(&mut self) {
        let mut actions = *self.actions.lock();
        for action in &mut actions {
            let handler = if action.handler == SIG_IGN {
                SIG_IGN
            } else {
                SIG_DFL
            };
            *action = SigAction {
                handler,
                ..SigAction::default()
            };
        }
        self.actions = new_actions(actions);
    }

    /// Whether other processes have the same actions (CLONE_SIGHAND).
    pub fn shares_actions(&self) -> bool {
        Arc::strong_count(&self.actions) > 1
    }

    /// The action for `signal`.
    pub fn action(&self, signal: u32) -> SigAction {
        let index = (signal as usize).wrapping_sub(1);
        self.actions.lock().get(index).copied().unwrap_or_default()
    }

    /// Sets the action for `signal`.
    pub fn set_action(&self, signal: u32, action: SigAction) {
        let index = (signal as usize).wrapping_sub(1);
        if let Some(place) = self.actions.lock().get_mut(index) {
            *place = action;
        }
    }

    /// Whether a `signal` that nobody blocks is not even queued.
    pub fn ignores(&self, signal: u32) -> bool {
        ignored_by(self.action(signal), signal)
    }
}

/// Whether `action` is to ignore `signal`.
pub fn ignored_by(action: SigAction, signal: u32) -> bool {
    match action.handler {
        SIG_IGN => true,
        SIG_DFL => matches!(
            default_action(signal),
            DefaultAction::Ignore | DefaultAction::Continue
        ),
        _ => false,
    }
}

/// Queues a signal for one thread.
pub fn send_to_task(task: &Arc<Task>, info: SigInfo) {
    let _ = try_send_to_task(task, info);
}

/// As [`send_to_task`]; EAGAIN when the queue is full.
pub fn try_send_to_task(task: &Arc<Task>, info: SigInfo) -> Result<(), Errno> {
    queue_for_task(task, Queued::charged(info, task.process())?).map(|_| ())
}

/// Queues a signal for one thread. Whether it was: an ignored one is not.
pub fn queue_for_task(task: &Arc<Task>, queued: Queued) -> Result<bool, Errno> {
    let process = task.process();
    let signal = queued.signal();
    prepare(process, signal);
    {
        let shared = process.signals.lock();
        let mut own = task.signals.lock();
        if shared.ignores(signal) && !own.keeps(signal) {
            return Ok(false);
        }
        own.pending.add(queued);
    }
    task.wake_up();
    process.signal_queue.wake(PollEvents::IN);
    Ok(true)
}

/// Queues a signal for a process: any thread that does not block it takes it.
pub fn send_to_process(process: &Arc<Process>, info: SigInfo) -> Result<(), Errno> {
    queue_for_process(process, Queued::charged(info, process)?).map(|_| ())
}

/// Queues a signal for a process. Whether it was: an ignored one is not.
pub fn queue_for_process(process: &Arc<Process>, queued: Queued) -> Result<bool, Errno> {
    let signal = queued.signal();
    prepare(process, signal);
    let tasks = process.tasks();
    // The leader decides whether it is blocked, as on Linux, and takes it by preference.
    let leader = tasks.iter().find(|task| task.tid() == process.pid());
    let leader = leader.or(tasks.first());
    let willing = |task: &&Arc<Task>| !task.signals.lock().mask.has(signal);
    {
        let mut shared = process.signals.lock();
        let kept = leader.is_some_and(|task| task.signals.lock().keeps(signal));
        if shared.ignores(signal) && !kept {
            return Ok(false);
        }
        shared.pending.add(queued);
    }
    let first = leader.filter(willing);
    let first = first.or_else(|| tasks.iter().find(willing));
    if let Some(task) = first {
        task.wake_up();
    }
    for task in &tasks {
        if task.signals.lock().saved_mask.is_some() || first.is_none() {
            task.wake_up();
        }
    }
    process.signal_queue.wake(PollEvents::IN);
    Ok(true)
}

impl TaskSignals {
    /// Whether `signal` is queued though it is ignored: it is blocked, and may be waited for.
    fn keeps(&self, signal: u32) -> bool {
        (self.mask | self.waiting_mask).has(signal)
    }
}

/// Stop and continue signals cancel each other; SIGCONT and SIGKILL end a stop at once.
fn prepare(process: &Arc<Process>, signal: u32) {
    let stops =
        SigSet::of(SIGSTOP) | SigSet::of(SIGTSTP) | SigSet::of(SIGTTIN) | SigSet::of(SIGTTOU);
    let resumed = {
        let mut shared = process.signals.lock();
        if signal == SIGCONT || signal == SIGKILL {
            shared.pending.discard(stops);
            let was = shared.stopped.take().is_some();
            if was && signal == SIGCONT {
                shared.unreported = Some(SIGCONT);
            }
            was
        } else {
            if stops.has(signal) {
                shared.pending.discard(SigSet::of(SIGCONT));
            }
            false
        }
    };
    if resumed {
        for task in process.tasks() {
            if task.state() == RunState::Stopped {
                sched::enqueue(task);
            }
        }
        if signal == SIGCONT {
            exit::notify_parent(
                process,
                SigInfo::child(code::CLD_CONTINUED, process.pid(), SIGCONT as i32),
            );
        }
    }
}

/// A fault of the program: the signal is delivered even if blocked or ignored (then fatally).
pub fn force(task: &Arc<Task>, info: SigInfo) {
    let signal = info.signal();
    {
        let shared = task.process().signals.lock();
        let mut own = task.signals.lock();
        let action = shared.action(signal);
        if action.handler == SIG_IGN || own.mask.has(signal) {
            shared.set_action(signal, SigAction::default());
            own.mask = own.mask - SigSet::of(signal);
        }
        // A fault must not be lost behind one that is pending already.
        own.pending.discard(SigSet::of(signal));
        own.pending.add(Queued::free(info));
    }
    task.wake_up();
}

/// Takes a pending signal of `set` (sigtimedwait, signalfd).
pub fn take_from(task: &Arc<Task>, set: SigSet) -> Option<SigInfo> {
    let process = task.process();
    loop {
        let own = task.signals.lock().pending.take(!set);
        let queued = own.or_else(|| process.signals.lock().pending.take(!set))?;
        let Some(mark) = queued.timer else {
            return Some(queued.info);
        };
        // A timer that was set again or deleted meanwhile has nothing to say.
        let mut info = queued.info;
        if process_timers::delivered(process, mark, &mut info) {
            return Some(info);
        }
    }
}

/// Acts on every deliverable signal of the current task. Called on the way back to the program with
/// its registers; may end the task.
pub fn deliver(task: &Arc<Task>, frame: &mut TrapFrame) {
    loop {
        let mask = task.signals.lock().mask;
        let Some(info) = take_from(task, !mask) else {
            break;
        };
        observer::tell(|to| (to.signal)(task, &info));
        let signal = info.signal();
        let action = {
            let shared = task.process().signals.lock();
            let action = shared.action(signal);
            if action.flags & sa::RESETHAND != 0 && action.handler > SIG_IGN {
                let handler = SIG_DFL;
                shared.set_action(signal, SigAction { handler, ..action });
            }
            action
        };
        match action.handler {
            SIG_IGN => {}
            SIG_DFL => match default_action(signal) {
                DefaultAction::Ignore | DefaultAction::Continue => {}
                DefaultAction::Stop if job::ignores_stop(task.process(), signal) => {}
                DefaultAction::Stop => stop(task, &info),
                // Init ignores what it has no handler for only when the sender is not the kernel;
                // here init is the program itself, so it dies like any other.
                DefaultAction::Terminate => {
                    exit::exit_group(task, ExitStatus::Signaled(signal as u8, false))
                }
                DefaultAction::Core => {
                    exit::exit_group(task, ExitStatus::Signaled(signal as u8, dumps_core(task)))
                }
            },
            _ => {
                restart_or_interrupt(frame, action.flags & sa::RESTART != 0, true);
                if run_handler(task, frame, &info, &action).is_err() {
                    // No room for the frame: Linux kills with SIGSEGV.
                    let handled_itself = signal == SIGSEGV;
                    if handled_itself {
                        let shared = task.process().signals.lock();
                        shared.set_action(SIGSEGV, SigAction::default());
                    }
                    force(task, SigInfo::kernel(SIGSEGV));
                }
            }
        }
    }
    restart_or_interrupt(frame, true, false);
    let mut own = task.signals.lock();
    if let Some(saved) = own.saved_mask.take() {
        // No handler ran: the temporary mask ends here.
        own.mask = saved;
    }
}

/// Whether Linux would write a core file now: never written here, but wait tells.
fn dumps_core(task: &Arc<Task>) -> bool {
    const RLIMIT_CORE: usize = 4;
    let process = task.process();
    process.rlimit(RLIMIT_CORE) > 0 && process.dumpable.load(Ordering::Relaxed) == 1
}

fn run_handler(
    task: &Arc<Task>,
    frame: &mut TrapFrame,
    info: &SigInfo,
    action: &SigAction,
) -> Result<(), Errno> {
    let (old_mask, alt_stack) = {
        let own = task.signals.lock();
        (own.saved_mask.unwrap_or(own.mask), own.alt_stack)
    };
    arch::signal_frame::push(task, frame, info, action, old_mask, alt_stack)?;
    let mut own = task.signals.lock();
    own.saved_mask = None;
    own.mask = own.mask | SigSet(action.mask);
    if action.flags & sa::NODEFER == 0 {
        own.mask = own.mask | SigSet::of(info.signal());
    }
    own.mask = own.mask - SigSet::UNBLOCKABLE;
    if own.alt_stack.flags & SS_AUTODISARM != 0 {
        own.alt_stack = AltStack::default();
    }
    Ok(())
}

/// `SS_AUTODISARM`: the alternate stack is forgotten while a handler runs on it.
pub const SS_AUTODISARM: u32 = 1 << 31;

/// A system call that a signal interrupted either starts again or answers EINTR.
fn restart_or_interrupt(frame: &mut TrapFrame, restart: bool, handler: bool) {
    if (frame.orig_rax as i64) < 0 {
        return;
    }
    let result = frame.return_value() as i64;
    let again = match Errno::from_restart(result) {
        Some(Errno::ERESTARTSYS) => restart,
        Some(Errno::ERESTARTNOINTR) => true,
        Some(_) => !handler,
        None => return,
    };
    if again {
        frame.restart_syscall();
    } else {
        frame.set_return(Errno::EINTR.to_return());
    }
    frame.orig_rax = u64::MAX;
}

/// Last step on the way back to the program: an interrupted system call without a handler starts
/// again.
pub fn finish_interrupted(frame: &mut TrapFrame) {
    restart_or_interrupt(frame, true, false);
}

fn stop(task: &Arc<Task>, info: &SigInfo) {
    let signal = info.signal();
    observer::tell(|to| (to.stopped)(task, signal));
    let process = task.process();
    {
        let mut shared = process.signals.lock();
        shared.stopped = Some(signal);
        shared.unreported = Some(signal);
    }
    exit::notify_parent(
        process,
        SigInfo::child(code::CLD_STOPPED, process.pid(), signal as i32),
    );
    // The other threads stop on their way back to the program.
    for other in process.tasks() {
        if !Arc::ptr_eq(&other, task) {
            other.wake_up();
        }
    }
    // The program the operator started was stopped by the operator: what that shell sees, and
    // continues, is the VM.
    if process.pid() == process::init_pid() && info.code == code::SI_KERNEL {
        crate::platform::stopped();
        let group = process.pgid.load(core::sync::atomic::Ordering::Relaxed);
        job::signal_group(group, SIGCONT);
    }
    wait_while_stopped(task);
}

/// Keeps the task off the vCPU while its process is stopped.
pub fn wait_while_stopped(task: &Arc<Task>) {
    while task.process().signals.lock().stopped.is_some() && !task.is_killed() {
        sched::stop_current(task);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exec_keeps_only_ignored_signals() {
        let mut signals = ProcessSignals::default();
        let with = |handler| SigAction {
            handler,
            ..SigAction::default()
        };
        signals.set_action(SIGINT, with(0x1000));
        signals.set_action(SIGPIPE, with(SIG_IGN));
        let shared = signals.actions.clone();
        signals.reset_handlers();
        assert_eq!(shared.lock()[SIGINT as usize - 1].handler, 0x1000);
        assert_eq!(signals.action(SIGINT).handler, SIG_DFL);
        assert_eq!(signals.action(SIGPIPE).handler, SIG_IGN);
    }
}

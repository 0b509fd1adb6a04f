//! Several vCPUs in one sentry.
//!
//! Programs run on all of them at once; the sentry runs on one at a time: entering it from a
//! program takes the *kernel lock*, returning to one, or idling in the host, releases it. So all of
//! the sentry may keep thinking of itself as running alone, and none of its [`Lock`]s is ever
//! contended. With one vCPU nothing here costs more than looking at a number.
//!
//! [`Lock`]: crate::sync::Lock
//!
//! # Invariants
//!
//! - A vCPU that is not in a program runs nothing but this module's code while it does not hold the
//!   kernel lock, on data of its own or atomics.
//! - A vCPU that does not hold the kernel lock has the tables of its current task loaded, or the
//!   sentry's own. So tables are never freed while another vCPU walks them.
//! - Translations are weakened under the kernel lock and forgotten on every vCPU that may use them
//!   before it is released ([`shoot_down`]). A vCPU in a program is interrupted for it; one that
//!   waits for the kernel lock answers while it waits; an idle one does it when it comes back.
//! - A kick is never lost: its flag is set before the VMM is told, and the VMM looks at the flag
//!   before a vCPU goes to sleep.

use crate::arch::{self, tlb};
use crate::platform;
use core::hint::spin_loop;
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use sprout_abi::layout::MAX_VCPUS;

/// Where a vCPU is.
mod state {
    /// It does not run yet.
    pub const OFFLINE: u8 = 0;
    /// In the sentry, with the kernel lock or waiting for it.
    pub const KERNEL: u8 = 1;
    /// In a program.
    pub const PROGRAM: u8 = 2;
    /// Idle, about to wait in the host.
    pub const SPINNING: u8 = 3;
    /// Idle in the host.
    pub const IDLE: u8 = 4;
    /// In the host until the kernel lock is free.
    pub const PARKED: u8 = 5;
}

#[repr(align(64))]
struct Cpu {
    state: AtomicU8,
    /// How often translations it may hold were weakened. Changed under the kernel lock.
    weakened: AtomicU32,
    /// The value of `weakened` before it last forgot all translations. Only this vCPU writes it:
    /// what is weakened while it forgets is not taken for forgotten.
    forgotten: AtomicU32,
    /// The address space whose tables are loaded; 0: the sentry's own.
    space: AtomicU64,
}

static CPUS: [Cpu; MAX_VCPUS] = [const {
    Cpu {
        state: AtomicU8::new(state::OFFLINE),
        weakened: AtomicU32::new(0),
        forgotten: AtomicU32::new(0),
        space: AtomicU64::new(0),
    }
}; MAX_VCPUS];

/// The kernel lock.
static TAKEN: AtomicBool = AtomicBool::new(false);
/// Who had the kernel lock last, and how many want it: whoever had it lets others go first.
static LAST: AtomicUsize = AtomicUsize::new(0);
static WANTED: AtomicU32 = AtomicU32::new(0);
/// Bit mask of vCPUs that are parked.
static PARKED: AtomicU32 = AtomicU32::new(0);
/// vCPUs to kick when the kernel lock is released. Changed under the kernel lock.
static KICKS: AtomicU32 = AtomicU32::new(0);
/// Bit mask of vCPUs for which a task is in the run queue: what spinning ones look at.
static RUNNABLE: AtomicU32 = AtomicU32::new(0);

/// How long a vCPU spins before it goes to sleep in the host or asks it for help, in ns: about what
/// that costs.
const SPIN_NS: u64 = 20_000;
/// For how many looks at the kernel lock its last owner lets others go first.
const COURTESY: u32 = 64;

/// vCPUs of this VM; 1 until they are prepared.
#[inline]
pub fn count() -> usize {
    arch::cpu_count()
}

/// The vCPU this runs on. It changes when the task is switched away and comes back.
#[inline]
pub fn this_cpu() -> usize {
    if count() == 1 { 0 } else { arch::cpu_index() }
}

/// Bit mask of all vCPUs.
pub fn all_cpus() -> u64 {
    (1 << count()) - 1
}

/// Boot, when there are several vCPUs and before there are address spaces: this one holds the kernel
/// lock.
pub fn start() {
    TAKEN.store(true, Ordering::Relaxed);
    CPUS[0].state.store(state::KERNEL, Ordering::Relaxed);
}

/// A program is entering the sentry: returns with the kernel lock.
#[inline]
pub fn enter() {
    if count() > 1 {
        enter_with_others();
    }
}

fn enter_with_others() {
    let cpu = arch::cpu_index();
    CPUS[cpu].state.store(state::KERNEL, Ordering::SeqCst);
    acquire(cpu);
}

/// The program of the current task is about to run: gives the kernel lock back, calls the vCPUs that
/// the sentry has something for, and sees to it that the next timer interrupts a program in time.
/// False: something came for this vCPU meanwhile, and it is in the sentry again. `looked`: that was so
/// before, or other tasks have run; then the program goes on first.
#[inline]
pub fn leave(looked: bool) -> bool {
    if count() > 1 {
        return leave_with_others(looked);
    }
    let due = platform::near_timer();
    if due.is_none() && !looked {
        return platform::may_return();
    }
    ring_and_return(0, due, looked && is_late(0, due))
}

fn leave_with_others(looked: bool) -> bool {
    let cpu = arch::cpu_index();
    let called = mark_called();
    let due = platform::near_timer().filter(|due| !platform::others_watch(*due));
    let late = looked && is_late(cpu, due);
    platform::take_kick(cpu);
    CPUS[cpu].state.store(state::PROGRAM, Ordering::SeqCst);
    release();
    // Without the kernel lock: those called want it.
    let may = ring_and_return(still_marked(called), due, late);
    if !may {
        CPUS[cpu].state.store(state::KERNEL, Ordering::SeqCst);
        acquire(cpu);
    }
    may
}

/// Whether there is something to do on `cpu` that waits until its program got on a little.
fn is_late(cpu: usize, due: Option<u64>) -> bool {
    crate::task::sched::is_called_for(cpu)
        || due.is_some_and(|due| due <= crate::time::monotonic_ns())
}

/// Wakes the vCPUs of `mask`, and sees to this one's next tick. Whether it may return to its program.
fn ring_and_return(mask: u32, due: Option<u64>, late: bool) -> bool {
    if late {
        // What this call takes must not keep the program from getting on.
        let may = platform::may_return();
        if may {
            platform::kick_and_tick_soon(mask);
        } else if mask != 0 {
            platform::kick(mask);
        }
        return may;
    }
    match due {
        Some(_) => platform::kick_and_watch_clock(mask),
        None if mask != 0 => platform::kick(mask),
        None => {}
    }
    platform::may_return()
}

/// Runs `wait`, which waits in the host, without the kernel lock, unless there is a task to run.
pub fn idle<R>(wait: impl FnOnce() -> R) -> Option<R> {
    if count() == 1 {
        return Some(wait());
    }
    let cpu = arch::cpu_index();
    let own = &CPUS[cpu];
    let called = mark_called();
    platform::take_kick(cpu);
    own.state.store(state::SPINNING, Ordering::SeqCst);
    release();
    wake_marked(called);
    let end = arch::tsc() + spin_ticks();
    let called = || has_work(cpu) || platform::is_kicked(cpu);
    while !called() && arch::tsc() < end {
        spin_loop();
    }
    own.state.store(state::IDLE, Ordering::SeqCst);
    // Who makes a task runnable after this look sees that this vCPU is idle and kicks it.
    let result = (!called()).then(wait);
    own.state.store(state::KERNEL, Ordering::SeqCst);
    acquire(cpu);
    platform::take_kick(cpu);
    result
}

/// The current task has nothing to do until others have done something: lets other vCPUs enter the
/// sentry, and calls those it has something for.
pub fn let_others_in() {
    if count() == 1 {
        return;
    }
    let called = mark_called();
    release();
    wake_marked(called);
    acquire(arch::cpu_index());
}

/// First thing on another vCPU than the first: takes the kernel lock.
pub fn online() {
    let cpu = arch::cpu_index();
    CPUS[cpu].state.store(state::KERNEL, Ordering::SeqCst);
    acquire(cpu);
}

/// Whether every other vCPU is idle and has not been called.
pub fn others_idle() -> bool {
    let this = this_cpu();
    (0..count()).filter(|cpu| *cpu != this).all(is_idle)
}

/// Whether `cpu` is idle and has not been called.
pub fn is_idle(cpu: usize) -> bool {
    matches!(
        CPUS[cpu].state.load(Ordering::SeqCst),
        state::SPINNING | state::IDLE
    ) && !platform::is_kicked(cpu)
        && KICKS.load(Ordering::Relaxed) & 1 << cpu == 0
}

/// For which vCPUs (a bit mask) tasks wait in the run queue now.
pub fn set_runnable(cpus: u32) {
    RUNNABLE.store(cpus, Ordering::SeqCst);
}

/// Whether a task that `cpu` may run waits in the run queue.
fn has_work(cpu: usize) -> bool {
    RUNNABLE.load(Ordering::SeqCst) & 1 << cpu != 0
}

/// Has `cpu`, if it is another one, enter the sentry soon after this one has left it.
pub fn call(cpu: usize) {
    if cpu != this_cpu() {
        KICKS.fetch_or(1 << cpu, Ordering::Relaxed);
    }
}

/// Has `cpu` enter the sentry if it runs a program: its current task has a signal, or must stop.
pub fn interrupt(cpu: usize) {
    if count() > 1
        && cpu != arch::cpu_index()
        && CPUS[cpu].state.load(Ordering::SeqCst) == state::PROGRAM
    {
        call(cpu);
    }
}

/// This vCPU has loaded the tables of `space` (0: the sentry's own). That forgets all translations.
pub fn loaded(space: u64) {
    CPUS[this_cpu()].space.store(space, Ordering::Relaxed);
}

/// Translations of `space` (`None`: of any) were weakened: returns when no other vCPU uses old ones.
pub fn shoot_down(space: Option<u64>) {
    if count() == 1 {
        return;
    }
    let this = arch::cpu_index();
    let mut waited_for = 0u32;
    for (number, cpu) in CPUS.iter().enumerate().take(count()) {
        let uses = space.is_none_or(|space| cpu.space.load(Ordering::Relaxed) == space);
        if number != this && uses {
            cpu.weakened.fetch_add(1, Ordering::SeqCst);
            waited_for |= 1 << number;
        }
    }
    let mut next_kick = arch::tsc();
    while waited_for != 0 {
        let mut kicks = 0;
        for (number, cpu) in CPUS.iter().enumerate() {
            if waited_for & 1 << number == 0 {
                continue;
            }
            match cpu.state.load(Ordering::SeqCst) {
                _ if cpu.has_forgotten() => waited_for &= !(1 << number),
                state::PROGRAM => kicks |= 1 << number,
                state::KERNEL => {}
                // It will look before it goes on.
                _ => waited_for &= !(1 << number),
            }
        }
        // Once more after a while: the other one's thread may not get to run.
        if kicks != 0 && arch::tsc() >= next_kick {
            kick(kicks);
            next_kick = arch::tsc() + 2 * spin_ticks();
        } else if arch::tsc() > next_kick + 2 * spin_ticks() {
            // It waits for the kernel lock, but its thread does not get to run.
            platform::kick(0);
            next_kick = arch::tsc();
        }
        spin_loop();
    }
}

/// Returns when every other vCPU that runs a program of `space` (`None`: any) has been in the sentry:
/// that orders its memory accesses before with those of this vCPU after, and the other way round, and
/// serialises its processor.
pub fn synchronise(space: Option<u64>) {
    shoot_down(space);
}

impl Cpu {
    /// Whether it holds no translation that was weakened.
    fn has_forgotten(&self) -> bool {
        self.forgotten.load(Ordering::SeqCst) == self.weakened.load(Ordering::SeqCst)
    }

    /// On this vCPU: if translations were weakened since it last looked, forgets all.
    fn answer_shoot_down(&self) {
        let weakened = self.weakened.load(Ordering::SeqCst);
        if self.forgotten.load(Ordering::Relaxed) != weakened {
            tlb::flush_local();
            self.forgotten.store(weakened, Ordering::SeqCst);
        }
    }
}

fn spin_ticks() -> u64 {
    arch::spin_ticks(SPIN_NS)
}

fn acquire(cpu: usize) {
    let own = &CPUS[cpu];
    if WANTED.load(Ordering::Relaxed) != 0 && LAST.load(Ordering::Relaxed) == cpu {
        for _ in 0..COURTESY {
            own.answer_shoot_down();
            spin_loop();
        }
    }
    if !try_acquire() {
        WANTED.fetch_add(1, Ordering::Relaxed);
        wait_for_lock(cpu);
        WANTED.fetch_sub(1, Ordering::Relaxed);
    }
    LAST.store(cpu, Ordering::Relaxed);
    own.answer_shoot_down();
}

fn try_acquire() -> bool {
    !TAKEN.load(Ordering::Relaxed) && !TAKEN.swap(true, Ordering::SeqCst)
}

#[cold]
fn wait_for_lock(cpu: usize) {
    let own = &CPUS[cpu];
    let mut end = arch::tsc() + spin_ticks();
    loop {
        own.answer_shoot_down();
        if try_acquire() {
            return;
        }
        spin_loop();
        if arch::tsc() < end {
            continue;
        }
        own.state.store(state::PARKED, Ordering::SeqCst);
        PARKED.fetch_or(1 << cpu, Ordering::SeqCst);
        // Who releases the lock after this look sees the bit.
        if TAKEN.load(Ordering::SeqCst) {
            platform::park();
        }
        PARKED.fetch_and(!(1 << cpu), Ordering::SeqCst);
        own.state.store(state::KERNEL, Ordering::SeqCst);
        platform::take_kick(cpu);
        end = arch::tsc() + spin_ticks();
    }
}

fn release() {
    TAKEN.swap(false, Ordering::SeqCst);
    let parked = PARKED.load(Ordering::SeqCst);
    if parked != 0 {
        let first = parked.trailing_zeros() as usize;
        if !platform::is_kicked(first) {
            kick(1 << first);
        }
    }
}

fn kick(cpus: u32) {
    mark(cpus);
    wake_marked(cpus);
}

/// Before the kernel lock is released: marks the vCPUs that the sentry has something for. They are
/// to be woken with [`wake_marked`].
fn mark_called() -> u32 {
    crate::task::sched::kick_idle();
    let called = KICKS.swap(0, Ordering::Relaxed);
    mark(called);
    called
}

fn mark(cpus: u32) {
    (0..count())
        .filter(|number| cpus & 1 << number != 0)
        .for_each(platform::set_kick);
}

/// Of the marked vCPUs those that have not noticed, and do not look: spinning ones see the mark.
fn still_marked(cpus: u32) -> u32 {
    let is_unaware = |number: &usize| {
        cpus & 1 << number != 0
            && platform::is_kicked(*number)
            && CPUS[*number].state.load(Ordering::SeqCst) != state::SPINNING
    };
    (0..count())
        .filter(is_unaware)
        .fold(0, |mask, number| mask | 1 << number)
}

fn wake_marked(cpus: u32) {
    let sleeping = still_marked(cpus);
    if sleeping != 0 {
        platform::kick(sleeping);
    }
}

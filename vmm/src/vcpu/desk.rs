//! Where the vCPU threads of a guest meet: who is idle and who watches the outside for all, who is
//! to start, how the run ends.
//!
//! Of the idle vCPUs one, the *watcher*, waits at the backend for events and for the guest's next
//! timer; the others wait here. When the watcher goes back into the guest, the next one takes over.
//! A vCPU is called out of either wait, or out of its guest code, by a kick: the guest sets a flag
//! in the shared page first, so a kick can come at any time and is found.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use sprout_abi::hypercall::{event, wait_flags};

use crate::backend::Backend;
use crate::hypercall::{Interest, Wait};
use crate::kick;
use crate::vm::{Stop, VmError};

/// Signals are passed to the guest whether it asked or not.
pub const SIGNALS: u64 = event::SIGNAL;
/// What a guest waits for that has not said anything.
const NOTHING: Claim = Claim {
    turn: 0,
    wanted: SIGNALS,
    ready: false,
};
/// How long a timer that a vCPU was just woken for may stay due before it wakes another.
const TIMER_GRACE: Duration = Duration::from_millis(2);

/// Whether a vCPU runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Power {
    /// Not yet.
    Off,
    /// The guest asked for it: where, and on which page tables.
    Asked {
        /// Virtual address of its first instruction.
        entry: u64,
        /// Its page-table root.
        root: u64,
    },
    /// It does.
    On,
}

/// What the idle vCPUs know of each other.
pub struct State {
    /// The wait of each idle vCPU.
    pub waits: Vec<Option<Wait>>,
    /// vCPUs that wait for another one.
    parked: Vec<bool>,
    /// vCPUs in [`Desk`]'s condition variable.
    asleep: Vec<bool>,
    /// Whether each vCPU runs.
    pub power: Vec<Power>,
    /// What the vCPU that last had nothing to do said of the guest.
    claim: Claim,
    watching: Option<usize>,
    /// The last timer a vCPU was woken for, and when.
    timer: Option<(u64, Instant)>,
    /// How the run ended.
    pub end: Option<Result<Stop, VmError>>,
}

/// What an idle guest waits for.
#[derive(Clone, Copy, Debug)]
struct Claim {
    /// [`Wait::turn`].
    turn: u64,
    /// Events that the guest wants and has not been given.
    wanted: u64,
    /// Nothing can run but a request.
    ready: bool,
}

impl Claim {
    fn of(wait: &Wait) -> Self {
        Self {
            turn: wait.turn,
            wanted: wait.wanted | SIGNALS,
            ready: wait.flags & wait_flags::READY != 0,
        }
    }
}

/// What the watcher looks for.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// Bits of `event`.
    pub wanted: u64,
    /// All vCPUs are idle.
    pub alone: bool,
    /// The guest is ready for a request.
    pub ready: bool,
    /// See [`State::timer`].
    pub timer: Option<(u64, Instant)>,
}

/// The world outside, and what ticks watch it for.
pub struct Outside<'a> {
    /// What stands behind the hypercalls.
    pub backend: &'a mut dyn Backend,
    /// See [`Interest`].
    pub interest: Interest,
}

/// How to get a vCPU out of `KVM_RUN`.
struct Seat<'a> {
    immediate_exit: &'a AtomicU8,
    thread: AtomicI32,
}

/// See the module.
pub struct Desk<'a> {
    state: Mutex<State>,
    changed: Condvar,
    outside: Mutex<Outside<'a>>,
    /// Threads that want `outside` while the watcher may be using it.
    contenders: AtomicUsize,
    watcher_waits: AtomicBool,
    /// Ends the watcher's wait; there when there are several vCPUs.
    wake: Option<OwnedFd>,
    seats: Vec<Seat<'a>>,
}

fn unpoisoned<T>(result: Result<T, PoisonError<T>>) -> T {
    // A thread that panicked ends the process at the end of its scope.
    result.unwrap_or_else(PoisonError::into_inner)
}

impl<'a> Desk<'a> {
    /// A desk for vCPUs in the state of `waits` and `power`; `immediate_exit`: that of each.
    pub fn new(
        immediate_exit: Vec<&'a AtomicU8>,
        waits: Vec<Option<Wait>>,
        power: Vec<Power>,
        backend: &'a mut dyn Backend,
    ) -> io::Result<Self> {
        let seats: Vec<_> = immediate_exit
            .into_iter()
            .map(|immediate_exit| Seat {
                immediate_exit,
                thread: AtomicI32::new(0),
            })
            .collect();
        let wake = if seats.len() > 1 {
            // SAFETY: makes a new descriptor, whose only owner this is.
            let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            // SAFETY: as above.
            Some(unsafe { OwnedFd::from_raw_fd(fd) })
        } else {
            None
        };
        Ok(Self {
            state: Mutex::new(State {
                asleep: vec![false; seats.len()],
                parked: vec![false; seats.len()],
                claim: (waits.iter().flatten())
                    .max_by_key(|wait| wait.turn)
                    .map_or(NOTHING, Claim::of),
                waits,
                power,
                watching: None,
                timer: None,
                end: None,
            }),
            changed: Condvar::new(),
            outside: Mutex::new(Outside {
                backend,
                interest: Interest::default(),
            }),
            contenders: AtomicUsize::new(0),
            watcher_waits: AtomicBool::new(false),
            wake,
            seats,
        })
    }

    /// Number of vCPUs.
    pub fn count(&self) -> usize {
        self.seats.len()
    }

    /// The calling thread runs vCPU `cpu` from now on.
    pub fn sit_down(&self, cpu: usize) {
        // SAFETY: only tells the thread's id.
        let thread = unsafe { libc::gettid() };
        self.seats[cpu].thread.store(thread, Ordering::SeqCst);
    }

    /// The flag that makes `cpu` leave `KVM_RUN` at once.
    pub fn immediate_exit(&self, cpu: usize) -> &AtomicU8 {
        self.seats[cpu].immediate_exit
    }

    /// The waits that are left, and how the run ended.
    pub fn into_result(self) -> (Vec<Option<Wait>>, Option<Result<Stop, VmError>>) {
        let state = unpoisoned(self.state.into_inner());
        (state.waits, state.end)
    }

    /// The shared state.
    pub fn state(&self) -> MutexGuard<'_, State> {
        unpoisoned(self.state.lock())
    }

    /// Waits for a change of the state.
    pub fn wait_for_change<'s>(
        &'s self,
        cpu: usize,
        mut state: MutexGuard<'s, State>,
    ) -> MutexGuard<'s, State> {
        state.asleep[cpu] = true;
        let mut state = unpoisoned(self.changed.wait(state));
        state.asleep[cpu] = false;
        state
    }

    /// The outside; a watcher that waits there is interrupted.
    pub fn outside(&self) -> MutexGuard<'_, Outside<'a>> {
        if self.wake.is_none() {
            return unpoisoned(self.outside.lock());
        }
        self.contenders.fetch_add(1, Ordering::SeqCst);
        if self.watcher_waits.load(Ordering::SeqCst) {
            self.interrupt_watcher();
        }
        let outside = unpoisoned(self.outside.lock());
        self.contenders.fetch_sub(1, Ordering::SeqCst);
        outside
    }

    /// The outside, if no watcher waits there.
    pub fn outside_now(&self) -> Option<MutexGuard<'_, Outside<'a>>> {
        match self.outside.try_lock() {
            Ok(outside) => Some(outside),
            Err(TryLockError::Poisoned(error)) => Some(error.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// The outside for the watcher: whoever else wants it goes first.
    pub fn outside_at_leisure(&self) -> MutexGuard<'_, Outside<'a>> {
        while self.contenders.load(Ordering::SeqCst) != 0 {
            std::thread::yield_now();
        }
        unpoisoned(self.outside.lock())
    }

    /// Waits at the backend as the watcher, until something happens that another thread wants it to
    /// look at.
    pub fn watch(
        &self,
        outside: &mut Outside<'_>,
        wanted: u64,
        timeout: Option<Duration>,
        alone: bool,
    ) -> io::Result<u64> {
        let Some(wake) = &self.wake else {
            return outside.backend.wait(wanted, timeout, None);
        };
        self.watcher_waits.store(true, Ordering::SeqCst);
        let result = if self.contenders.load(Ordering::SeqCst) == 0 {
            // While all are idle nobody interrupts, and a wait for nothing is an error.
            let wake = (!alone).then_some(wake.as_raw_fd());
            outside.backend.wait(wanted, timeout, wake)
        } else {
            Ok(0)
        };
        self.watcher_waits.store(false, Ordering::SeqCst);
        drain(wake.as_raw_fd());
        result
    }

    fn interrupt_watcher(&self) {
        if let Some(wake) = &self.wake {
            let one = 1u64.to_ne_bytes();
            // SAFETY: writes eight bytes of a live array. A full counter is a wake-up, too.
            unsafe { libc::write(wake.as_raw_fd(), one.as_ptr().cast(), one.len()) };
        }
    }

    /// Makes the vCPUs of `mask` look at their flags.
    pub fn kick(&self, mask: u64) {
        let state = self.state();
        let mut asleep = false;
        for (cpu, seat) in self.seats.iter().enumerate() {
            if mask & 1 << cpu == 0 {
                continue;
            }
            if state.asleep[cpu] {
                asleep = true;
            } else if state.watching == Some(cpu) {
                self.interrupt_watcher();
            } else {
                seat.immediate_exit.store(1, Ordering::SeqCst);
                kick::thread(seat.thread.load(Ordering::SeqCst));
            }
        }
        drop(state);
        if asleep {
            self.changed.notify_all();
        }
    }

    /// The guest wants vCPU `cpu` to run; false if it can't.
    pub fn start(&self, cpu: u64, entry: u64, root: u64) -> bool {
        let mut state = self.state();
        let place = usize::try_from(cpu)
            .ok()
            .and_then(|cpu| state.power.get_mut(cpu));
        match place {
            Some(power @ Power::Off) => *power = Power::Asked { entry, root },
            _ => return false,
        }
        drop(state);
        self.changed.notify_all();
        true
    }

    /// Ends the run, with the first reason given.
    pub fn end(&self, reason: Result<Stop, VmError>) {
        let mut state = self.state();
        state.end.get_or_insert(reason);
        self.interrupt_watcher();
        for (seat, power) in self.seats.iter().zip(&state.power) {
            seat.immediate_exit.store(1, Ordering::SeqCst);
            if *power == Power::On && self.wake.is_some() {
                kick::thread(seat.thread.load(Ordering::SeqCst));
            }
        }
        drop(state);
        self.changed.notify_all();
    }

    /// `cpu` waits for its kick, or no longer. False: so do all that run, and there is nobody left
    /// to kick one, or to watch the outside; `kicked` tells who is just being kicked.
    pub fn park(
        &self,
        state: &mut State,
        cpu: usize,
        parked: bool,
        kicked: impl Fn(usize) -> bool,
    ) -> bool {
        state.parked[cpu] = parked;
        !parked
            || (0..self.count()).any(|cpu| match state.power[cpu] {
                Power::On => !state.parked[cpu] || kicked(cpu),
                Power::Asked { .. } => true,
                Power::Off => false,
            })
    }

    /// A vCPU is idle. The watcher looks at what that changes.
    pub fn arrive(&self, state: &mut State, cpu: usize, wait: Wait) {
        state.waits[cpu] = Some(wait);
        // One that had nothing to do later may have come here earlier.
        if wait.turn >= state.claim.turn {
            state.claim = Claim::of(&wait);
        }
        if state.watching.is_some() {
            self.interrupt_watcher();
        }
    }

    /// A vCPU goes back into the guest with `events`; another one takes over.
    pub fn leave(&self, state: &mut State, cpu: usize, events: u64) {
        state.waits[cpu] = None;
        state.claim.ready = false;
        state.claim.wanted &= !events | SIGNALS;
        if self.wake.is_some() && state.asleep.contains(&true) {
            self.changed.notify_all();
        }
    }

    /// Makes `cpu` the watcher, if there is none. `kicked` tells who is being kicked: its thread may
    /// not have noticed yet, but the vCPU is not idle any more.
    pub fn take_watch(
        &self,
        state: &mut State,
        cpu: usize,
        kicked: impl Fn(usize) -> bool,
    ) -> Option<Look> {
        if state.watching.is_some() {
            return None;
        }
        state.watching = Some(cpu);
        let mut waits = state.waits.iter().enumerate();
        let alone = waits.all(|(cpu, wait)| wait.is_some() && !kicked(cpu));
        Some(Look {
            wanted: state.claim.wanted,
            alone,
            ready: alone && state.claim.ready,
            timer: state.timer,
        })
    }

    /// `cpu` watches no longer; `timer`: it goes to run that one.
    pub fn end_watch(&self, state: &mut State, timer: Option<u64>) {
        state.watching = None;
        if let Some(timer) = timer {
            state.timer = Some((timer, Instant::now()));
        }
    }
}

impl Look {
    /// Whether a vCPU was woken for `timer` so short ago that it may not have looked at it yet.
    pub fn just_woken_for(&self, timer: u64) -> Option<Duration> {
        let (last, at) = self.timer?;
        let left = TIMER_GRACE.checked_sub(at.elapsed())?;
        (last == timer).then_some(left)
    }
}

fn drain(fd: RawFd) {
    let mut count = [0; 8];
    // SAFETY: reads at most eight bytes into a live array; an empty counter is EAGAIN.
    unsafe { libc::read(fd, count.as_mut_ptr().cast(), count.len()) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::buffered::Buffered;

    fn wait(turn: u64, flags: u64) -> Wait {
        Wait {
            request: 0,
            deadline: u64::MAX,
            flags,
            wanted: event::REQUEST,
            turn,
        }
    }

    /// Runs `test` with the desk of two vCPUs of which the first runs.
    fn with_desk(test: impl FnOnce(&Desk<'_>)) {
        let exits = [AtomicU8::new(0), AtomicU8::new(0)];
        let mut backend = Buffered::default();
        let power = vec![Power::On, Power::Off];
        let desk = Desk::new(exits.iter().collect(), vec![None; 2], power, &mut backend);
        test(&desk.unwrap());
    }

    #[test]
    fn a_vcpu_starts_once_and_only_if_it_is_there() {
        with_desk(|desk| {
            assert!(!desk.start(0, 1, 2), "it runs");
            assert!(desk.start(1, 1, 2));
            assert!(!desk.start(1, 1, 2), "it was asked already");
            assert!(!desk.start(2, 1, 2) && !desk.start(u64::MAX, 1, 2));
            assert_eq!(desk.state().power[1], Power::Asked { entry: 1, root: 2 });
        });
    }

    #[test]
    fn the_guest_is_ready_when_all_are_idle_and_the_last_one_said_so() {
        with_desk(|desk| {
            let mut state = desk.state();
            desk.arrive(&mut state, 0, wait(2, wait_flags::READY));
            let look = desk.take_watch(&mut state, 0, |_| false).unwrap();
            assert!(!look.ready && !look.alone);
            assert!(
                desk.take_watch(&mut state, 1, |_| false).is_none(),
                "one watches"
            );
            desk.end_watch(&mut state, None);
            // Its turn came first: the other one was not idle yet.
            desk.arrive(&mut state, 1, wait(1, 0));
            let look = desk.take_watch(&mut state, 1, |cpu| cpu == 0).unwrap();
            assert!(!look.ready && !look.alone, "the other one is about to go");
            desk.end_watch(&mut state, None);
            let look = desk.take_watch(&mut state, 1, |_| false).unwrap();
            assert!(look.ready && look.alone);
            desk.leave(&mut state, 1, event::REQUEST);
            desk.end_watch(&mut state, Some(5));
            let look = desk.take_watch(&mut state, 0, |_| false).unwrap();
            assert!(
                !look.ready,
                "the other one may have made something runnable"
            );
            assert_eq!(look.wanted & event::REQUEST, 0, "it was delivered");
            desk.end_watch(&mut state, None);
            desk.arrive(&mut state, 1, wait(3, 0));
            let look = desk.take_watch(&mut state, 0, |_| false).unwrap();
            assert!(
                look.alone && !look.ready,
                "what it ran left nobody in the channel"
            );
            assert!(look.just_woken_for(5).is_some() && look.just_woken_for(6).is_none());
        });
    }

    #[test]
    fn vcpus_may_not_all_wait_for_each_other() {
        with_desk(|desk| {
            let mut state = desk.state();
            assert!(desk.park(&mut state, 0, true, |cpu| cpu == 0), "kicked");
            assert!(
                !desk.park(&mut state, 0, true, |_| false),
                "the other is off"
            );
            state.power[1] = Power::On;
            assert!(desk.park(&mut state, 0, true, |_| false));
            assert!(!desk.park(&mut state, 1, true, |_| false));
            assert!(desk.park(&mut state, 1, false, |_| false));
            assert!(desk.park(&mut state, 0, true, |_| false));
        });
    }

    #[test]
    fn who_needs_the_outside_gets_it_from_a_watcher_that_waits() {
        with_desk(|desk| {
            std::thread::scope(|scope| {
                let watcher = scope.spawn(|| {
                    let mut outside = desk.outside_at_leisure();
                    // Without a time-out: only the other thread ends it.
                    desk.watch(&mut outside, 0, None, false).unwrap()
                });
                while !desk.watcher_waits.load(Ordering::SeqCst) {
                    std::thread::yield_now();
                }
                drop(desk.outside());
                assert_eq!(watcher.join().unwrap(), 0);
            });
        });
    }

    #[test]
    fn a_kick_makes_a_running_vcpu_leave_and_wakes_one_that_sleeps() {
        with_desk(|desk| {
            // SAFETY: the flag outlives the timer. With it there is a handler for kicks.
            let timer = unsafe { kick::KickTimer::new(desk.immediate_exit(0).as_ptr()) };
            let _timer = timer.unwrap();
            desk.sit_down(0);
            desk.kick(1);
            assert_eq!(desk.immediate_exit(0).load(Ordering::SeqCst), 1);
            std::thread::scope(|scope| {
                let sleeper = scope.spawn(|| drop(desk.wait_for_change(1, desk.state())));
                while !desk.state().asleep[1] {
                    std::thread::yield_now();
                }
                desk.kick(2);
                sleeper.join().unwrap();
            });
        });
    }
}

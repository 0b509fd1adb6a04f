//! One vCPU's thread: into the guest, and out of it for a request, a tick or a kick.

use std::sync::atomic::Ordering;
use std::time::Duration;

use kvm_bindings::{CpuId, KVM_EXIT_EXCEPTION, KVM_EXIT_INTERNAL_ERROR};
use kvm_ioctls::{VcpuExit, VcpuFd};
use sprout_abi::hypercall::{event, kick_flags, wait_flags};
use sprout_abi::layout::{DOORBELL_PORT, PREEMPT_VECTOR};

use super::desk::{Desk, Look, Power, SIGNALS};
use crate::backend::Ready;
use crate::clock::GuestClock;
use crate::hypercall::{self, Outcome, Request, Wait};
use crate::kernel::Kernel;
use crate::kick::{KickTimer, TICK};
use crate::memory::GuestMemory;
use crate::symbols::Symbols;
use crate::vcpu;
use crate::vm::{Stop, VmError};

/// How soon to look again at a vCPU that was found going back into a program: a little more than it
/// takes to go on with it.
const AGAIN: Duration = Duration::from_micros(50);

/// What the threads of one guest read.
#[derive(Clone, Copy)]
pub struct Guest<'a, 'b> {
    /// Its memory.
    pub memory: &'a GuestMemory,
    /// Its clock.
    pub clock: &'a GuestClock,
    /// CPUID of its vCPUs.
    pub cpuid: &'a CpuId,
    /// Names addresses in reports, if it is the sentry this guest runs.
    pub kernel: Option<&'a Kernel>,
    /// The `build_id` of that sentry, where it is known.
    pub sentry: Option<&'a str>,
    /// Where the threads meet.
    pub desk: &'a Desk<'b>,
}

impl<'a> Guest<'a, '_> {
    /// The kernel, unless this guest is known to run another one. Costs as much as a small answer:
    /// only for reports.
    fn named_by(&self) -> Option<&'a Kernel> {
        self.kernel
            .filter(|kernel| self.sentry.is_none_or(|id| id == kernel.build_id()))
    }
}

/// One exit of the vCPU, without the borrow of its `kvm_run`.
enum Exit {
    Doorbell(u64),
    Interrupted,
    WindowOpen,
    Unexpected(String),
}

/// What the watcher came back with.
enum Seen {
    Events(u64),
    Stop,
}

/// A vCPU on its thread.
struct Runner<'a, 'b> {
    cpu: usize,
    vcpu: &'a mut VcpuFd,
    guest: Guest<'a, 'b>,
    timer: KickTimer,
    /// How soon to look at the vCPU again, because it was just going back into a program.
    again: Option<Duration>,
    /// When a tick last looked at the outside, by the guest's clock.
    looked_ns: u64,
}

/// Ends the run when its thread panics: the others would wait for it for ever.
struct EndOnPanic<'a, 'b>(&'a Desk<'b>);

impl Drop for EndOnPanic<'_, '_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.end(Err(VmError::Unfinished));
        }
    }
}

/// Runs vCPU `cpu` on this thread until the run ends; the desk knows how.
pub fn run(cpu: usize, vcpu: &mut VcpuFd, guest: Guest<'_, '_>) {
    let desk = guest.desk;
    let _others = EndOnPanic(desk);
    // SAFETY: the flag lives as long as the desk; the timer is dropped before, on this thread.
    let timer = unsafe { KickTimer::new(desk.immediate_exit(cpu).as_ptr()) };
    let result = timer
        .map_err(VmError::io("create the preemption timer"))
        .and_then(|timer| {
            // With the timer there is a handler for kicks.
            desk.sit_down(cpu);
            let mut runner = Runner {
                cpu,
                vcpu,
                guest,
                timer,
                again: None,
                looked_ns: 0,
            };
            runner.run()
        });
    match result {
        Ok(Some(stop)) => desk.end(Ok(stop)),
        Ok(None) => {}
        Err(error) => desk.end(Err(error)),
    }
    // What ended the run may have left it set.
    desk.immediate_exit(cpu).store(0, Ordering::SeqCst);
}

impl Runner<'_, '_> {
    /// `None`: another thread ended the run.
    fn run(&mut self) -> Result<Option<Stop>, VmError> {
        let Some(wait) = self.start()? else {
            return Ok(None);
        };
        if let Some(wait) = wait
            && !self.idle(wait)?
        {
            return Ok(None);
        }
        self.arm()?;
        loop {
            match self.enter()? {
                Exit::Doorbell(gpa) => match self.request(gpa)? {
                    Outcome::Resume => {}
                    Outcome::Wait(wait) => {
                        if !self.idle(wait)? {
                            return Ok(None);
                        }
                    }
                    Outcome::Kick { mask, flags } => {
                        if flags != 0 {
                            self.tick_asked(flags)?;
                        }
                        if mask != 0 || flags == 0 {
                            self.guest.desk.kick(mask);
                            // Where threads share a processor, the kicked one gets it.
                            std::thread::yield_now();
                        }
                    }
                    Outcome::Start { .. } => {}
                    Outcome::Exit { status, signal } => {
                        return Ok(Some(Stop::Exited { status, signal }));
                    }
                    Outcome::Panic { message, frames } => {
                        let report = panic_report(&message, &frames, self.guest.named_by());
                        return Ok(Some(Stop::Panicked(report)));
                    }
                },
                Exit::Interrupted => {
                    self.tick()?;
                    if self.guest.desk.count() > 1 && self.guest.desk.state().end.is_some() {
                        return Ok(None);
                    }
                }
                Exit::WindowOpen => {
                    self.preempt(None)?;
                    self.plan()?;
                }
                Exit::Unexpected(reason) => return Err(self.stopped(reason)),
            }
        }
    }

    /// Waits until the guest has this vCPU run; the wait it is in, if any. `None`: the run is over.
    fn start(&mut self) -> Result<Option<Option<Wait>>, VmError> {
        let desk = self.guest.desk;
        let mut state = desk.state();
        loop {
            if state.end.is_some() {
                return Ok(None);
            }
            match state.power[self.cpu] {
                Power::On => return Ok(Some(state.waits[self.cpu])),
                Power::Off => state = desk.wait_for_change(self.cpu, state),
                Power::Asked { entry, root } => {
                    state.power[self.cpu] = Power::On;
                    drop(state);
                    vcpu::boot::set_registers(self.vcpu, self.guest.cpuid, entry, root)
                        .map_err(VmError::kvm("set the first registers"))?;
                    return Ok(Some(None));
                }
            }
        }
    }

    fn arm(&mut self) -> Result<(), VmError> {
        let armed = self.timer.arm();
        armed.map_err(VmError::io("arm the preemption timer"))?;
        self.plan()
    }

    /// The timer ticks: sees to it that the next tick comes by the guest's next timer, unless
    /// somebody else looks at the clock by then.
    fn plan(&mut self) -> Result<(), VmError> {
        let Guest { memory, clock, .. } = self.guest;
        let shared = memory.shared();
        let tick = &shared.cpus[self.cpu].tick_ns;
        let now = clock.now();
        let latest = now.saturating_add(TICK.as_nanos() as u64);
        // In this order: the guest sets a timer, then looks at this.
        tick.store(latest, Ordering::SeqCst);
        let due = shared.next_timer_ns.load(Ordering::SeqCst);
        let mut first = self.again;
        if (now..latest).contains(&due) && !shared.is_watched(due, self.cpu) {
            tick.store(due, Ordering::SeqCst);
            let left = due - now;
            // The host's clock and the guest's are not quite the same.
            let left = Duration::from_nanos(left + left / 1024);
            first = Some(first.map_or(left, |again| again.min(left)));
        }
        match first {
            Some(first) => self
                .timer
                .arm_for(first)
                .map_err(VmError::io("arm the preemption timer")),
            None => Ok(()),
        }
    }

    /// The guest wants a tick before the next one is due. Flags: `kick_flags`.
    fn tick_asked(&mut self, flags: u64) -> Result<(), VmError> {
        let Guest { memory, clock, .. } = self.guest;
        let shared = memory.shared();
        if flags & kick_flags::SOON != 0 {
            self.again = Some(AGAIN);
        } else if clock.now() >= shared.next_timer_ns.load(Ordering::Relaxed) {
            let own = &shared.cpus[self.cpu];
            own.preempt_pending.store(1, Ordering::Relaxed);
            return Ok(());
        }
        self.plan()
    }

    /// No tick is to be counted on from now on.
    fn stop_ticks(&self) {
        let own = &self.guest.memory.shared().cpus[self.cpu];
        own.tick_ns.store(u64::MAX, Ordering::SeqCst);
    }

    fn disarm(&mut self) -> Result<(), VmError> {
        let disarmed = self.timer.disarm();
        disarmed.map_err(VmError::io("disarm the preemption timer"))
    }

    fn request(&mut self, gpa: u64) -> Result<Outcome, VmError> {
        let Guest {
            memory,
            clock,
            desk,
            ..
        } = self.guest;
        let outcome = match hypercall::parse(memory, gpa) {
            Ok(Request::Done(outcome)) => Ok(outcome),
            Ok(Request::Outside(call)) => {
                let mut outside = desk.outside();
                let outside = &mut *outside;
                call.carry_out(clock, &mut outside.interest, outside.backend)
            }
            Err(error) => Err(error),
        };
        let outcome = outcome.map_err(|error| self.stopped(error.to_string()))?;
        let result = match outcome {
            Outcome::Kick { .. } => 0,
            Outcome::Start { cpu, entry, root } if desk.start(cpu, entry, root) => 0,
            Outcome::Start { .. } => -i64::from(libc::EINVAL),
            _ => return Ok(outcome),
        };
        hypercall::complete(memory, gpa, result)?;
        Ok(outcome)
    }

    fn enter(&mut self) -> Result<Exit, VmError> {
        let exit = match self.vcpu.run() {
            Ok(VcpuExit::IoOut(DOORBELL_PORT, data)) => match <[u8; 4]>::try_from(data) {
                Ok(value) => Exit::Doorbell(u64::from(u32::from_le_bytes(value))),
                Err(_) => Exit::Unexpected("a doorbell write that is not 32 bits wide".into()),
            },
            Ok(VcpuExit::IoOut(port, _)) => Exit::Unexpected(format!("output to port {port:#x}")),
            Ok(VcpuExit::IoIn(port, _)) => Exit::Unexpected(format!("input from port {port:#x}")),
            Ok(VcpuExit::MmioRead(gpa, _)) => {
                Exit::Unexpected(format!("read of guest-physical {gpa:#x}, where nothing is"))
            }
            Ok(VcpuExit::MmioWrite(gpa, _)) => Exit::Unexpected(format!(
                "write to guest-physical {gpa:#x}, which is read-only or where nothing is"
            )),
            Ok(VcpuExit::IrqWindowOpen) => Exit::WindowOpen,
            Ok(VcpuExit::Intr) => Exit::Interrupted,
            Ok(VcpuExit::Hlt) => Exit::Unexpected("the sentry halted the processor".into()),
            Ok(VcpuExit::Shutdown) => {
                Exit::Unexpected("triple fault (an exception the sentry could not take)".into())
            }
            Ok(VcpuExit::FailEntry(reason, cpu)) => Exit::Unexpected(format!(
                "KVM could not enter the guest: {reason:#x}, CPU {cpu}"
            )),
            Ok(VcpuExit::InternalError) => Exit::Unexpected(self.internal_error()),
            Ok(other) => Exit::Unexpected(format!("unexpected exit: {other:?}")),
            Err(error) => match error.errno() {
                libc::EINTR => Exit::Interrupted,
                libc::EAGAIN => Exit::Interrupted,
                libc::EFAULT => Exit::Unexpected(
                    "KVM could not reach the host memory behind a guest page (file truncated, or \
                     out of memory?)"
                        .into(),
                ),
                _ => return Err(VmError::kvm("run the vCPU")(error)),
            },
        };
        Ok(exit)
    }

    fn internal_error(&mut self) -> String {
        let run = self.vcpu.get_kvm_run();
        debug_assert!(matches!(
            run.exit_reason,
            KVM_EXIT_INTERNAL_ERROR | KVM_EXIT_EXCEPTION
        ));
        // SAFETY: for this exit reason KVM filled the `internal` member; all bits are valid.
        let internal = unsafe { run.__bindgen_anon_1.internal };
        let count = (internal.ndata as usize).min(internal.data.len());
        format!(
            "KVM internal error {} (1: an instruction it can't emulate), data {:x?}",
            internal.suberror,
            &internal.data[..count]
        )
    }

    /// Lets the vCPU wait. False: the run is over, and it still waits.
    fn idle(&mut self, wait: Wait) -> Result<bool, VmError> {
        let Guest { memory, desk, .. } = self.guest;
        let shared = memory.shared();
        let kicked = |cpu: usize| shared.cpus[cpu].kick.load(Ordering::SeqCst) != 0;
        let parked = wait.flags & wait_flags::PARK != 0;
        // Before the watcher looks at the clock again.
        self.stop_ticks();
        let mut state = desk.state();
        if !parked {
            desk.arrive(&mut state, self.cpu, wait);
        } else {
            if !desk.park(&mut state, self.cpu, true, kicked) {
                drop(state);
                return Err(self.stopped("every vCPU waits for another one".into()));
            }
        }
        let events = loop {
            if state.end.is_some() {
                drop(state);
                self.disarm()?;
                return Ok(false);
            }
            if desk.count() > 1 && kicked(self.cpu) {
                break 0;
            }
            if !parked {
                let pending = shared.events.swap(0, Ordering::Relaxed);
                if pending != 0 {
                    break pending.into();
                }
                if let Some(look) = desk.take_watch(&mut state, self.cpu, kicked) {
                    drop(state);
                    let due = shared.next_timer_ns.load(Ordering::Relaxed);
                    let seen = self.watch(look, wait.deadline)?;
                    state = desk.state();
                    let timer = matches!(seen, Seen::Events(seen) if seen & event::TIMER != 0);
                    desk.end_watch(&mut state, timer.then_some(due));
                    match seen {
                        Seen::Events(0) => continue,
                        Seen::Events(events) => break events,
                        Seen::Stop => {
                            drop(state);
                            desk.end(Ok(Stop::Ready));
                            return Ok(false);
                        }
                    }
                }
            }
            self.disarm()?;
            state = desk.wait_for_change(self.cpu, state);
        };
        if parked {
            desk.park(&mut state, self.cpu, false, |_| false);
        } else {
            desk.leave(&mut state, self.cpu, events);
        }
        drop(state);
        hypercall::complete(memory, wait.request, events.cast_signed())?;
        self.arm()?;
        Ok(true)
    }

    /// Watches the outside and the clock for all idle vCPUs.
    fn watch(&mut self, look: Look, deadline: u64) -> Result<Seen, VmError> {
        let Guest {
            memory,
            clock,
            desk,
            ..
        } = self.guest;
        let shared = memory.shared();
        let several = desk.count() > 1;
        let mut outside = desk.outside_at_leisure();
        if look.ready && outside.backend.ready() == Ready::Stop {
            drop(outside);
            self.disarm()?;
            return Ok(Seen::Stop);
        }
        // While the watcher has the outside, it watches for what those that run have asked for, too.
        let wanted = match look.alone {
            true => look.wanted,
            false => look.wanted | outside.interest.0,
        };
        let look_again = VmError::io("look for events");
        let mut events = (outside.backend)
            .wait(wanted, Some(Duration::ZERO), None)
            .map_err(look_again)?;
        // Of several vCPUs another one may have changed the timers since this one became idle.
        let timer = || match several {
            true => shared.next_timer_ns.load(Ordering::SeqCst),
            false => deadline,
        };
        let mut due = timer();
        if events == 0 {
            let grace = look.just_woken_for(due).filter(|_| several);
            if clock.now() < due || grace.is_some() {
                self.disarm()?;
                if several {
                    shared.watched_ns.store(due, Ordering::SeqCst);
                    due = timer().min(due);
                }
                let timeout = grace.or_else(|| clock.until(due));
                events = desk
                    .watch(&mut outside, wanted, timeout, look.alone)
                    .map_err(VmError::io("wait for events"))?;
                shared.watched_ns.store(0, Ordering::SeqCst);
                if several && events == 0 {
                    due = timer();
                }
            }
            if clock.now() >= due && look.just_woken_for(due).filter(|_| several).is_none() {
                events |= event::TIMER;
            }
        } else if clock.now() >= due {
            events |= event::TIMER;
        }
        outside.interest.0 &= !events;
        Ok(Seen::Events(events))
    }

    /// The vCPU was kicked out: see whether something waits for it.
    fn tick(&mut self) -> Result<(), VmError> {
        let Guest {
            memory,
            clock,
            desk,
            ..
        } = self.guest;
        let again = self.again.take();
        // Before the flags are looked at: who sets one afterwards sets this again.
        desk.immediate_exit(self.cpu).store(0, Ordering::SeqCst);
        let now = clock.now();
        let mut events = 0;
        // Otherwise the watcher waits for the same. What comes between two ticks is not about it.
        if now.saturating_sub(self.looked_ns) >= TICK.as_nanos() as u64 / 2
            && let Some(mut outside) = desk.outside_now()
        {
            self.looked_ns = now;
            let wanted = outside.interest.0 | SIGNALS;
            events = (outside.backend)
                .wait(wanted, Some(Duration::ZERO), None)
                .map_err(VmError::io("look for events"))?;
            outside.interest.0 &= !events;
        }
        let shared = memory.shared();
        let own = &shared.cpus[self.cpu];
        // Event bits fit 32 bits (the shared page's field).
        let pending = shared.events.fetch_or(events as u32, Ordering::Relaxed) | events as u32;
        let timer_due = clock.now() >= shared.next_timer_ns.load(Ordering::Relaxed);
        let wanted = own.preempt_wanted.load(Ordering::Relaxed) != 0
            || own.preempt_pending.load(Ordering::Relaxed) != 0
            || own.kick.load(Ordering::SeqCst) != 0;
        if wanted || timer_due || pending != 0 {
            self.preempt(again)?;
        }
        self.plan()
    }

    /// Interrupts ring 3, or tells the sentry to look before it returns there. `last`: how long ago
    /// this found the vCPU on its way there.
    fn preempt(&mut self, last: Option<Duration>) -> Result<(), VmError> {
        let rip = self
            .vcpu
            .get_regs()
            .map_err(VmError::kvm("read the registers"))?
            .rip;
        let own = &self.guest.memory.shared().cpus[self.cpu];
        let run = self.vcpu.get_kvm_run();
        if rip >> 63 != 0 {
            run.request_interrupt_window = 0;
            own.preempt_pending.store(1, Ordering::Relaxed);
            if own.returning.load(Ordering::Relaxed) != 0 {
                // It may not look any more. Longer each time, so that it gets on.
                self.again = Some(last.map_or(AGAIN, |last| (2 * last).min(TICK)));
            }
        } else if run.ready_for_interrupt_injection != 0 && run.if_flag != 0 {
            run.request_interrupt_window = 0;
            own.preempt_pending.store(0, Ordering::Relaxed);
            vcpu::interrupt(self.vcpu, PREEMPT_VECTOR)
                .map_err(VmError::io("inject the preemption interrupt"))?;
        } else {
            run.request_interrupt_window = 1;
        }
        Ok(())
    }

    fn stopped(&self, reason: String) -> VmError {
        let symbols = self.guest.named_by().map(Symbols::of);
        let registers = vcpu::report::describe(self.vcpu, self.guest.memory, symbols.as_ref());
        VmError::Stopped { reason, registers }
    }
}

fn panic_report(message: &str, frames: &[u64], kernel: Option<&Kernel>) -> String {
    // A return address points behind the call it belongs to.
    let calls: Vec<u64> = frames
        .iter()
        .map(|address| address.saturating_sub(1))
        .collect();
    let backtrace = match kernel {
        Some(kernel) => Symbols::of(kernel).backtrace(&calls),
        None => format!("  {calls:#x?}\n"),
    };
    format!("sentry panic: {}\n{backtrace}", message.trim_end())
}

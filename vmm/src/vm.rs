//! A VM with its guest, and the loop that runs it.

use std::io;
use std::sync::atomic::Ordering;

use kvm_bindings::{KVM_EXIT_EXCEPTION, KVM_EXIT_INTERNAL_ERROR};
use kvm_ioctls::{Kvm, VcpuExit};
use sprout_abi::hypercall::{event, wait_flags};
use sprout_abi::layout::{DOORBELL_PORT, PREEMPT_VECTOR};

use crate::backend::{Backend, Ready};
use crate::boot::BootError;
use crate::clock::GuestClock;
use crate::host::HostError;
use crate::hypercall::{self, Interest, Outcome, Wait};
use crate::isolation::PrivilegeMode;
use crate::kernel::{Kernel, KernelError};
use crate::kick::KickTimer;
use crate::memory::{GuestMemory, MemoryError};
use crate::shell::Shell;
use crate::snapshot::SnapshotError;
use crate::symbols::Symbols;
use crate::vcpu::{self, state::StateError};

/// Signals are passed to the guest whether it asked or not.
const SIGNALS: u64 = event::SIGNAL;

/// Why a VM could not be made or run.
#[derive(Debug, thiserror::Error)]
pub enum VmError {
    /// The host can't run VMs.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The sentry's file is unusable.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// Memory could not be set up.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// The guest could not be loaded.
    #[error(transparent)]
    Boot(#[from] BootError),
    /// vCPU state could not be read or set.
    #[error(transparent)]
    State(#[from] StateError),
    /// A snapshot could not be written or restored.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// A KVM call failed.
    #[error("cannot {action}: {cause}")]
    Kvm {
        /// What was tried.
        action: &'static str,
        /// KVM's reason.
        cause: kvm_ioctls::Error,
    },
    /// The host has no random numbers.
    #[error("the host's random number generator failed: {0}")]
    Entropy(getrandom::Error),
    /// A system call of the VMM failed.
    #[error("cannot {action}: {cause}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The system's reason.
        cause: io::Error,
    },
    /// The guest broke the contract or crashed; the text names its registers.
    #[error("the guest stopped: {reason}\n{registers}")]
    Stopped {
        /// What happened.
        reason: String,
        /// Registers and backtrace.
        registers: String,
    },
}

impl VmError {
    /// Wraps the error of a KVM call.
    pub(crate) fn kvm(action: &'static str) -> impl FnOnce(kvm_ioctls::Error) -> Self {
        move |cause| Self::Kvm { action, cause }
    }

    /// Wraps the error of a system call.
    pub(crate) fn io(action: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |cause| Self::Io { action, cause }
    }
}

/// Why [`Vm::run`] returned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The program ended.
    Exited {
        /// Exit status.
        status: u8,
        /// The signal that killed it, or 0.
        signal: u8,
    },
    /// The sentry panicked; message and symbolised backtrace.
    Panicked(String),
    /// The guest waits for a request and the backend wanted to stop there.
    Ready,
}

impl Stop {
    /// The exit status a shell would show: 128 + signal for a killed program.
    pub fn shell_status(&self) -> u8 {
        match self {
            Self::Exited { status, signal: 0 } => *status,
            Self::Exited { signal, .. } => 128u8.saturating_add(*signal),
            Self::Panicked(_) => 125,
            Self::Ready => 0,
        }
    }
}

/// One exit of the vCPU, without the borrow of its `kvm_run`.
enum Exit {
    Doorbell(u64),
    Interrupted,
    WindowOpen,
    Unexpected(String),
}

/// A guest on its VM.
///
/// Field order is drop order: the vCPU and VM close before the memory they use is unmapped.
#[derive(Debug)]
pub struct Vm {
    pub(crate) shell: Shell,
    pub(crate) memory: GuestMemory,
    pub(crate) clock: GuestClock,
    /// Set while the guest is idle: its request is to be completed.
    pub(crate) waiting: Option<Wait>,
    /// Mount points of the images, in slot order.
    pub(crate) mounts: Vec<String>,
    /// How often this guest's line was restored.
    pub(crate) generation: u64,
    /// Whether the sentry was asked to keep page tables of its own.
    pub(crate) strict: bool,
    /// Build id of the sentry in a restored guest.
    pub(crate) sentry: Option<String>,
    interest: Interest,
}

impl Vm {
    pub(crate) fn new(
        shell: Shell,
        memory: GuestMemory,
        clock: GuestClock,
        mounts: Vec<String>,
    ) -> Self {
        let interest = Interest::default();
        Self {
            shell,
            memory,
            clock,
            waiting: None,
            mounts,
            generation: 0,
            strict: false,
            sentry: None,
            interest,
        }
    }

    /// Guest memory.
    pub fn memory(&self) -> &GuestMemory {
        &self.memory
    }

    /// How the sentry runs: what it reported, but not more than can be here. Beside the sentry, a
    /// program can write the page it reports on.
    pub fn privilege_mode(&self) -> PrivilegeMode {
        let reported = PrivilegeMode::from_abi(self.memory.privilege_mode());
        self.shell
            .expected_mode(self.strict)
            .min(reported.unwrap_or(PrivilegeMode::Ring3))
    }

    /// Ends the VM; what is left is the open device, for another one.
    pub fn into_kvm(self) -> Kvm {
        self.shell.kvm
    }

    /// Monotonic time in the guest.
    pub fn guest_time(&self) -> std::time::Duration {
        std::time::Duration::from_nanos(self.clock.now())
    }

    /// KVM's counters of the vCPU.
    pub fn counters(&self) -> Vec<(String, u64)> {
        crate::stats::vcpu_counters(&self.shell.vcpu).unwrap_or_default()
    }

    /// Runs the guest until it ends or is [`Stop::Ready`]; after the latter, `run` goes on.
    ///
    /// `kernel` names addresses in reports, if it is the sentry this guest runs; for a restored
    /// guest that is found out only when there is something to report.
    pub fn run(
        &mut self,
        kernel: Option<&Kernel>,
        backend: &mut dyn Backend,
    ) -> Result<Stop, VmError> {
        let immediate_exit = &raw mut self.shell.vcpu.get_kvm_run().immediate_exit;
        // SAFETY: `kvm_run` stays mapped while `self.shell.vcpu` lives; the timer is dropped at the
        // end of this function, on this thread.
        let timer = unsafe { KickTimer::new(immediate_exit) };
        let mut timer = timer.map_err(VmError::io("create the preemption timer"))?;
        if let Some(wait) = self.waiting.take()
            && self.idle(wait, &mut timer, backend)?
        {
            return Ok(Stop::Ready);
        }
        timer
            .arm()
            .map_err(VmError::io("arm the preemption timer"))?;
        loop {
            match self.enter()? {
                Exit::Doorbell(gpa) => {
                    let memory = &self.memory;
                    let outcome =
                        hypercall::handle(memory, gpa, &self.clock, &mut self.interest, backend)
                            .map_err(|error| self.stopped(error.to_string(), kernel))?;
                    match outcome {
                        Outcome::Resume => {}
                        Outcome::Wait(wait) => {
                            if self.idle(wait, &mut timer, backend)? {
                                return Ok(Stop::Ready);
                            }
                        }
                        Outcome::Exit { status, signal } => {
                            return Ok(Stop::Exited { status, signal });
                        }
                        Outcome::Panic { message, frames } => {
                            return Ok(Stop::Panicked(panic_report(
                                &message,
                                &frames,
                                self.named_by(kernel),
                            )));
                        }
                    }
                }
                Exit::Interrupted => self.tick(backend)?,
                Exit::WindowOpen => self.preempt()?,
                Exit::Unexpected(reason) => return Err(self.stopped(reason, kernel)),
            }
        }
    }

    fn enter(&mut self) -> Result<Exit, VmError> {
        let exit = match self.shell.vcpu.run() {
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

    /// Completes the port write the guest stopped at, without running the guest any further:
    /// before that its registers are not final.
    pub(crate) fn finish_exit(&mut self) -> Result<(), VmError> {
        self.shell.vcpu.set_kvm_immediate_exit(1);
        let result = self.shell.vcpu.run().map(|_| ());
        self.shell.vcpu.set_kvm_immediate_exit(0);
        match result {
            Err(error) if error.errno() == libc::EINTR => Ok(()),
            Err(error) => Err(VmError::kvm("complete the guest's port write")(error)),
            Ok(()) => Err(VmError::Kvm {
                action: "complete the guest's port write",
                cause: kvm_ioctls::Error::new(libc::EBUSY),
            }),
        }
    }

    fn internal_error(&mut self) -> String {
        let run = self.shell.vcpu.get_kvm_run();
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

    /// Lets the guest wait; true when the backend wants to stop instead.
    fn idle(
        &mut self,
        wait: Wait,
        timer: &mut KickTimer,
        backend: &mut dyn Backend,
    ) -> Result<bool, VmError> {
        if wait.flags & wait_flags::READY != 0 && backend.ready() == Ready::Stop {
            timer
                .disarm()
                .map_err(VmError::io("disarm the preemption timer"))?;
            self.waiting = Some(wait);
            return Ok(true);
        }
        let wanted = wait.wanted | SIGNALS;
        let pending = u64::from(self.memory.shared().events.swap(0, Ordering::Relaxed));
        let mut events = pending | self.poll_backend(backend, wanted, Some(0))?;
        if events == 0 && self.clock.now() < wait.deadline {
            timer
                .disarm()
                .map_err(VmError::io("disarm the preemption timer"))?;
            while events == 0 && self.clock.now() < wait.deadline {
                let timeout = self.clock.until(wait.deadline);
                events = backend
                    .wait(wanted, timeout)
                    .map_err(VmError::io("wait for events"))?;
            }
            timer
                .arm()
                .map_err(VmError::io("arm the preemption timer"))?;
        }
        if self.clock.now() >= wait.deadline {
            events |= event::TIMER;
        }
        self.interest.0 &= !events;
        hypercall::complete(&self.memory, wait.request, events.cast_signed())?;
        Ok(false)
    }

    fn poll_backend(
        &self,
        backend: &mut dyn Backend,
        wanted: u64,
        nanoseconds: Option<u64>,
    ) -> Result<u64, VmError> {
        let timeout = nanoseconds.map(std::time::Duration::from_nanos);
        backend
            .wait(wanted, timeout)
            .map_err(VmError::io("look for events"))
    }

    /// The guest was kicked out: see whether something waits for it.
    fn tick(&mut self, backend: &mut dyn Backend) -> Result<(), VmError> {
        self.shell.vcpu.set_kvm_immediate_exit(0);
        let events = self.poll_backend(backend, self.interest.0 | SIGNALS, Some(0))?;
        self.interest.0 &= !events;
        let shared = self.memory.shared();
        // Event bits fit 32 bits (the shared page's field).
        let pending = shared.events.fetch_or(events as u32, Ordering::Relaxed) | events as u32;
        let timer_due = self.clock.now() >= shared.next_timer_ns.load(Ordering::Relaxed);
        let wanted = shared.preempt_wanted.load(Ordering::Relaxed) != 0;
        if wanted || timer_due || pending != 0 {
            self.preempt()
        } else {
            Ok(())
        }
    }

    /// Interrupts ring 3, or tells the sentry to look before it returns there.
    fn preempt(&mut self) -> Result<(), VmError> {
        let rip = self
            .shell
            .vcpu
            .get_regs()
            .map_err(VmError::kvm("read the registers"))?
            .rip;
        let run = self.shell.vcpu.get_kvm_run();
        if rip >> 63 != 0 {
            run.request_interrupt_window = 0;
            self.memory
                .shared()
                .preempt_pending
                .store(1, Ordering::Relaxed);
        } else if run.ready_for_interrupt_injection != 0 && run.if_flag != 0 {
            run.request_interrupt_window = 0;
            vcpu::interrupt(&self.shell.vcpu, PREEMPT_VECTOR)
                .map_err(VmError::io("inject the preemption interrupt"))?;
        } else {
            run.request_interrupt_window = 1;
        }
        Ok(())
    }

    /// `kernel`, unless this guest is known to run another sentry.
    fn named_by<'k>(&self, kernel: Option<&'k Kernel>) -> Option<&'k Kernel> {
        kernel.filter(|kernel| {
            self.sentry
                .as_ref()
                .is_none_or(|id| *id == kernel.build_id())
        })
    }

    fn stopped(&self, reason: String, kernel: Option<&Kernel>) -> VmError {
        let symbols = self.named_by(kernel).map(Symbols::of);
        let registers = vcpu::report::describe(&self.shell.vcpu, &self.memory, symbols.as_ref());
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

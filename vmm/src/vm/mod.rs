//! A VM with its guest, and what may be done with it when:
//!
//! ```text
//! Shell ── boot ─────────────────────────────► Vm ── run ──► Exited, Panicked, or an error: its end
//!   │                                         ▲  │
//!   │                     resume (a copy's    │  │ run ──► Ready; then `waiting`
//!   │                     first moment),      │  ▼
//!   └─ prepare (from ─────────────────────► Waiting ── snapshot ──► Waiting
//!      a snapshot)        go_on                  ▲
//!                                                └─ rewind of a Vm that is Ready
//! ```
//!
//! A [`Shell`] has no guest yet. A [`Vm`] has one that runs, or may. In a [`Waiting`] all vCPUs are in
//! a WAIT, and the guest is ready for a request: only then a snapshot can be taken, and only of it
//! copies are made. Each step takes the VM and gives back what it has become, so that nothing is done
//! to a guest in the wrong state. Waits end in one way ([`Wait::end`]).

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::AtomicU8;

use kvm_ioctls::Kvm;

use crate::backend::Backend;
use crate::boot::kernel::Kernel;
use crate::clock::GuestClock;
pub use crate::error::VmError;
use crate::host::isolation::PrivilegeMode;
use crate::hypercall::Wait;
use crate::memory::GuestMemory;
use crate::vcpu::desk::{Desk, Power};
use crate::vcpu::run::{self, Guest};
use crate::vm::shell::Shell;

mod serial;
pub mod shell;
mod waiting;

pub(crate) use serial::SerialPort;
pub use waiting::{Instance, Waiting};

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

/// A guest on its VM, between two runs.
///
/// Field order is drop order: the vCPU and VM close before the memory they use is unmapped.
#[derive(Debug)]
pub struct Vm {
    pub(crate) shell: Shell,
    pub(crate) memory: GuestMemory,
    pub(crate) clock: GuestClock,
    /// The wait of each vCPU that is idle: its request is to be completed.
    pub(crate) waiting: Vec<Option<Wait>>,
    /// The vCPUs after the first run, too.
    pub(crate) started: bool,
    /// Mount points of the images, in slot order.
    pub(crate) mounts: Vec<String>,
    /// How often this guest's line was restored.
    pub(crate) generation: u64,
    /// Whether the sentry was asked to keep page tables of its own.
    pub(crate) strict: bool,
    /// Build id of the sentry in a restored guest.
    pub(crate) sentry: Option<String>,
    serial: Option<SerialPort>,
}

impl Vm {
    pub(crate) fn new(
        shell: Shell,
        memory: GuestMemory,
        clock: GuestClock,
        mounts: Vec<String>,
    ) -> Self {
        let waiting = vec![None; shell.vcpus().count()];
        Self {
            shell,
            memory,
            clock,
            waiting,
            started: false,
            mounts,
            generation: 0,
            strict: false,
            sentry: None,
            serial: None,
        }
    }

    /// Gives the guest a serial port (COM1) that writes to `out`.
    pub fn attach_serial(&mut self, out: Box<dyn Write + Send>) {
        self.serial = Some(SerialPort::new(out));
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

    /// The open device, for another VM: a jailed worker can't open it again.
    pub fn kvm(&self) -> Arc<Kvm> {
        self.shell.kvm.clone()
    }

    /// Monotonic time in the guest.
    pub fn guest_time(&self) -> std::time::Duration {
        std::time::Duration::from_nanos(self.clock.now())
    }

    /// KVM's counters, those of all vCPUs added up.
    pub fn counters(&self) -> Vec<(String, u64)> {
        let mut sums: Vec<(String, u64)> = Vec::new();
        for vcpu in self.shell.vcpus() {
            for (name, value) in crate::host::stats::vcpu_counters(vcpu).unwrap_or_default() {
                match sums.iter_mut().find(|(known, _)| *known == name) {
                    Some((_, sum)) => *sum += value,
                    None => sums.push((name, value)),
                }
            }
        }
        sums
    }

    /// Runs the guest until it ends or is [`Stop::Ready`]; after the latter, `run` goes on, and
    /// [`Self::waiting`] holds it there.
    ///
    /// `kernel` names addresses in reports, if it is the sentry this guest runs; for a restored
    /// guest that is found out only when there is something to report.
    pub fn run(
        &mut self,
        kernel: Option<&Kernel>,
        backend: &mut dyn Backend,
    ) -> Result<Stop, VmError> {
        let immediate_exit = self
            .shell
            .vcpus_mut()
            // SAFETY: `kvm_run` stays mapped while the vCPU lives, longer than the desk; this byte is
            // there to be written by other threads and signal handlers.
            .map(|vcpu| unsafe { AtomicU8::from_ptr(&raw mut vcpu.get_kvm_run().immediate_exit) })
            .collect();
        let power = (0..self.waiting.len())
            .map(|cpu| match cpu == 0 || self.started {
                true => Power::On,
                false => Power::Off,
            })
            .collect();
        let waits = std::mem::take(&mut self.waiting);
        let desk = Desk::new(immediate_exit, waits, power, backend)
            .map_err(VmError::io("make the vCPUs' meeting point"))?;
        let guest = Guest {
            memory: &self.memory,
            clock: &self.clock,
            cpuid: &self.shell.cpuid,
            kernel,
            sentry: self.sentry.as_deref(),
            serial: self.serial.as_ref(),
            desk: &desk,
        };
        let (first, others) = (&mut self.shell.vcpu, &mut self.shell.others);
        std::thread::scope(|scope| {
            for (vcpu, cpu) in others.iter_mut().zip(1..) {
                let thread = std::thread::Builder::new().name(format!("vcpu{cpu}"));
                if let Err(cause) = thread.spawn_scoped(scope, move || run::run(cpu, vcpu, guest)) {
                    let action = "start a vCPU's thread";
                    desk.end(Err(VmError::Io { action, cause }));
                    return;
                }
            }
            run::run(0, first, guest);
        });
        let (waits, end) = desk.into_result();
        self.waiting = waits;
        self.started = true;
        end.unwrap_or(Err(VmError::Unfinished))
    }

    /// Completes the port writes the vCPUs stopped at, without running the guest any further: before
    /// that their registers are not final.
    pub(crate) fn finish_exits(&mut self) -> Result<(), VmError> {
        self.shell.vcpus_mut().try_for_each(|vcpu| {
            vcpu.set_kvm_immediate_exit(1);
            let result = vcpu.run().map(|_| ());
            vcpu.set_kvm_immediate_exit(0);
            match result {
                Err(error) if error.errno() == libc::EINTR => Ok(()),
                Err(error) => Err(VmError::kvm("complete the guest's port write")(error)),
                Ok(()) => Err(VmError::Kvm {
                    action: "complete the guest's port write",
                    cause: kvm_ioctls::Error::new(libc::EBUSY),
                }),
            }
        })
    }
}

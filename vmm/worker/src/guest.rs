//! The guest a worker holds: none yet, then one that waits to be an instance, and again after each
//! answer if it is rewound.

use std::time::{Duration, Instant};

use sprout_abi::boot::boot_flags;
use sprout_protocol::{FromWorker, Instances, Seed};
use sprout_vmm::backend::buffered::Buffered;
use sprout_vmm::snapshot::rewind::{GiveUp, Rewinder};
use sprout_vmm::snapshot::{Snapshot, SnapshotError};
use sprout_vmm::vm::shell::Shell;
use sprout_vmm::vm::{Stop, Vm, VmError, Waiting};

use crate::{first_request, isolation, microseconds};

/// Longest rehearsal of a worker: a request may come meanwhile.
const REHEARSAL_TIME: Duration = Duration::from_secs(2);

/// What this process is so far.
pub(crate) enum Held {
    Shell(Shell),
    Prepared(Box<Prepared>),
}

/// A restored guest that waits to become an instance.
pub(crate) struct Prepared {
    pub vm: Waiting,
    pub origin: Origin,
    /// How long that took.
    pub took: Duration,
    /// Whether it has been an instance before.
    pub used: bool,
}

/// What a guest was made of.
pub(crate) struct Origin {
    seed: Seed,
    /// If it is to be used again.
    rewinder: Option<Rewinder>,
}

impl Held {
    /// The guest of `seed`, prepared now unless it was before.
    pub fn become_guest(self, seed: Seed) -> Result<Box<Prepared>, WorkerError> {
        let start = Instant::now();
        let shell = match self {
            Self::Prepared(prepared) if prepared.origin.seed == seed => return Ok(prepared),
            // What has served one function serves no other.
            Self::Prepared(prepared) if prepared.used => return Err(WorkerError::Used),
            // A VM serves one guest in its life: another seed gets a VM of its own.
            Self::Prepared(prepared) => Shell::with(prepared.vm.kvm())?,
            Self::Shell(shell) => shell,
        };
        let snapshot = Snapshot::open(&seed.snapshot_dir).map_err(VmError::from)?;
        let manifest = snapshot.manifest();
        if let Err(reason) = isolation::suffices(manifest.privilege_mode, seed.required_isolation) {
            let path = seed.snapshot_dir;
            let error = SnapshotError::Incompatible { path, reason };
            return Err(VmError::from(error).into());
        }
        let (vm, rewinder) = match seed.instances {
            Instances::Fresh => (shell.prepare(&snapshot)?, None),
            instances => {
                let checking = instances == Instances::RewindChecked;
                let (vm, rewinder) = shell.prepare_to_rewind(snapshot, checking)?;
                (vm, Some(rewinder))
            }
        };
        Ok(Box::new(Prepared {
            vm,
            origin: Origin { seed, rewinder },
            took: start.elapsed(),
            used: false,
        }))
    }

    /// The same, ahead of a request. A guest that can be rewound answers the seed's rehearsal first:
    /// its first request then finds memory and translations in place. One that can't is made anew.
    pub fn rehearsed(self, seed: Seed) -> Result<Box<Prepared>, WorkerError> {
        let prepared = self.become_guest(seed.clone())?;
        let kvm = prepared.vm.kvm();
        match prepared.rehearsed() {
            Ok(prepared) => Ok(prepared),
            Err(error) => {
                tracing::debug!("no rehearsal: {error}");
                Self::Shell(Shell::with(kvm)?).become_guest(seed)
            }
        }
    }
}

/// Why a worker can't be an instance.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WorkerError {
    #[error(transparent)]
    Vm(#[from] VmError),
    #[error("this worker has served another function")]
    Used,
}

impl Prepared {
    fn rehearsed(mut self: Box<Self>) -> Result<Box<Self>, GiveUp> {
        let Some(rewinder) = &self.origin.rewinder else {
            return Ok(self);
        };
        let rehearsal = rewinder.snapshot().rehearsal().map_err(VmError::from)?;
        let Some(rehearsal) = rehearsal.filter(|_| !self.used) else {
            return Ok(self);
        };
        let (mut vm, instance) = self.vm.resume(boot_flags::CHANNEL)?;
        let request = first_request(&instance, &rehearsal);
        let action = "write the request of a rehearsal";
        let request = request.map_err(|cause| VmError::Io { action, cause })?;
        let mut backend = Buffered::new([request])
            .with_first_request()
            .ending_in(REHEARSAL_TIME);
        match vm.run(None, &mut backend)? {
            Stop::Ready => self.vm = rewinder.rewind(vm)?.0,
            ended => {
                let reason = format!("it ended with {ended:?}");
                let registers = String::new();
                return Err(VmError::Stopped { reason, registers }.into());
            }
        }
        Ok(self)
    }
}

/// What becomes of a guest that has answered.
pub(crate) enum Next {
    /// Nothing: it was made for one answer.
    End,
    /// It is its seed again.
    Prepared(Box<Prepared>, FromWorker),
    /// It can't be.
    Retired(FromWorker),
}

impl Origin {
    /// Makes the guest what it was before its answer, if it is to be used again. `vm`: if it has
    /// answered.
    pub fn again(self, vm: Option<Vm>) -> Next {
        let Some(rewinder) = &self.rewinder else {
            return Next::End;
        };
        let retired = |kind: &str, reason: String| {
            Next::Retired(FromWorker::Retired {
                kind: kind.into(),
                reason,
            })
        };
        let Some(vm) = vm else {
            return retired("unanswered", "it did not answer its request".into());
        };
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        match rewinder.rewind(vm) {
            Ok((vm, rewound)) => {
                let message = FromWorker::Rewound {
                    compared: count(rewound.compared),
                    copied: count(rewound.copied),
                    undone: count(rewound.undone),
                    took: microseconds(rewound.took),
                };
                let prepared = Prepared {
                    vm,
                    origin: self,
                    took: rewound.took,
                    used: true,
                };
                Next::Prepared(Box::new(prepared), message)
            }
            Err(error) => retired(error.kind(), error.to_string()),
        }
    }
}

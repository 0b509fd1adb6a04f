//! The guest a worker holds: none yet, then one that waits to be an instance, and again after each
//! answer if it is rewound.

use std::time::{Duration, Instant};

use sprout_abi::boot::boot_flags;
use sprout_protocol::{FromWorker, Instances, Seed};
use sprout_vmm::backend::buffered::Buffered;
use sprout_vmm::shell::Shell;
use sprout_vmm::snapshot::rewind::{GiveUp, Rewinder};
use sprout_vmm::snapshot::{Snapshot, SnapshotError};
use sprout_vmm::vm::{Stop, Vm, VmError};

use crate::{first_request, isolation, microseconds};

/// Longest rehearsal of a worker: a request may come meanwhile.
const REHEARSAL_TIME: Duration = Duration::from_secs(2);

/// What this process is so far.
pub(crate) enum Guest {
    Shell(Shell),
    Prepared(Box<Prepared>),
}

/// A restored guest that waits to become an instance.
pub(crate) struct Prepared {
    seed: Seed,
    pub vm: Vm,
    /// If it is to be used again.
    rewinder: Option<Rewinder>,
    /// How long that took.
    pub took: Duration,
    /// Whether it has been an instance before.
    pub used: bool,
}

impl Guest {
    /// The guest of `seed`, prepared now unless it was before.
    pub fn become_guest(self, seed: Seed) -> Result<Box<Prepared>, WorkerError> {
        let start = Instant::now();
        let shell = match self {
            Self::Prepared(prepared) if prepared.seed == seed => return Ok(prepared),
            // What has served one function serves no other.
            Self::Prepared(prepared) if prepared.used => return Err(WorkerError::Used),
            // A VM serves one guest in its life: another seed gets a VM of its own.
            Self::Prepared(prepared) => Shell::with(prepared.vm.into_kvm())?,
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
            seed,
            vm,
            rewinder,
            took: start.elapsed(),
            used: false,
        }))
    }

    /// The same, ahead of a request. A guest that can be rewound answers the seed's rehearsal first:
    /// its first request then finds memory and translations in place. One that can't is made anew.
    pub fn rehearsed(self, seed: Seed) -> Result<Box<Prepared>, WorkerError> {
        let mut prepared = self.become_guest(seed.clone())?;
        let Err(error) = prepared.rehearse() else {
            return Ok(prepared);
        };
        tracing::debug!("no rehearsal: {error}");
        Self::Shell(Shell::with(prepared.vm.into_kvm())?).become_guest(seed)
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
    fn rehearse(&mut self) -> Result<(), GiveUp> {
        let Some(rewinder) = &self.rewinder else {
            return Ok(());
        };
        let rehearsal = rewinder.snapshot().rehearsal().map_err(VmError::from)?;
        let Some(rehearsal) = rehearsal.filter(|_| !self.used) else {
            return Ok(());
        };
        let instance = self.vm.resume(boot_flags::CHANNEL)?;
        let request = first_request(&instance, &rehearsal);
        let action = "write the request of a rehearsal";
        let request = request.map_err(|cause| VmError::Io { action, cause })?;
        let mut backend = Buffered::new([request])
            .with_first_request()
            .ending_in(REHEARSAL_TIME);
        match self.vm.run(None, &mut backend)? {
            Stop::Ready => rewinder.rewind(&mut self.vm).map(drop),
            ended => {
                let reason = format!("it ended with {ended:?}");
                let registers = String::new();
                Err(VmError::Stopped { reason, registers }.into())
            }
        }
    }

    /// Makes it what it was before its answer, if it is to be used again: what to say of it.
    pub fn again(&mut self, answered: bool) -> Option<FromWorker> {
        let rewinder = self.rewinder.as_ref()?;
        let retired = |kind: &str, reason: String| FromWorker::Retired {
            kind: kind.into(),
            reason,
        };
        if !answered {
            return Some(retired(
                "unanswered",
                "it did not answer its request".into(),
            ));
        }
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Some(match rewinder.rewind(&mut self.vm) {
            Ok(rewound) => {
                self.took = rewound.took;
                FromWorker::Rewound {
                    compared: count(rewound.compared),
                    copied: count(rewound.copied),
                    undone: count(rewound.undone),
                    took: microseconds(rewound.took),
                }
            }
            Err(error) => retired(error.kind(), error.to_string()),
        })
    }
}

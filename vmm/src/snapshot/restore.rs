//! Restoring: a new VM over a private mapping of the snapshot's memory.
//!
//! In two steps, so that the first can be done before a request exists: [`prepare`] loads memory and
//! sets the vCPU's state; [`Waiting::resume`] makes the guest an instance of its own (fresh entropy,
//! identity, clocks) and ends its WAIT.

use std::io;
use std::thread;

use super::loading::Loading;
use super::{Snapshot, SnapshotError};
use crate::clock::GuestClock;
use crate::error::VmError;
use crate::host::isolation::PrivilegeMode;
use crate::memory::{GuestMemory, Image, MemoryError, checked_ram_size};
use crate::vm::shell::Shell;
use crate::vm::{Vm, Waiting};

/// The snapshot's guest in a VM that `make_shell` makes, still waiting, its working set in memory.
/// The memory is loaded by a second thread while the VM is made, and by both from then on.
pub fn prepare(
    snapshot: &Snapshot,
    make_shell: impl FnOnce() -> Result<Shell, VmError>,
) -> Result<Waiting, VmError> {
    let manifest = snapshot.manifest();
    let size = checked_ram_size(manifest.memory_size)?;
    let failed = || MemoryError::map("the snapshot's memory file");
    let loading = Loading::new(&snapshot.memory, size, &snapshot.working_set);
    let loading = loading.map_err(failed())?;
    let shell = thread::scope(|scope| {
        let help = || loading.work();
        // Without a second thread it takes longer, that is all.
        let helper = loading.is_long().then(|| {
            thread::Builder::new()
                .name("loader".into())
                .spawn_scoped(scope, help)
        });
        let shell = make_shell()?;
        shell.check(snapshot)?;
        loading.work().map_err(failed())?;
        if let Some(Ok(helper)) = helper {
            let done = helper.join().unwrap_or_else(|_| Err(panicked()));
            done.map_err(failed())?;
        }
        Ok::<_, VmError>(shell)
    })?;
    let images = Image::open_all(manifest.images.iter().map(|image| image.path.as_path()))?;
    shell.become_guest(snapshot, GuestMemory::loaded(loading.finish(), images)?)
}

fn panicked() -> io::Error {
    io::Error::other("the thread that loads it panicked")
}

impl Shell {
    /// Turns the shell into the snapshot's guest, still waiting, its working set in memory.
    pub fn prepare(self, snapshot: &Snapshot) -> Result<Waiting, VmError> {
        prepare(snapshot, || Ok(self))
    }

    /// Puts the snapshot's guest into the VM.
    pub(super) fn become_guest(
        mut self,
        snapshot: &Snapshot,
        memory: GuestMemory,
    ) -> Result<Waiting, VmError> {
        let manifest = snapshot.manifest();
        self.attach(&memory)?;
        let saved = &snapshot.state.vcpus;
        self.set_vcpus(saved.len())?;
        for ((saved, _), vcpu) in saved.iter().zip(self.vcpus()) {
            saved.restore(vcpu)?;
        }
        let clock = GuestClock::starting_at(self.tsc, snapshot.state.monotonic_ns);
        let mounts = manifest
            .images
            .iter()
            .map(|image| image.mount.clone())
            .collect();
        let mut vm = Vm::new(self, memory, clock, mounts);
        vm.started = true;
        vm.generation = manifest.generation;
        vm.strict = manifest.privilege_mode == PrivilegeMode::Ring3Strict;
        vm.sentry = Some(manifest.sentry.clone());
        Ok(Waiting::of_snapshot(vm, &snapshot.state))
    }

    /// Refuses a snapshot that would not work here.
    pub(super) fn check(&self, snapshot: &Snapshot) -> Result<(), SnapshotError> {
        let manifest = snapshot.manifest();
        let incompatible = |reason| {
            Err(SnapshotError::Incompatible {
                path: snapshot.path().to_owned(),
                reason,
            })
        };
        let mode = manifest.privilege_mode;
        // Which of the two it is where ring 0 is emulated, the guest brings along.
        let here = self.expected_mode(mode == PrivilegeMode::Ring3Strict);
        if mode != here {
            return incompatible(format!(
                "it was made in {mode}, and this host gives {here}; make it again here"
            ));
        }
        let missing = manifest.features.missing_from(&self.features());
        if !missing.is_empty() {
            return incompatible(format!(
                "it needs {}; make it again on this host, or restore it on one like where it was \
                 made",
                missing.join(", ")
            ));
        }
        Ok(())
    }
}

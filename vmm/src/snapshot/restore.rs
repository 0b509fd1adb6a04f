//! Restoring: a new VM over a private mapping of the snapshot's memory.
//!
//! In two steps, so that the first can be done before a request exists: [`prepare`] loads memory and
//! sets the vCPU's state; [`Vm::resume`] makes the guest an instance of its own (fresh entropy,
//! identity, clocks) and ends its WAIT.

use std::io;
use std::thread;

use sprout_abi::boot::RestoreInfo;
use sprout_abi::hypercall::event;
use sprout_abi::layout::RESTORE_INFO_GPA;
use vm_memory::{Bytes, GuestAddress};

use super::loading::Loading;
use super::{Snapshot, SnapshotError};
use crate::clock::GuestClock;
use crate::error::VmError;
use crate::isolation::PrivilegeMode;
use crate::memory::{GuestMemory, Image, MemoryError, Wire, checked_ram_size};
use crate::shell::Shell;
use crate::vm::Vm;

/// What makes a restored guest itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Unique id.
    pub id: [u8; 16],
    /// Restores in its line, this one included.
    pub generation: u64,
}

impl Instance {
    /// The id in hexadecimal.
    pub fn id_text(&self) -> String {
        self.id.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// The snapshot's guest in a VM that `make_shell` makes, still waiting, its working set in memory.
/// The memory is loaded by a second thread while the VM is made, and by both from then on.
pub fn prepare(
    snapshot: &Snapshot,
    make_shell: impl FnOnce() -> Result<Shell, VmError>,
) -> Result<Vm, VmError> {
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
    pub fn prepare(self, snapshot: &Snapshot) -> Result<Vm, VmError> {
        prepare(snapshot, || Ok(self))
    }

    /// Puts the snapshot's guest into the VM.
    pub(super) fn become_guest(
        mut self,
        snapshot: &Snapshot,
        memory: GuestMemory,
    ) -> Result<Vm, VmError> {
        let manifest = snapshot.manifest();
        self.attach(&memory)?;
        let (saved, waits): (Vec<_>, Vec<_>) = snapshot
            .state
            .vcpus
            .iter()
            .map(|(vcpu, wait)| (vcpu, Some(*wait)))
            .unzip();
        self.set_vcpus(saved.len())?;
        for (saved, vcpu) in saved.into_iter().zip(self.vcpus()) {
            saved.restore(vcpu)?;
        }
        let clock = GuestClock::starting_at(self.tsc, snapshot.state.monotonic_ns);
        let mounts = manifest
            .images
            .iter()
            .map(|image| image.mount.clone())
            .collect();
        let mut vm = Vm::new(self, memory, clock, mounts);
        vm.waiting = waits;
        vm.started = true;
        vm.generation = manifest.generation;
        vm.strict = manifest.privilege_mode == PrivilegeMode::Ring3Strict;
        vm.sentry = Some(manifest.sentry.clone());
        Ok(vm)
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

impl Vm {
    /// Makes faults read single pages, so that the pages present are those that were touched.
    pub(crate) fn read_page_by_page(&self) {
        let ram = self.memory.ram_mapping();
        // A kernel that ignores it gives a larger working set, not a wrong one.
        let _ = ram.advise(0, ram.size(), libc::MADV_RANDOM);
    }

    /// Makes a prepared guest an instance of its own and ends its WAIT: the next
    /// [`Vm::run`] enters it. `flags` are those of `boot_flags` for this run.
    pub fn resume(&mut self, flags: u64) -> Result<Instance, VmError> {
        let wait = self.take_wait()?;
        self.generation += 1;
        let mut id = [0; 16];
        let mut entropy = [0; 64];
        getrandom::fill(&mut id).map_err(VmError::Entropy)?;
        getrandom::fill(&mut entropy).map_err(VmError::Entropy)?;
        self.clock = GuestClock::starting_at(self.shell.tsc, self.clock.origin_ns());
        let info = RestoreInfo {
            generation: self.generation,
            instance_id: id,
            entropy,
            clock: self.clock.reading(),
            flags,
        };
        self.memory
            .ram()
            .write_obj(Wire(info), GuestAddress(RESTORE_INFO_GPA))
            .map_err(|error| VmError::Io {
                action: "write the restore information",
                cause: io::Error::other(error),
            })?;
        wait.end(&self.memory, event::RESTORED | event::REQUEST)?;
        Ok(Instance {
            id,
            generation: self.generation,
        })
    }
}

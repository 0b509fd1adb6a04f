//! A guest that waits for a request.

use std::io;
use std::ops::Deref;

use sprout_abi::boot::RestoreInfo;
use sprout_abi::hypercall::{event, wait_flags};
use sprout_abi::layout::RESTORE_INFO_GPA;
use vm_memory::{Bytes, GuestAddress};

use super::{Stop, Vm};
use crate::backend::buffered::Buffered;
use crate::clock::GuestClock;
use crate::error::{SnapshotError, VmError};
use crate::hypercall::Wait;
use crate::memory::Wire;
use crate::snapshot::state::State;

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

/// A guest all of whose vCPUs wait, and that is ready for a request. What it is made of can be looked
/// at as that of a [`Vm`].
#[derive(Debug)]
pub struct Waiting {
    pub(crate) vm: Vm,
    /// Of each vCPU.
    pub(crate) waits: Vec<Wait>,
}

impl Deref for Waiting {
    type Target = Vm;

    fn deref(&self) -> &Vm {
        &self.vm
    }
}

impl Vm {
    /// Holds a guest that is [`Stop::Ready`] where it waits.
    pub fn waiting(mut self) -> Result<Waiting, SnapshotError> {
        let waits: Option<Vec<_>> = self.waiting.iter().copied().collect();
        let waits = waits
            .filter(|waits| waits.iter().any(|wait| wait.flags & wait_flags::READY != 0))
            .ok_or(SnapshotError::NotReady)?;
        self.waiting.fill(None);
        Ok(Waiting { vm: self, waits })
    }
}

impl Waiting {
    /// A VM whose vCPUs have this state.
    pub(crate) fn of_snapshot(mut vm: Vm, state: &State) -> Self {
        vm.waiting.fill(None);
        let waits = state.vcpus.iter().map(|(_, wait)| *wait).collect();
        Self { vm, waits }
    }

    /// The guest goes on as if nothing had been.
    pub fn go_on(self) -> Vm {
        let Self { mut vm, waits } = self;
        vm.waiting = waits.into_iter().map(Some).collect();
        vm
    }

    /// Ends the wait of the first vCPU with these events: the others stay in theirs until that one
    /// needs them.
    fn end(self, events: u64) -> Result<Vm, VmError> {
        let mut vm = self.go_on();
        let wait = vm.waiting.first_mut().and_then(Option::take);
        wait.ok_or(SnapshotError::NotReady)?
            .end(&vm.memory, events)?;
        Ok(vm)
    }

    /// Has the guest do what these events ask of it, and wait again. `input`: what it is given to
    /// read for that.
    pub(crate) fn errand(self, events: u64, mut input: Buffered) -> Result<(Vm, Stop), VmError> {
        let mut vm = self.end(events)?;
        let stop = vm.run(None, &mut input)?;
        Ok((vm, stop))
    }

    /// Makes faults read single pages, so that the pages present are those that were touched.
    pub(crate) fn read_page_by_page(&self) {
        let ram = self.vm.memory.ram_mapping();
        // A kernel that ignores it gives a larger working set, not a wrong one.
        let _ = ram.advise(0, ram.size(), libc::MADV_RANDOM);
    }

    /// Makes the guest, which is as in its snapshot, an instance of its own and ends its WAIT: the
    /// next [`Vm::run`] enters it. `flags` are those of `boot_flags` for this run.
    pub fn resume(mut self, flags: u64) -> Result<(Vm, Instance), VmError> {
        let vm = &mut self.vm;
        vm.generation += 1;
        let generation = vm.generation;
        let mut id = [0; 16];
        let mut entropy = [0; 64];
        getrandom::fill(&mut id).map_err(VmError::Entropy)?;
        getrandom::fill(&mut entropy).map_err(VmError::Entropy)?;
        vm.clock = GuestClock::starting_at(vm.shell.tsc, vm.clock.origin_ns());
        let info = RestoreInfo {
            generation,
            instance_id: id,
            entropy,
            clock: vm.clock.reading(),
            flags,
        };
        vm.memory
            .ram()
            .write_obj(Wire(info), GuestAddress(RESTORE_INFO_GPA))
            .map_err(|error| VmError::Io {
                action: "write the restore information",
                cause: io::Error::other(error),
            })?;
        let vm = self.end(event::RESTORED | event::REQUEST)?;
        Ok((vm, Instance { id, generation }))
    }
}

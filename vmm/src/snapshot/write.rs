//! Taking a snapshot of a guest that waits for a request.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use sprout_abi::ABI_VERSION;
use sprout_abi::hypercall::wait_flags;

use super::manifest::{FORMAT_VERSION, ImageRecord, Manifest, Part, PrivilegeMode};
use super::staging::Staging;
use super::state::State;
use super::{MANIFEST_FILE, MEMORY_FILE, STATE_FILE, SnapshotError, WORKING_SET_FILE, memory_file};
use crate::vcpu::state::VcpuState;
use crate::vm::{Vm, VmError};

/// What the VMM does not know about the guest itself.
#[derive(Clone, Debug)]
pub struct Description {
    /// `Kernel::build_id` of the sentry.
    pub sentry: String,
    /// The command that runs in the guest.
    pub command: Vec<String>,
}

impl Vm {
    /// Writes the waiting guest to the directory `target`, in place of an older snapshot there.
    /// The guest stays as it is and can go on.
    pub fn snapshot(
        &mut self,
        target: &Path,
        description: &Description,
    ) -> Result<Manifest, VmError> {
        let wait = self
            .waiting
            .filter(|wait| wait.flags & wait_flags::READY != 0)
            .ok_or(SnapshotError::NotReady)?;
        self.finish_exit()?;
        let monotonic_ns = self.clock.now();
        let vcpu = VcpuState::save(&self.shell.vcpu)?;
        let state = State::new(vcpu, wait, monotonic_ns)
            .encode()
            .map_err(|reason| SnapshotError::io("write", target)(std::io::Error::other(reason)))?;
        let images = self
            .memory
            .images()
            .iter()
            .zip(&self.mounts)
            .map(|(image, mount)| {
                let part = Part::of_file(&image.path)?;
                Ok(ImageRecord {
                    path: image.path.clone(),
                    mount: mount.clone(),
                    part,
                })
            })
            .collect::<Result<Vec<_>, SnapshotError>>()?;
        let privilege_mode = PrivilegeMode::from_abi(self.memory.privilege_mode())
            .unwrap_or_else(|| self.shell.expected_mode());

        let staging = Staging::beside(target)?;
        let ram = self.memory.ram_mapping();
        // SAFETY: RAM is mapped and readable for the life of `self.memory`; the vCPU does not run
        // (it can only run through `&mut self`), so nobody writes to it meanwhile.
        let ram = unsafe { std::slice::from_raw_parts(ram.as_ptr(), ram.size()) };
        let memory = memory_file::write(&staging.path().join(MEMORY_FILE), ram)?;
        staging.write(STATE_FILE, &state)?;
        staging.write(WORKING_SET_FILE, &[])?;
        let manifest = Manifest {
            format: FORMAT_VERSION,
            abi: ABI_VERSION,
            sentry: description.sentry.clone(),
            made_by: concat!("sprout ", env!("CARGO_PKG_VERSION")).into(),
            created: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default()
                .as_secs(),
            command: description.command.clone(),
            privilege_mode,
            generation: self.generation,
            features: self.shell.features(),
            tsc_khz: self.shell.tsc.khz,
            memory_size: memory.size,
            images,
            state: Part::of_bytes(&state),
            memory,
            working_set: Part::of_bytes(&[]),
        };
        let mut json = serde_json::to_vec_pretty(&manifest)
            .map_err(|error| SnapshotError::io("write", target)(error.into()))?;
        json.push(b'\n');
        staging.write(MANIFEST_FILE, &json)?;
        staging.publish()?;
        Ok(manifest)
    }
}

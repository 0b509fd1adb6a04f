//! Taking a snapshot of a guest that waits for a request.

use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sprout_abi::ABI_VERSION;
use sprout_abi::boot::boot_flags;
use sprout_abi::hypercall::event;

use super::manifest::{FORMAT_VERSION, ImageRecord, Manifest, Part};
use super::staging::Staging;
use super::state::State;
use super::tables::Tables;
use super::working_set::{self, Touched, WorkingSet};
use super::{
    MANIFEST_FILE, MEMORY_FILE, REHEARSAL_FILE, STATE_FILE, Snapshot, SnapshotError,
    WORKING_SET_FILE, memory_file,
};
use crate::backend::buffered::Buffered;
use crate::error::VmError;
use crate::hypercall::Wait;
use crate::memory::page_cache;
use crate::vcpu::state::VcpuState;
use crate::vm::shell::Shell;
use crate::vm::{Instance, Stop, Waiting};

/// Longest rehearsal.
const REHEARSAL_TIME: Duration = Duration::from_secs(30);
/// Longest request that is kept for further rehearsals.
const MOST_KEPT: usize = 256 << 10;
/// Longest that a guest may take to rearrange its memory.
const COMPACT_TIME: Duration = Duration::from_secs(30);

/// What the VMM does not know about the guest itself.
#[derive(Clone, Debug)]
pub struct Description {
    /// `Kernel::build_id` of the sentry.
    pub sentry: String,
    /// The command that runs in the guest.
    pub command: Vec<String>,
}

/// A request that instances answer before anybody asks.
#[derive(Clone, Copy)]
pub struct Rehearsal<'a> {
    /// The request.
    pub request: &'a [u8],
    /// Makes of it what this instance is to read.
    pub first: fn(&Instance, &[u8]) -> io::Result<Vec<u8>>,
}

impl Waiting {
    /// Writes the guest to the directory `target`, in place of an older snapshot there.
    /// The guest waits on and can go on.
    pub fn snapshot(
        self,
        target: &Path,
        description: &Description,
    ) -> Result<(Self, Manifest), VmError> {
        let mut waiting = self.compacted(None)?;
        let images = waiting.image_records()?;
        let staging = Staging::beside(target)?;
        let manifest = waiting.stage(&staging, description, &images)?;
        staging.publish()?;
        Ok((waiting, manifest))
    }

    /// Like [`Self::snapshot`]; before the snapshot gets its name, instances of it answer a request:
    /// a first one, so that the guest knows which pages belong together, a second one, so that the
    /// working set is known. An instance that does not answer costs speed and is reported in the
    /// log, nothing more.
    pub fn snapshot_rehearsed(
        mut self,
        target: &Path,
        description: &Description,
        request: Rehearsal<'_>,
    ) -> Result<(Self, Manifest), VmError> {
        let images = self.image_records()?;
        let touched = self.rehearse_as_it_is(target, description, &images, request)?;
        let mut waiting = self.compacted(touched)?;
        let staging = Staging::beside(target)?;
        let mut manifest = waiting.stage(&staging, description, &images)?;
        let rehearsal = rehearse(staging.path(), request);
        // Its reads page by page left small folios behind.
        let memory = staging.path().join(MEMORY_FILE);
        page_cache::settle(&memory).map_err(SnapshotError::io("read", &memory))?;
        match rehearsal {
            Ok(touched) => {
                let bytes = WorkingSet::new(&touched, waiting.ram_content()).encode();
                staging.write(WORKING_SET_FILE, &bytes)?;
                manifest.working_set = Part::of_bytes(&bytes);
                if request.request.len() <= MOST_KEPT {
                    staging.write(REHEARSAL_FILE, request.request)?;
                    manifest.rehearsal = Some(Part::of_bytes(request.request));
                }
                write_manifest(&staging, &manifest)?;
            }
            Err(error) => tracing::warn!("no working set for {}: {error}", target.display()),
        }
        staging.publish()?;
        Ok((waiting, manifest))
    }

    /// A bitmap of the pages an answer touches now, if an instance answers.
    fn rehearse_as_it_is(
        &mut self,
        target: &Path,
        description: &Description,
        images: &[ImageRecord],
        request: Rehearsal<'_>,
    ) -> Result<Option<Vec<u8>>, VmError> {
        let staging = Staging::beside(target)?;
        self.stage(&staging, description, images)?;
        match rehearse(staging.path(), request) {
            Ok(touched) => {
                let pages = self.memory.ram_size() / working_set::PAGE;
                Ok(Some(working_set::bitmap(&touched.all, pages)))
            }
            Err(error) => {
                tracing::warn!("memory stays as it is for {}: {error}", target.display());
                Ok(None)
            }
        }
    }

    /// Has the guest rearrange its memory, and wait again. `touched` is a bitmap of the pages an
    /// answer touches, if that is known.
    fn compacted(self, touched: Option<Vec<u8>>) -> Result<Self, VmError> {
        let input = Buffered::new(touched)
            .with_first_request()
            .ending_in(COMPACT_TIME);
        match self.errand(event::COMPACT, input)? {
            (vm, Stop::Ready) => Ok(vm.waiting()?),
            (_, ended) => Err(VmError::Stopped {
                reason: format!("it ended with {ended:?} while it prepared for its snapshot"),
                registers: String::new(),
            }),
        }
    }

    /// All of RAM, while the guest stands still.
    fn ram_content(&self) -> &[u8] {
        let ram = self.memory.ram_mapping();
        // SAFETY: RAM is mapped and readable for the life of `self.memory`; the vCPUs do not run
        // (nobody has the `Vm` to do so), so nobody writes to it meanwhile.
        unsafe { std::slice::from_raw_parts(ram.as_ptr(), ram.size()) }
    }

    /// The images of the guest, with their digests: reads all of them.
    fn image_records(&self) -> Result<Vec<ImageRecord>, SnapshotError> {
        self.memory
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
            .collect()
    }

    /// Writes all parts, with an empty working set.
    fn stage(
        &mut self,
        staging: &Staging,
        description: &Description,
        images: &[ImageRecord],
    ) -> Result<Manifest, VmError> {
        self.vm.finish_exits()?;
        let monotonic_ns = self.clock.now();
        let vcpus = (self.shell.vcpus().zip(&self.waits))
            .map(|(vcpu, wait)| Ok((VcpuState::save(vcpu)?, *wait)))
            .collect::<Result<Vec<(VcpuState, Wait)>, VmError>>()?;
        let loaded = vcpus.iter().map(|(vcpu, _)| vcpu.root());
        let tables = Tables::find(self.ram_content(), loaded);
        let state = State::new(vcpus, monotonic_ns, tables)
            .encode()
            .map_err(|reason| {
                SnapshotError::io("write", staging.path())(io::Error::other(reason))
            })?;
        let privilege_mode = self.privilege_mode();

        let memory_path = staging.path().join(MEMORY_FILE);
        let memory = memory_file::write(&memory_path, self.ram_content())?;
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
            images: images.to_vec(),
            state: Part::of_bytes(&state),
            memory,
            working_set: Part::of_bytes(&[]),
            rehearsal: None,
        };
        write_manifest(staging, &manifest)?;
        Ok(manifest)
    }
}

fn write_manifest(staging: &Staging, manifest: &Manifest) -> Result<(), SnapshotError> {
    let path = staging.path().join(MANIFEST_FILE);
    let mut json = serde_json::to_vec_pretty(manifest)
        .map_err(|error| SnapshotError::io("write", &path)(error.into()))?;
    json.push(b'\n');
    staging.write(MANIFEST_FILE, &json)
}

/// Has an instance of the snapshot in `directory` answer a request; the pages it touched.
///
/// The memory file is dropped from the page cache first and read without read-ahead: a fault then
/// maps the page that is touched and none of its neighbours.
fn rehearse(directory: &Path, request: Rehearsal<'_>) -> Result<Touched, VmError> {
    let snapshot = Snapshot::open(directory)?;
    snapshot.drop_from_cache();
    let waiting = Shell::new()?.prepare(&snapshot)?;
    waiting.read_page_by_page();
    let (mut vm, instance) = waiting.resume(boot_flags::CHANNEL)?;
    let request = (request.first)(&instance, request.request);
    let request = request.map_err(VmError::io("make the request of a rehearsal"))?;
    let mut backend = Buffered::new([request])
        .with_first_request()
        .ending_in(REHEARSAL_TIME);
    match vm.run(None, &mut backend)? {
        Stop::Ready => {}
        ended => {
            return Err(VmError::Stopped {
                reason: format!("it ended with {ended:?}"),
                registers: String::new(),
            });
        }
    }
    let memory = vm.memory();
    working_set::touched_pages(memory.ram_host_address(), memory.ram_size())
        .map_err(VmError::io("read which pages were touched"))
}

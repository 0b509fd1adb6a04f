//! Snapshots: a guest that waits for a request, as a directory that can be mapped.
//!
//! | file | content |
//! |---|---|
//! | `manifest.json` | versions, what the host must offer, digests of everything |
//! | `state.bin` | vCPU and device state |
//! | `memory` | RAM, sparse, mapped as it is |
//! | `working-set` | what an earlier restored guest touched |
//! | `rehearsal` | the request it answered, if there was one |
//!
//! A snapshot is taken in the guest's WAIT with the READY flag and nowhere else. It appears under
//! its name all at once or not at all ([`write`]). [`Snapshot::open`] checks all but the
//! memory and the images; [`Snapshot::verify`] reads those, too, and is for registration.

mod loading;
pub mod manifest;
mod memory_file;
pub mod restore;
pub mod rewind;
mod staging;
pub mod state;
mod tables;
pub mod working_set;
pub mod write;
mod written;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use manifest::Manifest;
use sprout_abi::layout::PAGE_SIZE;
use state::State;
use working_set::WorkingSet;

pub use crate::error::SnapshotError;
pub use written::PAGEMAP_SCAN;

/// Name of the manifest in a snapshot's directory.
pub const MANIFEST_FILE: &str = "manifest.json";
/// Name of the state file.
pub const STATE_FILE: &str = "state.bin";
/// Name of the memory file.
pub const MEMORY_FILE: &str = "memory";
/// Name of the working set file.
pub const WORKING_SET_FILE: &str = "working-set";

/// Name of the file with the rehearsed request.
pub const REHEARSAL_FILE: &str = "rehearsal";

/// Largest manifest, rehearsal or state file read.
const METADATA_MAX: u64 = 1 << 20;

/// An opened snapshot.
#[derive(Debug)]
pub struct Snapshot {
    path: PathBuf,
    manifest: Manifest,
    state: State,
    memory: File,
    working_set: WorkingSet,
}

impl Snapshot {
    /// Opens the snapshot in the directory `path`: manifest, state, and the sizes of the rest.
    pub fn open(path: &Path) -> Result<Self, SnapshotError> {
        let manifest = Manifest::read(path)?;
        let corrupt = |reason: String| SnapshotError::Corrupt {
            path: path.to_owned(),
            reason,
        };
        let state_path = path.join(STATE_FILE);
        let bytes = read_bounded(&state_path)?;
        manifest
            .state
            .check_bytes(&bytes)
            .map_err(|reason| corrupt(format!("state.bin: {reason}")))?;
        let state = State::decode(&bytes).map_err(corrupt)?;
        if !state.tables.fit(manifest.memory_size / PAGE_SIZE) {
            return Err(corrupt("state.bin: page tables outside of memory".into()));
        }
        let set_path = path.join(WORKING_SET_FILE);
        let bytes = read_bounded(&set_path)?;
        manifest
            .working_set
            .check_bytes(&bytes)
            .map_err(|reason| corrupt(format!("{WORKING_SET_FILE}: {reason}")))?;
        let working_set = WorkingSet::decode(&bytes, manifest.memory_size)
            .ok_or_else(|| corrupt(format!("{WORKING_SET_FILE}: not a list of pages")))?;
        let memory_path = path.join(MEMORY_FILE);
        let memory = File::open(&memory_path).map_err(SnapshotError::io("open", &memory_path))?;
        let size = memory
            .metadata()
            .map_err(SnapshotError::io("read", &memory_path))?
            .len();
        if size != manifest.memory_size {
            return Err(corrupt(format!(
                "memory has {size} bytes instead of {}",
                manifest.memory_size
            )));
        }
        for image in &manifest.images {
            image
                .check_size()
                .map_err(|reason| SnapshotError::Incompatible {
                    path: path.to_owned(),
                    reason,
                })?;
        }
        Ok(Self {
            path: path.to_owned(),
            manifest,
            state,
            memory,
            working_set,
        })
    }

    /// Reads every part and every image, and compares their digests.
    pub fn verify(&self) -> Result<(), SnapshotError> {
        let corrupt = |reason: String| SnapshotError::Corrupt {
            path: self.path.clone(),
            reason,
        };
        self.manifest
            .memory
            .check_file(&self.path.join(MEMORY_FILE))?
            .map_err(|reason| corrupt(format!("{MEMORY_FILE}: {reason}")))?;
        for image in &self.manifest.images {
            image
                .part
                .check_file(&image.path)?
                .map_err(|reason| SnapshotError::Incompatible {
                    path: self.path.clone(),
                    reason: format!("its image {}: {reason}", image.path.display()),
                })?;
        }
        Ok(())
    }

    /// A request that an instance has answered, as it reads it after the notice that it is a copy.
    pub fn rehearsal(&self) -> Result<Option<Vec<u8>>, SnapshotError> {
        let Some(part) = &self.manifest.rehearsal else {
            return Ok(None);
        };
        let bytes = read_bounded(&self.path.join(REHEARSAL_FILE))?;
        let checked = part.check_bytes(&bytes);
        checked.map_err(|reason| SnapshotError::Corrupt {
            path: self.path.clone(),
            reason: format!("{REHEARSAL_FILE}: {reason}"),
        })?;
        Ok(Some(bytes))
    }

    /// Asks for the memory file's pages to leave the page cache.
    pub(crate) fn drop_from_cache(&self) {
        use std::os::fd::AsRawFd;
        // SAFETY: advice about a descriptor; no memory is involved. It may be ignored.
        unsafe { libc::posix_fadvise(self.memory.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
    }

    /// What its instances touch.
    pub fn working_set(&self) -> &WorkingSet {
        &self.working_set
    }

    /// The manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The snapshot's directory.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Reads a small file, refusing one that is absurdly large.
fn read_bounded(path: &Path) -> Result<Vec<u8>, SnapshotError> {
    use std::io::Read;
    let file = File::open(path).map_err(SnapshotError::io("open", path))?;
    let mut bytes = Vec::new();
    file.take(METADATA_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(SnapshotError::io("read", path))?;
    if bytes.len() as u64 > METADATA_MAX {
        return Err(SnapshotError::io("read", path)(io::Error::other(
            "the file is too large",
        )));
    }
    Ok(bytes)
}

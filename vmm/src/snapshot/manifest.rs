//! `manifest.json`: what a snapshot is, needs, and consists of.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sprout_abi::ABI_VERSION;

use super::{MANIFEST_FILE, SnapshotError, read_bounded};
use crate::host::cpuid::Features;
use crate::host::isolation::PrivilegeMode;

/// Version of the directory's format.
pub const FORMAT_VERSION: u32 = 2;

/// Size and digest of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Length in bytes.
    pub size: u64,
    /// BLAKE3 of the content, hexadecimal.
    pub blake3: String,
}

/// An image mapped by the guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageRecord {
    /// The EROFS file.
    pub path: PathBuf,
    /// Mount point in the guest.
    pub mount: String,
    /// Its size and digest.
    #[serde(flatten)]
    pub part: Part,
}

/// Content of `manifest.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`FORMAT_VERSION`].
    pub format: u32,
    /// `sprout_abi::ABI_VERSION` of the sentry in it.
    pub abi: u32,
    /// BLAKE3 of the sentry's ELF, hexadecimal.
    pub sentry: String,
    /// Version of `sprout` that made it.
    pub made_by: String,
    /// When, in seconds since 1970.
    pub created: u64,
    /// The command that runs in it, for the operator.
    pub command: Vec<String>,
    /// How its sentry runs.
    pub privilege_mode: PrivilegeMode,
    /// How often its line was restored before it was made.
    pub generation: u64,
    /// Processor features its programs may rely on.
    pub features: Features,
    /// TSC frequency it was made at, for the record: a restored guest is told the new one.
    pub tsc_khz: u64,
    /// Bytes of RAM.
    pub memory_size: u64,
    /// Images, in slot order.
    pub images: Vec<ImageRecord>,
    /// `state.bin`.
    pub state: Part,
    /// `memory`, holes included.
    pub memory: Part,
    /// `working-set`.
    pub working_set: Part,
    /// `rehearsal`, if an instance has answered one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rehearsal: Option<Part>,
}

impl Manifest {
    /// Reads and checks the manifest of the snapshot in `directory`.
    pub fn read(directory: &Path) -> Result<Self, SnapshotError> {
        let path = directory.join(MANIFEST_FILE);
        let bytes = read_bounded(&path).map_err(|error| match error {
            SnapshotError::Io { cause, .. } if cause.kind() == io::ErrorKind::NotFound => {
                SnapshotError::Missing(directory.to_owned())
            }
            other => other,
        })?;
        let corrupt = |error: serde_json::Error| SnapshotError::Corrupt {
            path: directory.to_owned(),
            reason: format!("{MANIFEST_FILE}: {error}"),
        };
        // The version decides whether the rest can be understood.
        let Version { format } = serde_json::from_slice(&bytes).map_err(corrupt)?;
        let incompatible = |reason| {
            Err(SnapshotError::Incompatible {
                path: directory.to_owned(),
                reason,
            })
        };
        if format != FORMAT_VERSION {
            return incompatible(format!(
                "it has format version {format} and this program reads {FORMAT_VERSION}; make it \
                 again"
            ));
        }
        let manifest: Self = serde_json::from_slice(&bytes).map_err(corrupt)?;
        if manifest.abi != ABI_VERSION {
            return incompatible(format!(
                "its sentry speaks ABI version {} and this program {ABI_VERSION}; make it again",
                manifest.abi
            ));
        }
        Ok(manifest)
    }
}

#[derive(Deserialize)]
struct Version {
    format: u32,
}

impl Part {
    /// Describes bytes.
    pub fn of_bytes(bytes: &[u8]) -> Self {
        Self {
            size: bytes.len() as u64,
            blake3: blake3::hash(bytes).to_hex().to_string(),
        }
    }

    /// Describes a file.
    pub fn of_file(path: &Path) -> Result<Self, SnapshotError> {
        let file = File::open(path).map_err(SnapshotError::io("open", path))?;
        let mut hasher = blake3::Hasher::new();
        hasher
            .update_reader(file)
            .map_err(SnapshotError::io("read", path))?;
        Ok(Self {
            size: hasher.count(),
            blake3: hasher.finalize().to_hex().to_string(),
        })
    }

    /// Compares bytes with this description.
    pub fn check_bytes(&self, bytes: &[u8]) -> Result<(), String> {
        self.check(&Self::of_bytes(bytes))
    }

    /// Compares a file with this description; the outer error is of reading.
    pub fn check_file(&self, path: &Path) -> Result<Result<(), String>, SnapshotError> {
        Ok(self.check(&Self::of_file(path)?))
    }

    fn check(&self, found: &Self) -> Result<(), String> {
        if found.size != self.size {
            Err(format!(
                "it has {} bytes instead of {}",
                found.size, self.size
            ))
        } else if found.blake3 != self.blake3 {
            Err("its content does not match its digest".into())
        } else {
            Ok(())
        }
    }
}

impl ImageRecord {
    /// Whether the image is there with its size; the content is compared at registration.
    pub fn check_size(&self) -> Result<(), String> {
        let path = self.path.display();
        match std::fs::metadata(&self.path) {
            Ok(metadata) if metadata.len() == self.part.size => Ok(()),
            Ok(metadata) => Err(format!(
                "its image {path} has {} bytes instead of {}; build the image again",
                metadata.len(),
                self.part.size
            )),
            Err(error) => Err(format!("its image {path}: {error}; build the image again")),
        }
    }
}

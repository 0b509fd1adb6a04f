//! The deployed functions: one directory each, with a `function.json` that is replaced as a whole.
//!
//! A record is read again whenever its file is another one, so a redeployment takes effect with the
//! next request and those under way keep the snapshot they began with.

use std::collections::HashMap;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use sprout_protocol::Instances;
use thiserror::Error;

/// The version of [`FunctionRecord`] this code reads and writes.
pub const RECORD_VERSION: u32 = 1;

/// Content of `function.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionRecord {
    /// [`RECORD_VERSION`].
    pub version: u32,
    /// The function's name, also that of its directory.
    pub name: String,
    /// The runtime image it was deployed on, as named then.
    pub image: String,
    /// Digest of the image made of the function's files.
    pub function_image: String,
    /// Name of its snapshot, below the snapshots directory.
    pub snapshot: String,
    /// The snapshot it had before: requests that began with it may still be opening it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_snapshot: Option<String>,
    /// Guest memory in bytes.
    pub memory: u64,
    /// When it was deployed, seconds since 1970.
    pub deployed_at: u64,
    /// What becomes of its VMs after their answers; the gateway's default otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instances: Option<Instances>,
}

/// A function that can be run.
#[derive(Debug, PartialEq, Eq)]
pub struct Function {
    /// What was deployed.
    pub record: FunctionRecord,
    /// Its snapshot.
    pub snapshot_dir: PathBuf,
}

/// Why there is no function to run.
#[derive(Debug, Error)]
pub enum RegistryError {
    /// Nothing of that name is deployed.
    #[error("no function is deployed under this name")]
    Unknown,
    /// Its record cannot be used.
    #[error("function record {}: {reason}; deploy the function again", path.display())]
    Broken {
        /// The record.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// Tells one version of a file from the next.
type FileVersion = (u64, u64, i64, i64);

/// The functions on disk, with those already read.
#[derive(Debug)]
pub struct Registry {
    functions: PathBuf,
    snapshots: PathBuf,
    known: Mutex<HashMap<String, (FileVersion, Arc<Function>)>>,
}

/// Whether `name` can name a function: a DNS label, so that it is safe as a path and in a URL.
pub fn is_valid_name(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    (1..=63).contains(&name.len())
        && name.bytes().all(|byte| inner(byte) || byte == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-')
}

/// The record of `name` below the functions directory.
pub fn record_path(functions: &Path, name: &str) -> PathBuf {
    functions.join(name).join("function.json")
}

/// Holds off other deployments of one function.
#[derive(Debug)]
pub struct Deployment {
    path: PathBuf,
    previous: Option<FunctionRecord>,
    _lock: File,
}

impl Deployment {
    /// Waits for other deployments of `name` and reads what is deployed now.
    pub fn begin(functions: &Path, name: &str) -> anyhow::Result<Self> {
        anyhow::ensure!(
            is_valid_name(name),
            "{name:?} cannot name a function: use 1 to 63 of a-z, 0-9 and `-`, with no `-` at the \
             ends"
        );
        let path = record_path(functions, name);
        let directory = functions.join(name);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&directory)
            .with_context(|| format!("cannot create {}", directory.display()))?;
        let lock_path = directory.join(".lock");
        let lock = create_private(&lock_path)
            .and_then(|file| file.lock().map(|()| file))
            .with_context(|| format!("cannot lock {}", lock_path.display()))?;
        // A record that cannot be read is replaced like any other; its snapshots stay on disk.
        let previous = fs::read(&path)
            .ok()
            .and_then(|text| serde_json::from_slice(&text).ok());
        Ok(Self {
            path,
            previous,
            _lock: lock,
        })
    }

    /// Puts `record` in place of what was deployed. Returns the snapshot nobody can begin with any
    /// more: the one before the previous.
    pub fn publish(self, mut record: FunctionRecord) -> anyhow::Result<Option<String>> {
        let (previous, obsolete) = match self.previous {
            Some(previous) => (Some(previous.snapshot), previous.previous_snapshot),
            None => (None, None),
        };
        record.previous_snapshot = previous;
        let new = self.path.with_extension("json.new");
        let write = || {
            let mut file = create_private(&new)?;
            serde_json::to_writer_pretty(&mut file, &record)?;
            file.write_all(b"\n")?;
            file.sync_all()?;
            fs::rename(&new, &self.path)?;
            // The new name is only durable once its directory is.
            self.path
                .parent()
                .map_or(Ok(()), |directory| File::open(directory)?.sync_all())
        };
        write().with_context(|| format!("cannot write {}", self.path.display()))?;
        Ok(obsolete)
    }
}

/// A new or emptied file that is its owner's alone, as functions and their secrets are.
fn create_private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let file = options.open(path)?;
    // One that was there keeps its mode otherwise.
    file.set_permissions(Permissions::from_mode(0o600))?;
    Ok(file)
}

impl Registry {
    /// A registry over the two state directories.
    pub fn new(functions: PathBuf, snapshots: PathBuf) -> Self {
        Self {
            functions,
            snapshots,
            known: Mutex::default(),
        }
    }

    /// The function deployed as `name` now.
    pub fn find(&self, name: &str) -> Result<Arc<Function>, RegistryError> {
        if !is_valid_name(name) {
            return Err(RegistryError::Unknown);
        }
        let path = record_path(&self.functions, name);
        let metadata = match fs::metadata(&path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.lock().remove(name);
                return Err(RegistryError::Unknown);
            }
            Err(error) => return Err(broken(&path, error)),
        };
        let version = (
            metadata.dev(),
            metadata.ino(),
            metadata.mtime(),
            metadata.mtime_nsec(),
        );
        if let Some((known, function)) = self.lock().get(name)
            && *known == version
        {
            return Ok(function.clone());
        }
        let function = Arc::new(self.read(name, &path)?);
        self.lock()
            .insert(name.to_owned(), (version, function.clone()));
        Ok(function)
    }

    fn read(&self, name: &str, path: &Path) -> Result<Function, RegistryError> {
        let text = fs::read(path).map_err(|error| broken(path, error))?;
        let record: FunctionRecord =
            serde_json::from_slice(&text).map_err(|error| broken(path, error))?;
        if record.version != RECORD_VERSION {
            let reason = format!("is of version {}, not {RECORD_VERSION}", record.version);
            return Err(broken(path, reason));
        }
        if record.name != name {
            return Err(broken(
                path,
                format!("names the function {:?}", record.name),
            ));
        }
        let plain = Path::new(&record.snapshot)
            .file_name()
            .and_then(|name| name.to_str());
        if plain != Some(record.snapshot.as_str()) {
            return Err(broken(
                path,
                format!("{:?} is no snapshot's name", record.snapshot),
            ));
        }
        let snapshot_dir = self.snapshots.join(&record.snapshot);
        Ok(Function {
            record,
            snapshot_dir,
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, (FileVersion, Arc<Function>)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn broken(path: &Path, reason: impl ToString) -> RegistryError {
    RegistryError::Broken {
        path: path.to_owned(),
        reason: reason.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(name: &str, snapshot: &str) -> FunctionRecord {
        FunctionRecord {
            version: RECORD_VERSION,
            name: name.into(),
            image: "node:24".into(),
            function_image: "blake3-00".into(),
            snapshot: snapshot.into(),
            previous_snapshot: None,
            memory: 256 << 20,
            deployed_at: 1,
            instances: None,
        }
    }

    fn write(root: &Path, directory: &str, record: &FunctionRecord) {
        let path = record_path(root, directory);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let new = path.with_extension("new");
        fs::write(&new, serde_json::to_vec(record).unwrap()).unwrap();
        fs::rename(new, path).unwrap();
    }

    #[test]
    fn a_redeployment_shows_at_the_next_look_and_the_old_one_stays_valid() {
        let root = tempfile::tempdir().unwrap();
        let registry = Registry::new(root.path().into(), "/snapshots".into());
        assert!(matches!(
            registry.find("hello"),
            Err(RegistryError::Unknown)
        ));
        write(root.path(), "hello", &record("hello", "one"));
        let first = registry.find("hello").unwrap();
        assert_eq!(first.snapshot_dir, Path::new("/snapshots/one"));
        assert!(Arc::ptr_eq(&first, &registry.find("hello").unwrap()));
        write(root.path(), "hello", &record("hello", "two"));
        assert_eq!(registry.find("hello").unwrap().record.snapshot, "two");
        assert_eq!(first.record.snapshot, "one");
        fs::remove_file(record_path(root.path(), "hello")).unwrap();
        assert!(matches!(
            registry.find("hello"),
            Err(RegistryError::Unknown)
        ));
    }

    #[test]
    fn a_deployment_keeps_one_snapshot_back() {
        let root = tempfile::tempdir().unwrap();
        let registry = Registry::new(root.path().into(), "/snapshots".into());
        let mut obsolete = Vec::new();
        for snapshot in ["one", "two", "three"] {
            let deployment = Deployment::begin(root.path(), "hello").unwrap();
            obsolete.push(deployment.publish(record("hello", snapshot)).unwrap());
            assert_eq!(registry.find("hello").unwrap().record.snapshot, snapshot);
        }
        assert_eq!(obsolete, [None, None, Some("one".to_owned())]);
        assert!(Deployment::begin(root.path(), "../x").is_err());
    }

    #[test]
    fn a_deployment_is_its_owner_s_alone() {
        let root = tempfile::tempdir().unwrap();
        let functions = root.path().join("functions");
        for _ in 0..2 {
            let deployment = Deployment::begin(&functions, "hello").unwrap();
            deployment.publish(record("hello", "one")).unwrap();
            let directory = functions.join("hello");
            for (path, expected) in [
                (functions.clone(), 0o700),
                (directory.clone(), 0o700),
                (directory.join(".lock"), 0o600),
                (directory.join("function.json"), 0o600),
            ] {
                let mode = fs::metadata(&path).unwrap().mode() & 0o777;
                assert_eq!(mode, expected, "{}", path.display());
                // As older versions left it.
                if path.is_file() {
                    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
                }
            }
        }
    }

    #[test]
    fn a_second_deployment_waits_for_the_first() {
        let root = tempfile::tempdir().unwrap();
        let first = Deployment::begin(root.path(), "hello").unwrap();
        let functions = root.path().to_owned();
        let second = std::thread::spawn(move || {
            Deployment::begin(&functions, "hello")
                .unwrap()
                .previous
                .map(|record| record.snapshot)
        });
        first.publish(record("hello", "one")).unwrap();
        assert_eq!(second.join().unwrap().as_deref(), Some("one"));
    }

    #[test]
    fn names_that_are_paths_or_not_labels_are_unknown() {
        let root = tempfile::tempdir().unwrap();
        let registry = Registry::new(root.path().into(), "/snapshots".into());
        for name in [
            "",
            ".",
            "..",
            "../a",
            "a/b",
            "A",
            "a_b",
            "-a",
            "a-",
            "a\0b",
            &"a".repeat(64),
        ] {
            assert!(
                matches!(registry.find(name), Err(RegistryError::Unknown)),
                "{name:?}"
            );
        }
        assert!(is_valid_name(&"a".repeat(63)));
    }

    #[test]
    fn a_record_that_does_not_fit_is_broken_and_says_why() {
        let root = tempfile::tempdir().unwrap();
        let registry = Registry::new(root.path().into(), "/snapshots".into());
        let future = FunctionRecord {
            version: 9,
            ..record("future", "s")
        };
        write(root.path(), "future", &future);
        write(root.path(), "other", &record("another", "s"));
        write(root.path(), "escape", &record("escape", "../s"));
        fs::create_dir(root.path().join("text")).unwrap();
        fs::write(record_path(root.path(), "text"), "{").unwrap();
        for (name, why) in [
            ("future", "version 9"),
            ("other", "names"),
            ("escape", "snapshot's"),
            ("text", "EOF"),
        ] {
            let error = registry.find(name).unwrap_err().to_string();
            assert!(error.contains(why), "{name}: {error}");
        }
    }
}

//! The store: where images, snapshots and functions are kept on disk.
//!
//! ```text
//! $SPROUT_HOME, else $XDG_DATA_HOME/sprout, else ~/.local/share/sprout
//!   images/blake3-<hex>.erofs   image, read-only, named by the digest of its bytes
//!   images/<name>_<tag>.json    reference: digest, configuration, provenance
//!   snapshots/<name>/           a snapshot (contents: the VMM's)
//!   functions/<name>/           a registered function (contents: the gateway's)
//! ```
//!
//! Files appear whole or not at all (temporary file, fsync, rename) and never change afterwards:
//! running guests have them mapped. Nobody but the owner reads them: images and snapshots hold
//! code, data and memory of functions.

mod private;

use std::env;
use std::ffi::OsString;
use std::fs::{self, File as HostFile};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use crate::erofs::{DEFAULT_MTIME, Plan, Written};
use crate::image::{Digest, ImageConfig, Provenance};
use crate::recipe::Recipe;
use crate::reference::{Reference, check_name};
use crate::tree::{Node, Tree, TreeKind};
use crate::{Error, Result};

/// Largest reference file read.
const REFERENCE_MAX: u64 = 1 << 20;

/// The store.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
}

/// An image's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageFile {
    /// The EROFS file, to be mapped read-only.
    pub path: PathBuf,
    /// Digest of its bytes.
    pub digest: Digest,
    /// Its length, a multiple of 2 MiB.
    pub size: u64,
}

/// An image with a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Its name.
    pub reference: Reference,
    /// The EROFS file, to be mapped read-only.
    pub path: PathBuf,
    /// Digest of its bytes.
    pub digest: Digest,
    /// Its length, a multiple of 2 MiB.
    pub size: u64,
    /// How programs in it are started.
    pub config: ImageConfig,
    /// Where it comes from.
    pub provenance: Provenance,
}

/// Content of a reference file.
#[derive(Serialize, Deserialize)]
struct Record {
    reference: String,
    digest: Digest,
    size: u64,
    config: ImageConfig,
    provenance: Provenance,
}

impl ImageFile {
    /// Reads the whole file and compares its digest.
    pub fn verify(&self) -> Result<()> {
        let mut hasher = blake3::Hasher::new();
        let file = HostFile::open(&self.path).map_err(Error::io("open", &self.path))?;
        hasher
            .update_reader(file)
            .map_err(Error::io("read", &self.path))?;
        let found = Digest(hasher.finalize());
        if found == self.digest {
            return Ok(());
        }
        Err(Error::corrupt(
            &self.path,
            format!(
                "its digest is {found} instead of {}: delete it and build it again",
                self.digest
            ),
        ))
    }
}

impl Image {
    /// The file alone.
    pub fn file(&self) -> ImageFile {
        ImageFile {
            path: self.path.clone(),
            digest: self.digest,
            size: self.size,
        }
    }

    /// Reads the whole file and compares its digest.
    pub fn verify(&self) -> Result<()> {
        self.file().verify().map_err(|error| match error {
            Error::Corrupt { path, .. } => Error::corrupt(
                path,
                format!("its digest is wrong: {}", remedy(&self.reference)),
            ),
            other => other,
        })
    }
}

impl Store {
    /// The store at its usual place; nothing is created before something is put in.
    pub fn open_default() -> Result<Store> {
        let set = |name| env::var_os(name).filter(|value: &OsString| !value.is_empty());
        let root = if let Some(home) = set("SPROUT_HOME") {
            PathBuf::from(home)
        } else if let Some(data) = set("XDG_DATA_HOME") {
            Path::new(&data).join("sprout")
        } else {
            Path::new(&set("HOME").ok_or(Error::NoHome)?).join(".local/share/sprout")
        };
        // Processes that are handed paths of the store may run in another directory.
        let root = std::path::absolute(&root).map_err(Error::io("find", &root))?;
        private::tighten(&root);
        Ok(Store::open(root))
    }

    /// The store in the directory `root`.
    pub fn open(root: impl Into<PathBuf>) -> Store {
        Store { root: root.into() }
    }

    /// The directory of everything.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The directory of image files and references.
    pub fn images_dir(&self) -> PathBuf {
        self.root.join("images")
    }

    /// The directory of snapshots.
    pub fn snapshots_dir(&self) -> PathBuf {
        self.root.join("snapshots")
    }

    /// The directory of the snapshot `name`, which need not exist.
    pub fn snapshot_dir(&self, name: &str) -> Result<PathBuf> {
        check_name("snapshot name", name)?;
        Ok(self.snapshots_dir().join(name))
    }

    /// The directory of registered functions.
    pub fn functions_dir(&self) -> PathBuf {
        self.root.join("functions")
    }

    /// The directory of the function `name`, which need not exist.
    pub fn function_dir(&self, name: &str) -> Result<PathBuf> {
        check_name("function name", name)?;
        Ok(self.functions_dir().join(name))
    }

    /// Writes `tree` as an image and makes `reference` name it, whatever it named before.
    pub fn add_image(
        &self,
        reference: &Reference,
        tree: &Tree,
        mtime: u64,
        config: ImageConfig,
        provenance: Provenance,
    ) -> Result<Image> {
        let file = self.write_image(&Plan::new(tree, mtime)?)?;
        let record = Record {
            reference: reference.to_string(),
            digest: file.digest,
            size: file.size,
            config,
            provenance,
        };
        let path = self.reference_path(reference);
        let mut json = serde_json::to_vec_pretty(&record)
            .map_err(|error| Error::io("write", &path)(error.into()))?;
        json.push(b'\n');
        let mut temporary = self.temporary()?;
        temporary
            .write_all(&json)
            .map_err(Error::io("write", temporary.path()))?;
        self.publish(temporary, &path, 0o600)?;
        Ok(image(reference.clone(), file.path, record))
    }

    /// The image called `reference` (`name:tag`, or `name` for `name:latest`). Its file exists
    /// and has the right length; [`Image::verify`] checks the content.
    pub fn resolve(&self, reference: &str) -> Result<Image> {
        let reference: Reference = reference.parse()?;
        let path = self.reference_path(&reference);
        let record = read_record(&path).map_err(|error| match error {
            Error::Io { cause, .. } if cause.kind() == ErrorKind::NotFound => Error::UnknownImage {
                reference: reference.to_string(),
                store: self.images_dir(),
                remedy: remedy(&reference),
            },
            other => other,
        })?;
        if record.reference != reference.to_string() {
            let reason = format!("it is about {}: {}", record.reference, remedy(&reference));
            return Err(Error::corrupt(path, reason));
        }
        let file = self.image_path(record.digest);
        match fs::metadata(&file) {
            Ok(metadata) if metadata.len() == record.size => Ok(image(reference, file, record)),
            Ok(metadata) => Err(Error::corrupt(
                file,
                format!(
                    "it has {} bytes instead of {}: {}",
                    metadata.len(),
                    record.size,
                    remedy(&reference)
                ),
            )),
            Err(error) if error.kind() == ErrorKind::NotFound => Err(Error::corrupt(
                file,
                format!("it is missing: {}", remedy(&reference)),
            )),
            Err(error) => Err(Error::io("read", &file)(error)),
        }
    }

    /// The image file with the given digest, if it is in the store.
    pub fn image_file(&self, digest: Digest) -> Result<ImageFile> {
        let path = self.image_path(digest);
        match fs::metadata(&path) {
            Ok(metadata) => Ok(ImageFile {
                path,
                digest,
                size: metadata.len(),
            }),
            Err(error) if error.kind() == ErrorKind::NotFound => Err(Error::UnknownImage {
                reference: digest.to_string(),
                store: self.images_dir(),
                remedy: "build it, or deploy the function it belongs to, again".into(),
            }),
            Err(error) => Err(Error::io("read", &path)(error)),
        }
    }

    /// Every named image, by name. Damaged ones are in the list as errors.
    pub fn list(&self) -> Result<Vec<Result<Image>>> {
        let directory = self.images_dir();
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Error::io("list", &directory)(error)),
        };
        let mut references = Vec::new();
        for entry in entries {
            let name = entry.map_err(Error::io("list", &directory))?.file_name();
            let reference = name
                .to_str()
                .and_then(|name| name.strip_suffix(".json")?.split_once('_'))
                .and_then(|(name, tag)| format!("{name}:{tag}").parse::<Reference>().ok());
            references.extend(reference);
        }
        references.sort();
        Ok(references
            .iter()
            .map(|reference| self.resolve(&reference.to_string()))
            .collect())
    }

    /// The image of a function's directory; built unless one with this content is there already.
    /// `note` is told what had to be left out.
    pub fn function_image(
        &self,
        directory: &Path,
        note: &mut dyn FnMut(&str),
    ) -> Result<ImageFile> {
        let tree = Tree::from_directory(directory, TreeKind::Function)?;
        tree.notes.iter().for_each(|text| note(text));
        self.cached_image(&tree)
    }

    /// The image of the agent that comes with the program, for mounting at `/sprout`.
    pub fn agent_image(&self) -> Result<ImageFile> {
        let mut tree = Tree::default();
        for (name, text) in sprout_agent::JS_FILES {
            tree.insert(name, Node::file(0o644, text.as_bytes()))?;
        }
        self.cached_image(&tree)
    }

    fn cached_image(&self, tree: &Tree) -> Result<ImageFile> {
        let plan = Plan::new(tree, DEFAULT_MTIME)?;
        let Written { digest, size } = plan.digest()?;
        match self.image_file(Digest(digest)) {
            Ok(file) if file.size == size => Ok(file),
            _ => self.write_image(&plan),
        }
    }

    /// Writes an image file; one with the same content stays in place, since the page cache and
    /// running guests share it.
    fn write_image(&self, plan: &Plan<'_>) -> Result<ImageFile> {
        let mut temporary = self.temporary()?;
        let name = temporary.path().to_owned();
        let Written { digest, size } = plan.write(temporary.as_file_mut(), &name)?;
        let digest = Digest(digest);
        let file = ImageFile {
            path: self.image_path(digest),
            digest,
            size,
        };
        if !file.path.exists() || file.verify().is_err() {
            self.publish(temporary, &file.path, 0o400)?;
        }
        Ok(file)
    }

    /// A temporary file beside its later place; removed unless published.
    fn temporary(&self) -> Result<NamedTempFile> {
        let directory = self.images_dir();
        private::create_directory(&directory).map_err(Error::io("create", &directory))?;
        tempfile::Builder::new()
            .prefix(".new-")
            .tempfile_in(&directory)
            .map_err(Error::io("create a file in", &directory))
    }

    /// Gives a complete temporary file its name, durably.
    fn publish(&self, temporary: NamedTempFile, path: &Path, mode: u32) -> Result<()> {
        let file = temporary.as_file();
        file.set_permissions(fs::Permissions::from_mode(mode))
            .and_then(|()| file.sync_all())
            .map_err(Error::io("write", path))?;
        temporary
            .persist(path)
            .map_err(|error| Error::io("create", path)(error.error))?;
        let directory = self.images_dir();
        HostFile::open(&directory)
            .and_then(|directory| directory.sync_all())
            .map_err(Error::io("sync", &directory))
    }

    fn image_path(&self, digest: Digest) -> PathBuf {
        self.images_dir().join(format!("{digest}.erofs"))
    }

    fn reference_path(&self, reference: &Reference) -> PathBuf {
        self.images_dir()
            .join(format!("{}_{}.json", reference.name(), reference.tag()))
    }
}

fn image(reference: Reference, path: PathBuf, record: Record) -> Image {
    let Record {
        digest,
        size,
        config,
        provenance,
        ..
    } = record;
    Image {
        reference,
        path,
        digest,
        size,
        config,
        provenance,
    }
}

fn read_record(path: &Path) -> Result<Record> {
    let metadata = fs::metadata(path).map_err(Error::io("read", path))?;
    if metadata.len() > REFERENCE_MAX {
        return Err(Error::corrupt(path, "it is larger than any reference"));
    }
    let text = fs::read(path).map_err(Error::io("read", path))?;
    serde_json::from_slice(&text).map_err(|error| Error::corrupt(path, error.to_string()))
}

/// What to do when an image is missing or damaged.
fn remedy(reference: &Reference) -> String {
    let reference = reference.to_string();
    if Recipe::builtin_names().any(|name| name == reference) {
        format!("run `sprout image build {reference}`")
    } else {
        format!("run `sprout image build DIRECTORY --name {reference}`")
    }
}

#[cfg(test)]
mod tests;

//! The bytes of regular files: in memory, or in files of the host that must not change meanwhile.

use std::fs::{self, Metadata};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::SeekFrom;
use rustix::io::Errno;

use super::File;
use super::long_path::reach;
use crate::{Error, Result};

/// Where a regular file's bytes are.
#[derive(Clone, Debug)]
pub enum Bytes {
    /// In memory.
    Memory(Arc<[u8]>),
    /// In a file of the host, read when the image is written.
    Host(HostFile),
}

/// A file of the host as it was when it was listed.
#[derive(Clone, Debug)]
pub struct HostFile {
    path: PathBuf,
    version: Version,
}

/// What changes whenever a file's content does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Version {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Version {
    fn of(metadata: &Metadata) -> Version {
        Version {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

impl HostFile {
    /// The file at `path`, which had `metadata` when it was listed.
    pub fn new(path: PathBuf, metadata: &Metadata) -> HostFile {
        HostFile {
            path,
            version: Version::of(metadata),
        }
    }

    fn changed(&self) -> Error {
        Error::unsupported(
            &self.path,
            "it changed while it was read: try again when nothing writes to it",
        )
    }

    /// An error unless `file` is still what was listed.
    fn check(&self, file: &fs::File) -> Result<()> {
        let metadata = file.metadata().map_err(Error::io("read", &self.path))?;
        match Version::of(&metadata) == self.version {
            true => Ok(()),
            false => Err(self.changed()),
        }
    }
}

/// A file's content, open for reading.
pub enum Opened<'a> {
    Memory(&'a [u8]),
    Host(fs::File, &'a HostFile),
}

impl File {
    /// Opens the content for reading.
    pub(crate) fn open(&self) -> Result<Opened<'_>> {
        let host = match &self.bytes {
            Bytes::Memory(bytes) => return Ok(Opened::Memory(bytes)),
            Bytes::Host(host) => host,
        };
        // The file was a regular one when it was listed; it must not turn into a link since.
        let file = reach(&host.path)
            .and_then(|short| {
                fs::File::options()
                    .read(true)
                    .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
                    .open(short.path())
            })
            .map_err(|error| unreadable("open", &host.path, error))?;
        host.check(&file)?;
        Ok(Opened::Host(file, host))
    }
}

/// An error about a file, with the remedy where rights are what is missing.
pub(super) fn unreadable(action: &'static str, path: &Path, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::PermissionDenied => Error::unsupported(
            path,
            format!(
                "cannot {action} it: {error}. Run this as a user who may read everything in the \
                 directory, or take the file out"
            ),
        ),
        _ => Error::io(action, path)(error),
    }
}

impl Opened<'_> {
    /// Fills `buffer` with the bytes at `offset`, which the file had when it was listed.
    pub(crate) fn read(&self, buffer: &mut [u8], offset: u64) -> Result<()> {
        match self {
            Opened::Memory(bytes) => {
                let start = usize::try_from(offset).unwrap_or(usize::MAX);
                let source = bytes.get(start..).and_then(|rest| rest.get(..buffer.len()));
                let source =
                    source.ok_or_else(|| Error::unsupported("a generated file", "is cut short"))?;
                buffer.copy_from_slice(source);
                Ok(())
            }
            Opened::Host(file, host) => {
                file.read_exact_at(buffer, offset)
                    .map_err(|error| match error.kind() {
                        io::ErrorKind::UnexpectedEof => host.changed(),
                        _ => Error::io("read", &host.path)(error),
                    })
            }
        }
    }

    /// The next stretch from `offset` on that may hold something else than zeros; `None`: the rest
    /// up to `size` is a hole.
    pub(crate) fn next_data(&self, offset: u64, size: u64) -> Result<Option<Range<u64>>> {
        let all = (offset < size).then_some(offset..size);
        let Opened::Host(file, host) = self else {
            return Ok(all);
        };
        if all.is_none() {
            return Ok(None);
        }
        let failed = |errno: Errno| Error::io("read", &host.path)(errno.into());
        let start = match rustix::fs::seek(file, SeekFrom::Data(offset)) {
            Ok(start) => start,
            Err(Errno::NXIO) => return Ok(None),
            // A file system that knows no holes.
            Err(Errno::INVAL) => return Ok(all),
            Err(errno) => return Err(failed(errno)),
        };
        let end = rustix::fs::seek(file, SeekFrom::Hole(start)).map_err(failed)?;
        Ok((start < size).then(|| start..end.min(size)))
    }

    /// To be called after the last read: an error if the file changed since it was listed.
    pub(crate) fn close(self) -> Result<()> {
        match self {
            Opened::Memory(_) => Ok(()),
            Opened::Host(file, host) => host.check(&file),
        }
    }
}

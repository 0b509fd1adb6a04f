//! Keeping a file's page cache in 2 MiB folios.
//!
//! Every VM maps the same image files from the page cache. Where the cache holds 2 MiB folios, KVM
//! maps 2 MiB at once: one shadow fault instead of 512. How a file came into the cache decides its
//! folios (a mapping with MADV_HUGEPAGE reads it in large ones), so what is there in small ones is
//! dropped and read again.
//!
//! Under memory pressure folios are split and evicted, and what is read again in between comes in
//! small ones. So images are looked at whenever a guest starts on them ([`keep`]): a fraction of a
//! millisecond while all is well.

mod share;

use std::fs::{File, Metadata};
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use sprout_abi::layout::HUGE_PAGE_SIZE;

use crate::memory::mapping::Mapping;
pub use share::Share;

/// How long [`keep`] lets a file be that it could not put into large folios, as when others have it
/// mapped or memory is scarce: each attempt reads from the disk.
const PATIENCE: Duration = Duration::from_secs(60);

/// Puts the file at `path` into large folios as far as the host does it; returns the bytes that are
/// mapped by large pages afterwards. A host without them is no error. Costs a read of the file,
/// once per boot of the host.
pub fn settle(path: &Path) -> io::Result<u64> {
    let file = Cached::open(path)?;
    file.read(0..file.whole())?;
    let share = file.share()?;
    if share.large < share.whole {
        file.read_again(0..file.whole())?;
        return Ok(file.share()?.large);
    }
    Ok(share.large)
}

/// How much of the file at `path` is in the page cache, and in large folios. Reads nothing from the
/// disk.
pub fn share(path: &Path) -> io::Result<Share> {
    Cached::open(path)?.share()
}

/// As [`share`], and puts right what is in small folios. What is not in the cache stays out: a
/// guest's mapping brings it in large folios. Processes that find another at it, and those that
/// come shortly after an attempt that failed, leave it as it is.
pub fn keep(path: &Path) -> io::Result<Share> {
    let file = Cached::open(path)?;
    let found = file.share()?;
    if found.small.is_empty() {
        return Ok(found);
    }
    let Some(attempt) = Attempt::begin(path) else {
        return Ok(found);
    };
    for range in &found.small {
        for start in range.clone().step_by(share::WINDOW as usize) {
            file.read_again(start..range.end.min(start + share::WINDOW))?;
        }
    }
    let after = file.share()?;
    attempt.end(after.small.is_empty());
    Ok(after)
}

/// An open file, mapped with large pages wanted.
struct Cached {
    file: File,
    mapping: Mapping,
    length: u64,
}

impl Cached {
    fn open(path: &Path) -> io::Result<Cached> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        let size = usize::try_from(length).map_err(io::Error::other)?;
        Ok(Cached {
            mapping: Mapping::read_only_file(&file, size)?,
            file,
            length,
        })
    }

    /// Bytes of the file in whole large pages.
    fn whole(&self) -> u64 {
        self.length / HUGE_PAGE_SIZE * HUGE_PAGE_SIZE
    }

    /// Brings a range into the cache.
    fn read(&self, range: Range<u64>) -> io::Result<()> {
        let size = |bytes| usize::try_from(bytes).map_err(io::Error::other);
        let (start, length) = (size(range.start)?, size(range.end - range.start)?);
        self.mapping.advise(start, length, libc::MADV_POPULATE_READ)
    }

    /// Drops a range from the cache, except what others have mapped, and reads it again.
    fn read_again(&self, range: Range<u64>) -> io::Result<()> {
        // What this process has mapped would not go.
        let unmapped = Cached {
            mapping: Mapping::read_only_file(&self.file, self.mapping.size())?,
            file: self.file.try_clone()?,
            length: self.length,
        };
        let size = |bytes| usize::try_from(bytes).map_err(io::Error::other);
        let (start, length) = (size(range.start)?, size(range.end - range.start)?);
        self.mapping.advise(start, length, libc::MADV_DONTNEED)?;
        let fd = self.file.as_raw_fd();
        let (at, count) = (range.start as i64, (range.end - range.start) as i64);
        // SAFETY: advice about a descriptor; no memory is involved.
        unsafe { libc::posix_fadvise(fd, at, count, libc::POSIX_FADV_DONTNEED) };
        unmapped.read(range)
    }

    fn share(&self) -> io::Result<Share> {
        Share::of(&self.file, &self.mapping, self.whole())
    }
}

/// The right to read a file again. A hidden file beside it tells other processes.
struct Attempt {
    marker: PathBuf,
    _lock: File,
}

impl Attempt {
    /// `None` if another process is at it, an attempt failed lately, or this can't be told.
    fn begin(path: &Path) -> Option<Attempt> {
        let marker = path.with_file_name(format!(".folios-{}", path.file_name()?.to_str()?));
        let lock = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW)
            .open(&marker)
            .ok()?;
        lock.try_lock().ok()?;
        (!failed_lately(&lock.metadata().ok()?)).then_some(Attempt {
            marker,
            _lock: lock,
        })
    }

    /// Forgets a success, keeps a failure for a while.
    fn end(self, success: bool) {
        let _ = match success {
            true => std::fs::remove_file(&self.marker),
            false => std::fs::write(&self.marker, b"!"),
        };
    }
}

/// Whether the marker was left by a failed attempt a short while ago.
fn failed_lately(marker: &Metadata) -> bool {
    let age = marker
        .modified()
        .ok()
        .and_then(|at| SystemTime::now().duration_since(at).ok());
    marker.size() > 0 && age.is_some_and(|age| age < PATIENCE)
}

#[cfg(test)]
mod tests;

//! A directory that appears under its name all at once, or not at all.

use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::SnapshotError;

/// A directory being filled; removed with its content unless published.
#[derive(Debug)]
pub struct Staging {
    path: PathBuf,
    target: PathBuf,
}

impl Staging {
    /// Makes a directory beside `target`.
    pub fn beside(target: &Path) -> Result<Self, SnapshotError> {
        let no_name = || {
            let cause = io::Error::new(io::ErrorKind::InvalidInput, "it has no name");
            SnapshotError::io("create", target)(cause)
        };
        let name = target.file_name().ok_or_else(no_name)?;
        let parent = target.parent().ok_or_else(no_name)?;
        fs::create_dir_all(parent).map_err(SnapshotError::io("create", parent))?;
        let mut random = [0; 8];
        getrandom::fill(&mut random)
            .map_err(|error| SnapshotError::io("create", target)(io::Error::other(error)))?;
        let suffix = format!(".new-{:016x}", u64::from_ne_bytes(random));
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        hidden.push(suffix);
        let path = parent.join(hidden);
        fs::create_dir(&path).map_err(SnapshotError::io("create", &path))?;
        Ok(Self {
            path,
            target: target.to_owned(),
        })
    }

    /// Where to put the files.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a small file, in place of an earlier one, and makes it durable.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), SnapshotError> {
        use std::io::Write;
        let path = self.path.join(name);
        let mut file = File::create(&path).map_err(SnapshotError::io("create", &path))?;
        file.write_all(bytes)
            .and_then(|()| file.sync_all())
            .map_err(SnapshotError::io("write", &path))
    }

    /// Makes the directory durable and gives it its name, in place of what had it before.
    pub fn publish(self) -> Result<(), SnapshotError> {
        sync_directory(&self.path)?;
        let published = match fs::rename(&self.path, &self.target) {
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOTEMPTY | libc::EEXIST)) => {
                // After the exchange the old directory has our temporary name and is removed.
                exchange(&self.path, &self.target)
            }
            other => other,
        };
        published.map_err(SnapshotError::io("put in place", &self.target))?;
        match self.target.parent() {
            Some(parent) => sync_directory(parent),
            None => Ok(()),
        }
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // Nothing is left when it was renamed; a failure leaves a hidden directory, no snapshot.
        let _ = fs::remove_dir_all(&self.path);
    }
}

fn sync_directory(path: &Path) -> Result<(), SnapshotError> {
    File::open(path)
        .and_then(|directory| directory.sync_all())
        .map_err(SnapshotError::io("sync", path))
}

fn exchange(a: &Path, b: &Path) -> io::Result<()> {
    let a = CString::new(a.as_os_str().as_bytes())?;
    let b = CString::new(b.as_os_str().as_bytes())?;
    // SAFETY: both are NUL-terminated strings that live through the call.
    let result = unsafe {
        libc::renameat2(
            libc::AT_FDCWD,
            a.as_ptr(),
            libc::AT_FDCWD,
            b.as_ptr(),
            libc::RENAME_EXCHANGE,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_published_directory_replaces_the_old_one_and_leaves_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let target = root.path().join("deeper/seed");
        for content in ["one", "two"] {
            let staging = Staging::beside(&target).unwrap();
            staging.write("file", content.as_bytes()).unwrap();
            staging.publish().unwrap();
            assert_eq!(fs::read_to_string(target.join("file")).unwrap(), content);
        }
        assert_eq!(fs::read_dir(root.path().join("deeper")).unwrap().count(), 1);
    }

    #[test]
    fn an_abandoned_directory_vanishes_and_the_old_one_stays() {
        let root = tempfile::tempdir().unwrap();
        let target = root.path().join("seed");
        fs::create_dir(&target).unwrap();
        let staging = Staging::beside(&target).unwrap();
        staging.write("file", b"x").unwrap();
        drop(staging);
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
        assert_eq!(fs::read_dir(&target).unwrap().count(), 0);
    }
}

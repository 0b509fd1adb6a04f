//! Paths longer than a system call takes (PATH_MAX, 4096 bytes): deep trees have them.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Bytes of a path that is handed to the kernel as it is.
const SHORT: usize = 3000;

/// A short path to a file, good as long as this lives.
pub struct Reach {
    path: PathBuf,
    _directory: Option<File>,
}

impl Reach {
    /// The short path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Makes `path` short, by opening directories on its way where it is not.
pub fn reach(path: &Path) -> io::Result<Reach> {
    let mut short = PathBuf::new();
    let mut directory = None;
    for component in path.components() {
        if short.as_os_str().as_bytes().len() > SHORT {
            let opened = File::options()
                .read(true)
                .custom_flags(libc::O_PATH | libc::O_DIRECTORY)
                .open(&short)?;
            short = PathBuf::from(format!("/proc/self/fd/{}", opened.as_raw_fd()));
            directory = Some(opened);
        }
        short.push(component);
    }
    Ok(Reach {
        path: short,
        _directory: directory,
    })
}

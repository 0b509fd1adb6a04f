//! What `mm` needs to know about files to map them.

use super::frame::Frame;
use crate::errno::Result;
use alloc::vec::Vec;

/// One 4 KiB page of a file.
#[derive(Clone, Debug)]
pub enum FilePage {
    /// In a read-only image (or a page the sentry was loaded with) at this guest-physical address,
    /// page-aligned: it is there for ever, and programs never write it.
    Image(u64),
    /// In RAM; the handle is a reference of its own.
    Frame(Frame),
}

impl FilePage {
    /// Its guest-physical address.
    pub fn phys(&self) -> u64 {
        match self {
            FilePage::Image(phys) => *phys,
            FilePage::Frame(frame) => frame.phys(),
        }
    }
}

/// A file that can be mapped. Called with the address space locked: implementations may take the
/// inode's lock, and must not touch user memory.
pub trait FileMapping: Send + Sync {
    /// Page `index` of the file, the same one until the file is truncated; bytes beyond the end of
    /// the file are zero. A hole is filled. EIO for a page wholly beyond the end (SIGBUS), ENOMEM
    /// without memory.
    fn page(&self, index: u64) -> Result<FilePage>;

    /// A shared mapping through a descriptor that can write begins, and lasts as long as this
    /// handle; `writes`: it is writable from the start. Whether it may become writable later. EPERM
    /// if the file is sealed against such a mapping.
    fn begin_shared(&self, writes: bool) -> Result<bool> {
        let _ = writes;
        Ok(true)
    }

    /// When the whole file lies contiguous in an image: guest-physical address of its first byte
    /// (page-aligned) and its length in bytes.
    fn image_run(&self) -> Option<(u64, u64)>;

    /// Length in bytes.
    fn size(&self) -> u64;

    /// What /proc/self/maps shows.
    fn path(&self) -> Vec<u8>;

    /// Device (Linux's encoding, as in `st_dev`) and inode number.
    fn identity(&self) -> (u64, u64);
}

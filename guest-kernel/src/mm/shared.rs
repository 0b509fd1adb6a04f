//! Memory that has no file but is shared: MAP_SHARED|MAP_ANONYMOUS, kept as one object so that
//! fork shares it; and kernel pages that programs see, such as the vDSO.

use super::file::{FileMapping, FilePage};
use super::frame::Frame;
use crate::errno::{Errno, Result};
use crate::sync::{Lock, Rank};
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};
use sprout_abi::layout::PAGE_SIZE;

/// Shared anonymous memory; pages come with their first touch.
pub struct SharedMemory {
    pages: Lock<BTreeMap<u64, Frame>>,
    size: u64,
    ino: u64,
}

impl SharedMemory {
    /// `size` bytes of zeroes.
    pub fn new(size: u64) -> Arc<SharedMemory> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let ino = NEXT.fetch_add(1, Ordering::Relaxed);
        Arc::new(SharedMemory {
            pages: Lock::new(Rank::FilePages, BTreeMap::new()),
            size,
            ino,
        })
    }
}

impl FileMapping for SharedMemory {
    fn page(&self, index: u64) -> Result<FilePage> {
        if index >= self.size.div_ceil(PAGE_SIZE) {
            return Err(Errno::EIO);
        }
        let mut pages = self.pages.lock();
        if let Some(frame) = pages.get(&index) {
            return Ok(FilePage::Frame(frame.clone()));
        }
        let frame = Frame::zeroed()?;
        pages.insert(index, frame.clone());
        Ok(FilePage::Frame(frame))
    }

    fn image_run(&self) -> Option<(u64, u64)> {
        None
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn path(&self) -> Vec<u8> {
        b"/dev/zero (deleted)".to_vec()
    }

    fn identity(&self) -> (u64, u64) {
        (1, self.ino)
    }
}

/// Pages of the kernel under a name such as `[vdso]`. Map it private, read-only.
pub struct KernelPages {
    name: &'static str,
    pages: Vec<FilePage>,
}

impl KernelPages {
    /// The pages in order.
    pub fn new(name: &'static str, pages: Vec<FilePage>) -> Arc<KernelPages> {
        Arc::new(KernelPages { name, pages })
    }
}

impl FileMapping for KernelPages {
    fn page(&self, index: u64) -> Result<FilePage> {
        let page = usize::try_from(index)
            .ok()
            .and_then(|index| self.pages.get(index));
        page.cloned().ok_or(Errno::EIO)
    }

    fn image_run(&self) -> Option<(u64, u64)> {
        None
    }

    fn size(&self) -> u64 {
        self.pages.len() as u64 * PAGE_SIZE
    }

    fn path(&self) -> Vec<u8> {
        self.name.as_bytes().to_vec()
    }

    fn identity(&self) -> (u64, u64) {
        (0, 0)
    }
}

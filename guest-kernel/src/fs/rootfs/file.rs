//! Open regular files of the writable file system, and their mappings.

use super::data::{PAGE, Piece};
use super::node::Node;
use crate::errno::{Errno, Result};
use crate::fs::file::File;
use crate::fs::inode::{Inode, Metadata};
use crate::io::{Destination, Source};
use crate::mm::{FileMapping, FilePage};
use crate::wait::{PollEvents, WaitQueue};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;
use core::sync::atomic::{AtomicBool, Ordering};

/// Seals of a file (`fcntl(2)`, F_ADD_SEALS).
pub mod seal {
    /// No further seals.
    pub const SEAL: u32 = 0x1;
    /// The file can't shrink.
    pub const SHRINK: u32 = 0x2;
    /// The file can't grow.
    pub const GROW: u32 = 0x4;
    /// The content can't change.
    pub const WRITE: u32 = 0x8;
    /// The content can't be changed by new means (existing writable mappings stay).
    pub const FUTURE_WRITE: u32 = 0x10;
    /// The execute bits can't change.
    pub const EXEC: u32 = 0x20;
    /// All that can be set.
    pub const ALL: u32 = 0x3f;
    /// Either of the two that keep programs from writing.
    pub const NO_WRITES: u32 = WRITE | FUTURE_WRITE;
}

/// Copied at a time between a program and pages.
const CHUNK: usize = 4096;
/// Largest file, as the page cache's limit on Linux.
const MAX_SIZE: u64 = i64::MAX as u64;

/// An open regular file.
pub struct RegularFile {
    node: Arc<Node>,
    writable: bool,
    path: Box<[u8]>,
}

/// How `fallocate` changes a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allocate {
    /// Room for a range; the size grows with it unless told otherwise.
    Reserve {
        /// FALLOC_FL_KEEP_SIZE.
        keep_size: bool,
    },
    /// A range becomes a hole.
    PunchHole,
    /// A range becomes zeroes.
    Zero {
        /// FALLOC_FL_KEEP_SIZE.
        keep_size: bool,
    },
}

impl RegularFile {
    pub(super) fn new(node: Arc<Node>, writable: bool, path: &[u8]) -> Self {
        RegularFile {
            node,
            writable,
            path: path.into(),
        }
    }

    /// A new file without a name (memfd_create), shown as `path`; `seals`: those it has at first,
    /// to which others can be added.
    pub fn unnamed(node: Arc<dyn Inode>, path: &[u8], seals: Option<u32>) -> Result<Self> {
        let node = node
            .into_any()
            .downcast::<Node>()
            .map_err(|_| Errno::EINVAL)?;
        if let Some(initial) = seals {
            node.with_data(|_, seals| {
                *seals = initial;
                Ok(())
            })?;
        }
        Ok(RegularFile::new(node, true, path))
    }

    /// F_GET_SEALS.
    pub fn seals(&self) -> Result<u32> {
        self.node.with_data(|_, seals| Ok(*seals))
    }

    /// F_ADD_SEALS. EBUSY: shared mappings could still write what is to be sealed.
    pub fn add_seals(&self, added: u32) -> Result<()> {
        if !self.writable {
            return Err(Errno::EPERM);
        }
        if added & !seal::ALL != 0 {
            return Err(Errno::EINVAL);
        }
        let executable = self.node.metadata()?.mode.executable();
        self.node.with_data(|_, seals| {
            if *seals & seal::SEAL != 0 {
                return Err(Errno::EPERM);
            }
            // What stays executable must not be writable either (memfd_add_seals).
            let added = match added & seal::EXEC != 0 && executable {
                true => added | seal::SHRINK | seal::GROW | seal::NO_WRITES,
                false => added,
            };
            let newly = added & !*seals;
            if newly & seal::WRITE != 0 && self.node.has_writable_mappings() {
                return Err(Errno::EBUSY);
            }
            *seals |= added;
            Ok(())
        })
    }

    /// lseek with SEEK_DATA (`data`) or SEEK_HOLE.
    pub fn seek_data(&self, offset: u64, data: bool) -> Result<u64> {
        self.node.with_data(|content, _| {
            if offset >= content.size() {
                return Err(Errno::ENXIO);
            }
            content.seek(offset, data).ok_or(Errno::ENXIO)
        })
    }

    /// fallocate.
    pub fn allocate(&self, how: Allocate, start: u64, len: u64) -> Result<()> {
        let end = start
            .checked_add(len)
            .filter(|&end| end <= MAX_SIZE)
            .ok_or(Errno::EFBIG)?;
        let node = &self.node;
        node.change_data(|data, seals| {
            let (beyond, grows) = match how {
                Allocate::Reserve { keep_size } | Allocate::Zero { keep_size } => {
                    (end > data.size(), !keep_size && end > data.size())
                }
                Allocate::PunchHole => (false, false),
            };
            let writes = !matches!(how, Allocate::Reserve { .. });
            if beyond && seals & seal::GROW != 0 || writes && seals & seal::NO_WRITES != 0 {
                return Err(Errno::EPERM);
            }
            if grows {
                data.set_size(node.budget(), end);
            }
            match how {
                Allocate::Reserve { .. } => data.allocate(node.backing(), start, end),
                Allocate::PunchHole | Allocate::Zero { .. } => {
                    data.punch(node.backing(), start, end)
                }
            }
        })
    }

    fn store(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        let node = &self.node;
        node.change_data(|data, seals| {
            if seals & seal::NO_WRITES != 0 {
                return Err(Errno::EPERM);
            }
            if seals & seal::GROW != 0 && offset + bytes.len() as u64 > data.size() {
                return Err(Errno::EPERM);
            }
            data.store(node.backing(), offset, bytes)
        })
    }
}

impl File for RegularFile {
    fn read_at(&self, dst: &mut Destination<'_>, mut offset: u64) -> Result<usize> {
        let start = dst.done();
        let mut buffer = Vec::new();
        // An error after some bytes shows at the next read.
        let end = |done: usize, error| {
            if done > start {
                Ok(done - start)
            } else {
                Err(error)
            }
        };
        while dst.remaining() > 0 {
            let max = dst.remaining() as u64;
            let piece = self
                .node
                .with_data(|data, _| data.piece(self.node.backing(), offset, max));
            let (put, want) = match piece {
                Ok(None) => break,
                Ok(Some(Piece::Image(bytes))) => (dst.put(bytes), bytes.len()),
                Ok(Some(Piece::Zeroes(len))) => {
                    let len = usize::try_from(len).unwrap_or(usize::MAX);
                    (dst.put_zeroes(len), len)
                }
                Ok(Some(Piece::Page { frame, offset, len })) => {
                    buffer.resize(len, 0);
                    frame.read(offset, &mut buffer);
                    (dst.put(&buffer), len)
                }
                Err(error) => return end(dst.done(), error),
            };
            match put {
                Ok(n) => offset += n as u64,
                Err(error) => return end(dst.done(), error),
            }
            if put != Ok(want) {
                break;
            }
        }
        Ok(dst.done() - start)
    }

    fn write_at(&self, src: &mut Source<'_>, mut offset: u64) -> Result<usize> {
        if offset
            .checked_add(src.remaining() as u64)
            .is_none_or(|end| end > MAX_SIZE)
        {
            return Err(Errno::EFBIG);
        }
        let mut buffer = alloc::vec![0; src.remaining().min(CHUNK)];
        let mut done = 0;
        while src.remaining() > 0 {
            let want = (buffer.len()).min((PAGE - offset % PAGE) as usize);
            let stored = src.take(&mut buffer[..want]).and_then(|taken| {
                self.store(offset, &buffer[..taken])?;
                Ok(taken)
            });
            match stored {
                Ok(0) => break,
                Ok(n) => {
                    done += n;
                    offset += n as u64;
                }
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok(done)
    }

    fn seekable(&self) -> bool {
        true
    }

    fn poll(&self) -> PollEvents {
        PollEvents::IN | PollEvents::OUT | PollEvents::RDNORM | PollEvents::WRNORM
    }

    fn wait_queue(&self) -> Option<&WaitQueue> {
        None
    }

    fn metadata(&self) -> Result<Metadata> {
        self.node.metadata()
    }

    fn inode(&self) -> Option<Arc<dyn Inode>> {
        Some(self.node.clone())
    }

    fn mapping(&self) -> Result<Arc<dyn FileMapping>> {
        Ok(Arc::new(Mapping {
            node: self.node.clone(),
            writable: self.writable,
            path: self.path.clone(),
            counted: AtomicBool::new(false),
        }))
    }

    fn describe(&self) -> Vec<u8> {
        self.path.to_vec()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// A mapped file. One opened for writing may be written through a shared mapping at any time, so
/// its pages are taken out of the image when they are first touched.
struct Mapping {
    node: Arc<Node>,
    writable: bool,
    path: Box<[u8]>,
    /// Whether it is among its node's writable mappings.
    counted: AtomicBool,
}

impl Drop for Mapping {
    fn drop(&mut self) {
        if self.counted.load(Ordering::Relaxed) {
            self.node.writable_mapping_ends();
        }
    }
}

impl FileMapping for Mapping {
    fn page(&self, index: u64) -> Result<FilePage> {
        let page = self
            .node
            .with_data(|data, _| data.page(self.node.backing(), index, self.writable))?;
        if matches!(page, FilePage::Frame(_)) {
            self.node.keep_changed();
        }
        Ok(page)
    }

    fn begin_shared(&self, writes: bool) -> Result<bool> {
        let sealed = self
            .node
            .with_data(|_, seals| Ok(*seals & seal::NO_WRITES != 0))?;
        match (sealed, writes) {
            (true, true) => return Err(Errno::EPERM),
            (true, false) => return Ok(false),
            (false, _) => {}
        }
        if !self.counted.swap(true, Ordering::Relaxed) {
            self.node.writable_mapping_begins();
        }
        Ok(true)
    }

    fn image_run(&self) -> Option<(u64, u64)> {
        let (image, lower) = self.node.backing().lower.filter(|_| !self.writable)?;
        let untouched = self
            .node
            .with_data(|data, _| Ok(data.is_lower()))
            .unwrap_or(false);
        let (phys, len) = image.run(lower)?;
        (untouched && len == lower.size).then_some((phys, len))
    }

    fn size(&self) -> u64 {
        self.node.with_data(|data, _| Ok(data.size())).unwrap_or(0)
    }

    fn path(&self) -> Vec<u8> {
        self.path.to_vec()
    }

    fn identity(&self) -> (u64, u64) {
        let id = self.node.id();
        (id.dev.encode(), id.ino)
    }
}

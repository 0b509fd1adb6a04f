//! null, zero, full, random and urandom.

use crate::errno::{Errno, Result};
use crate::fs::file::File;
use crate::fs::inode::{Inode, Metadata};
use crate::io::{Destination, Source};
use crate::mm::{FileMapping, FilePage, Frame};
use crate::wait::{PollEvents, WaitQueue};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;

/// Which of the devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MemoryKind {
    Null,
    Zero,
    Full,
    Random,
}

/// An open device of the kind that needs no hardware.
pub(super) struct MemoryDevice {
    kind: MemoryKind,
    inode: Arc<dyn Inode>,
}

impl MemoryDevice {
    pub fn new(kind: MemoryKind, inode: Arc<dyn Inode>) -> Self {
        MemoryDevice { kind, inode }
    }
}

impl File for MemoryDevice {
    fn read_at(&self, dst: &mut Destination<'_>, _: u64) -> Result<usize> {
        match self.kind {
            MemoryKind::Null => Ok(0),
            MemoryKind::Zero | MemoryKind::Full => dst.put_zeroes(dst.remaining()),
            MemoryKind::Random => {
                let mut done = 0;
                while dst.remaining() > 0 {
                    let mut bytes = [0; 256];
                    let want = dst.remaining().min(bytes.len());
                    crate::random::fill(&mut bytes[..want]);
                    match dst.put(&bytes[..want]) {
                        Ok(n) => done += n,
                        Err(error) if done == 0 => return Err(error),
                        Err(_) => break,
                    }
                }
                Ok(done)
            }
        }
    }

    fn write_at(&self, src: &mut Source<'_>, _: u64) -> Result<usize> {
        match self.kind {
            MemoryKind::Full => Err(Errno::ENOSPC),
            // What programs write to random is not trusted to be random: it is taken, not used.
            _ => Ok(src.remaining()),
        }
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
        self.inode.metadata()
    }

    fn inode(&self) -> Option<Arc<dyn Inode>> {
        Some(self.inode.clone())
    }

    fn mapping(&self) -> Result<Arc<dyn FileMapping>> {
        match self.kind {
            MemoryKind::Zero => Ok(Arc::new(ZeroMapping(self.inode.clone()))),
            _ => Err(Errno::ENODEV),
        }
    }

    fn describe(&self) -> Vec<u8> {
        Vec::new()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// `/dev/zero` mapped: fresh pages.
struct ZeroMapping(Arc<dyn Inode>);

impl FileMapping for ZeroMapping {
    fn page(&self, _: u64) -> Result<FilePage> {
        Frame::zeroed().map(FilePage::Frame)
    }
    fn image_run(&self) -> Option<(u64, u64)> {
        None
    }
    fn size(&self) -> u64 {
        i64::MAX as u64
    }
    fn path(&self) -> Vec<u8> {
        b"/dev/zero".to_vec()
    }
    fn identity(&self) -> (u64, u64) {
        let id = self.0.id();
        (id.dev.encode(), id.ino)
    }
}

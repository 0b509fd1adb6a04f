//! Open directories, and paths (O_PATH).

use crate::errno::{Errno, Result};
use crate::fs::file::File;
use crate::fs::inode::{Inode, Metadata};
use crate::io::{Destination, Source};
use crate::wait::{PollEvents, WaitQueue};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;

/// An open directory; the file offset is the cookie of the next entry.
pub struct DirectoryFile {
    inode: Arc<dyn Inode>,
}

impl DirectoryFile {
    /// Of any file system.
    pub fn new(inode: Arc<dyn Inode>) -> Self {
        DirectoryFile { inode }
    }
}

impl File for DirectoryFile {
    fn read_at(&self, _: &mut Destination<'_>, _: u64) -> Result<usize> {
        Err(Errno::EISDIR)
    }
    fn write_at(&self, _: &mut Source<'_>, _: u64) -> Result<usize> {
        Err(Errno::EISDIR)
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
    fn describe(&self) -> Vec<u8> {
        Vec::new()
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// What O_PATH opens: a place in the file system, and nothing else.
pub struct PathFile {
    inode: Arc<dyn Inode>,
}

impl PathFile {
    /// Of any inode.
    pub fn new(inode: Arc<dyn Inode>) -> Self {
        PathFile { inode }
    }
}

impl File for PathFile {
    fn read_at(&self, _: &mut Destination<'_>, _: u64) -> Result<usize> {
        Err(Errno::EBADF)
    }
    fn write_at(&self, _: &mut Source<'_>, _: u64) -> Result<usize> {
        Err(Errno::EBADF)
    }
    fn poll(&self) -> PollEvents {
        PollEvents::NVAL
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
    fn describe(&self) -> Vec<u8> {
        Vec::new()
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}

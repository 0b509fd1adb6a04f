//! Helpers of the unit tests.

use crate::errno::Result;
use crate::fs::file::File;
use crate::fs::inode::{DeviceNumber, FileKind, InodeId, Metadata};
use crate::io::{Destination, Source};
use crate::wait::{PollEvents, WaitQueue};
use alloc::vec::Vec;
use core::any::Any;

/// A file that is always empty and takes everything.
pub struct NullFile;

impl File for NullFile {
    fn read_at(&self, _: &mut Destination<'_>, _: u64) -> Result<usize> {
        Ok(0)
    }
    fn write_at(&self, src: &mut Source<'_>, _: u64) -> Result<usize> {
        Ok(src.take_all()?.len())
    }
    fn poll(&self) -> PollEvents {
        PollEvents::IN | PollEvents::OUT
    }
    fn wait_queue(&self) -> Option<&WaitQueue> {
        None
    }
    fn metadata(&self) -> Result<Metadata> {
        let id = InodeId {
            dev: DeviceNumber::ANONYMOUS,
            ino: 1,
        };
        Ok(Metadata::anonymous(id, FileKind::Anonymous, 0o600))
    }
    fn describe(&self) -> Vec<u8> {
        b"anon_inode:[test]".to_vec()
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}

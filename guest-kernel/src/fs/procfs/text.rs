//! Open files whose text is made when they are read.

use crate::errno::{Errno, Result};
use crate::fs::file::File;
use crate::fs::inode::{Inode, Metadata};
use crate::io::{Destination, Source};
use crate::sync::{Lock, Rank};
use crate::wait::{PollEvents, WaitQueue};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;

/// A node whose content is a text.
pub trait Text: Inode {
    /// The text as it is now.
    fn text(&self) -> Result<Vec<u8>>;

    /// Takes what is written to it.
    fn set_text(&self, text: &[u8]) -> Result<()> {
        let _ = text;
        Err(Errno::EACCES)
    }
}

/// An open text: made at a read from offset 0, kept for reads further on.
pub struct TextFile<T> {
    node: Arc<T>,
    text: Lock<Option<Arc<Vec<u8>>>>,
}

impl<T: Text> TextFile<T> {
    /// Of `node`.
    pub fn new(node: Arc<T>) -> Self {
        TextFile {
            node,
            text: Lock::new(Rank::ProcText, None),
        }
    }
}

impl<T: Text + 'static> File for TextFile<T> {
    fn read_at(&self, dst: &mut Destination<'_>, offset: u64) -> Result<usize> {
        let kept = self.text.lock().clone();
        let text = match kept {
            Some(text) if offset > 0 => text,
            _ => {
                // Made without the lock: it may ask for descriptor tables, even this file's.
                let text = Arc::new(self.node.text()?);
                *self.text.lock() = Some(text.clone());
                text
            }
        };
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        dst.put(text.get(start..).unwrap_or(&[]))
    }

    fn write_at(&self, src: &mut Source<'_>, _: u64) -> Result<usize> {
        const LONGEST: usize = 4096;
        if src.remaining() > LONGEST {
            return Err(Errno::EINVAL);
        }
        let text = src.take_all()?;
        self.node.set_text(&text)?;
        Ok(text.len())
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

    fn describe(&self) -> Vec<u8> {
        Vec::new()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// Hashes the words that name a node to its inode number (FNV-1a), which is never 0.
pub fn ino_of(words: &[u8]) -> u64 {
    let hash = words.iter().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    // Within 53 bits: JavaScript keeps inode numbers in doubles.
    hash >> 11 | 1
}

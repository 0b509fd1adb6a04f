//! Writes a laid-out tree as one sequential stream.

use std::fs::File as HostFile;
use std::io::Write;
use std::ops::Range;
use std::path::Path;

use sprout_abi::layout::HUGE_PAGE_SIZE;

use super::layout::{Data, Layout};
use crate::tree::{File, Tree};
use crate::{Error, Result};

/// Bytes of one write: file systems that can, then keep the page cache in large folios, which is
/// what lets a host map the image with large pages.
const CHUNK: usize = HUGE_PAGE_SIZE as usize;

/// What has been written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// BLAKE3 of all bytes.
    pub digest: blake3::Hash,
    /// Bytes, a multiple of 2 MiB.
    pub size: u64,
}

/// A tree with a layout, ready to be written, more than once if need be.
pub struct Plan<'a>(Layout<'a>);

impl<'a> Plan<'a> {
    /// Lays `tree` out; what has no modification time gets `mtime`, seconds since 1970. Equal trees
    /// and times give equal bytes.
    pub fn new(tree: &'a Tree, mtime: u64) -> Result<Plan<'a>> {
        Layout::new(tree, mtime).map(Plan)
    }

    /// Writes the image to `output` (an empty file; `path` is its name for errors). Does not sync.
    pub fn write(&self, output: &mut HostFile, path: &Path) -> Result<Written> {
        self.stream(|chunk| output.write_all(chunk).map_err(Error::io("write", path)))
    }

    /// What [`Plan::write`] would return, without writing anything.
    pub fn digest(&self) -> Result<Written> {
        self.stream(|_| Ok(()))
    }

    fn stream(&self, sink: impl FnMut(&[u8]) -> Result<()>) -> Result<Written> {
        let mut output = Chunked {
            buffer: Vec::with_capacity(CHUNK),
            written: 0,
            hasher: blake3::Hasher::new(),
            sink,
        };
        for piece in &self.0.pieces {
            output.zeros_until(piece.offset)?;
            match &piece.data {
                Data::Bytes(bytes) => output.bytes(bytes)?,
                Data::File(file, stretches) => output.file(file, stretches)?,
            }
        }
        output.zeros_until(self.0.size)?;
        Ok(Written {
            digest: output.hasher.finalize(),
            size: self.0.size,
        })
    }
}

/// Writes `tree` as an EROFS image to `output`: [`Plan::write`].
pub fn write(tree: &Tree, mtime: u64, output: &mut HostFile, path: &Path) -> Result<Written> {
    Plan::new(tree, mtime)?.write(output, path)
}

/// What [`write()`] would return, without writing anything.
pub fn digest(tree: &Tree, mtime: u64) -> Result<Written> {
    Plan::new(tree, mtime)?.digest()
}

/// Collects output into chunks. The image's size being a multiple of a chunk, the buffer is empty
/// at the end.
struct Chunked<S> {
    buffer: Vec<u8>,
    written: u64,
    hasher: blake3::Hasher,
    sink: S,
}

impl<S: FnMut(&[u8]) -> Result<()>> Chunked<S> {
    fn position(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    fn flush_if_full(&mut self) -> Result<()> {
        if self.buffer.len() == CHUNK {
            self.hasher.update(&self.buffer);
            (self.sink)(&self.buffer)?;
            self.written += CHUNK as u64;
            self.buffer.clear();
        }
        Ok(())
    }

    fn zeros_until(&mut self, offset: u64) -> Result<()> {
        while self.position() < offset {
            let room = (CHUNK - self.buffer.len()) as u64;
            let count = room.min(offset - self.position()) as usize;
            self.buffer.resize(self.buffer.len() + count, 0);
            self.flush_if_full()?;
        }
        Ok(())
    }

    fn bytes(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let count = bytes.len().min(CHUNK - self.buffer.len());
            let (now, later) = bytes.split_at(count);
            self.buffer.extend_from_slice(now);
            self.flush_if_full()?;
            bytes = later;
        }
        Ok(())
    }

    /// Copies stretches of a file, which must still be what it was when it was listed.
    fn file(&mut self, file: &File, stretches: &[Range<u64>]) -> Result<()> {
        let opened = file.open()?;
        for stretch in stretches {
            let mut position = stretch.start;
            while position < stretch.end {
                let filled = self.buffer.len();
                let room = (CHUNK - filled) as u64;
                let count = room.min(stretch.end - position);
                self.buffer.resize(filled + count as usize, 0);
                let place = self.buffer.get_mut(filled..).unwrap_or_default();
                opened.read(place, position)?;
                position += count;
                self.flush_if_full()?;
            }
        }
        opened.close()
    }
}

//! Writes a laid-out tree as one sequential stream.

use std::fs::File as HostFile;
use std::io::{Read, Write};
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

/// Writes `tree` as an EROFS image to `output` (an empty file; `path` is its name for errors).
/// Equal trees and times give equal bytes. Does not sync.
pub fn write(tree: &Tree, mtime: u64, output: &mut HostFile, path: &Path) -> Result<Written> {
    stream(tree, mtime, |chunk| {
        output.write_all(chunk).map_err(Error::io("write", path))
    })
}

/// What [`write`] would return, without writing anything.
pub fn digest(tree: &Tree, mtime: u64) -> Result<Written> {
    stream(tree, mtime, |_| Ok(()))
}

fn stream(tree: &Tree, mtime: u64, sink: impl FnMut(&[u8]) -> Result<()>) -> Result<Written> {
    let layout = Layout::new(tree, mtime)?;
    let hasher = blake3::Hasher::new();
    let mut output = Chunked {
        buffer: Vec::with_capacity(CHUNK),
        written: 0,
        hasher,
        sink,
    };
    for piece in &layout.pieces {
        output.zeros_until(piece.offset)?;
        match &piece.data {
            Data::Bytes(bytes) => output.bytes(bytes)?,
            Data::File(file) => output.file(file)?,
        }
    }
    output.zeros_until(layout.size)?;
    Ok(Written {
        digest: output.hasher.finalize(),
        size: layout.size,
    })
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

    /// Copies a file, which must have exactly the size the layout gave it.
    fn file(&mut self, file: &File) -> Result<()> {
        let mut reader = file.open()?;
        let mut left = file.size;
        loop {
            // One byte more than expected, to notice a file that has grown.
            let room = (CHUNK - self.buffer.len()) as u64;
            let read = reader
                .by_ref()
                .take(room.min(left + 1))
                .read_to_end(&mut self.buffer)
                .map_err(|error| Error::io("read", &file.origin())(error))?
                as u64;
            if read > left || (read == 0 && left > 0) {
                return Err(Error::unsupported(
                    file.origin(),
                    "it changed while it was read: try again when nothing writes to it",
                ));
            }
            left -= read;
            self.flush_if_full()?;
            if read == 0 {
                return Ok(());
            }
        }
    }
}

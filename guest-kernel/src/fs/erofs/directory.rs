//! Directories of EROFS: blocks of entries sorted by name, each block a table of fixed-size entries
//! followed by the names.

use super::{BLOCK, Extent, Image, Node, field};
use crate::errno::{Errno, Result};
use crate::fs::inode::FileKind;
use core::cmp::Ordering;

/// Bytes of an entry: inode number, offset of the name, type, reserved.
const ENTRY: usize = 12;

/// An entry of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The name.
    pub name: &'a [u8],
    /// The inode's number.
    pub nid: u64,
    /// The inode's type, as the entry says.
    pub kind: FileKind,
    /// Where the entry after this one is.
    pub next: u64,
}

/// One block of a directory.
struct Block(&'static [u8]);

impl Block {
    fn count(&self) -> Result<usize> {
        let first = self.name_offset(0)?;
        if first % ENTRY != 0 || first == 0 || first > self.0.len() {
            return Err(Errno::EIO);
        }
        Ok(first / ENTRY)
    }

    fn name_offset(&self, index: usize) -> Result<usize> {
        let bytes = field::<2>(self.0, (index * ENTRY + 8) as u64)?;
        Ok(u16::from_le_bytes(bytes).into())
    }

    fn name(&self, index: usize, count: usize) -> Result<&[u8]> {
        let start = self.name_offset(index)?;
        if index + 1 < count {
            let end = self.name_offset(index + 1)?;
            return self.0.get(start..end).ok_or(Errno::EIO);
        }
        // The last name ends with the block, or with a NUL before.
        let rest = self.0.get(start..).ok_or(Errno::EIO)?;
        let end = rest
            .iter()
            .position(|&byte| byte == 0)
            .unwrap_or(rest.len());
        Ok(&rest[..end])
    }

    fn entry(&self, index: usize, count: usize, next: u64) -> Result<Entry<'_>> {
        let name = self.name(index, count)?;
        if name.is_empty() || name.contains(&b'/') || name.contains(&0) {
            return Err(Errno::EIO);
        }
        let nid = u64::from_le_bytes(field(self.0, (index * ENTRY) as u64)?);
        let [file_type] = field(self.0, (index * ENTRY + 10) as u64)?;
        let kind = match file_type {
            1 => FileKind::Regular,
            2 => FileKind::Directory,
            3 => FileKind::CharDevice,
            4 => FileKind::BlockDevice,
            5 => FileKind::Fifo,
            6 => FileKind::Socket,
            7 => FileKind::Symlink,
            _ => return Err(Errno::EIO),
        };
        Ok(Entry {
            name,
            nid,
            kind,
            next,
        })
    }
}

impl Image {
    fn block(&self, directory: &Node, index: u64) -> Result<Block> {
        let start = index * BLOCK;
        let length = (directory.size - start).min(BLOCK);
        match self.extent(directory, start)? {
            Extent::Data(data) if data.len() as u64 >= length => {
                Ok(Block(&data[..length as usize]))
            }
            _ => Err(Errno::EIO),
        }
    }

    fn block_count(&self, directory: &Node) -> Result<u64> {
        match directory.kind {
            FileKind::Directory => Ok(directory.size.div_ceil(BLOCK)),
            _ => Err(Errno::ENOTDIR),
        }
    }

    /// The inode number of `name` in `directory`; ENOENT if there is no such entry.
    pub fn find(&self, directory: &Node, name: &[u8]) -> Result<u64> {
        // The last block whose first name is not above `name` ...
        let (mut low, mut high) = (0, self.block_count(directory)?);
        while low < high {
            let middle = low + (high - low) / 2;
            let block = self.block(directory, middle)?;
            match block.name(0, block.count()?)?.cmp(name) {
                Ordering::Greater => high = middle,
                _ => low = middle + 1,
            }
        }
        let Some(index) = low.checked_sub(1) else {
            return Err(Errno::ENOENT);
        };
        // ... and the entry in it.
        let block = self.block(directory, index)?;
        let count = block.count()?;
        let (mut low, mut high) = (0, count);
        while low < high {
            let middle = low + (high - low) / 2;
            match block.name(middle, count)?.cmp(name) {
                Ordering::Equal => return block.entry(middle, count, 0).map(|entry| entry.nid),
                Ordering::Less => low = middle + 1,
                Ordering::Greater => high = middle,
            }
        }
        Err(Errno::ENOENT)
    }

    /// Tells the entries of `directory` from position `from` (0: the first) on to `sink` until it
    /// answers false. `.` and `..` are left out.
    pub fn list(
        &self,
        directory: &Node,
        from: u64,
        sink: &mut dyn FnMut(Entry<'_>) -> bool,
    ) -> Result<()> {
        let (first_block, mut index) = (from / BLOCK, (from % BLOCK) as usize);
        for number in first_block..self.block_count(directory)? {
            let block = self.block(directory, number)?;
            let count = block.count()?;
            while index < count {
                let entry = block.entry(index, count, number * BLOCK + index as u64 + 1)?;
                index += 1;
                if !matches!(entry.name, b"." | b"..") && !sink(entry) {
                    return Ok(());
                }
            }
            index = 0;
        }
        Ok(())
    }
}

//! Reads images back: for `inspect`, and for tests of the writer.
//!
//! Nothing in the file is trusted: a damaged or hostile image gives errors, bounded work and no
//! panic.

use std::collections::BTreeSet;
use std::fs::File as HostFile;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::format::{
    BLOCK_SIZE, CHUNK_ENTRY, HOLE, INODE_SIZE, INODE_SLOT, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG,
    decode_directory_block,
};
pub use super::format::{Inode, Location, Superblock};
use crate::{Error, Result};

/// Largest directory or link read into memory.
const METADATA_MAX: u64 = 64 << 20;
/// Most bytes of all paths together that are collected.
const PATHS_MAX: usize = 1 << 30;
/// Most links followed on one path, as on Linux.
const LINKS_MAX: usize = 40;

/// An open image.
#[derive(Debug)]
pub struct Reader {
    file: HostFile,
    path: PathBuf,
    size: u64,
    superblock: Superblock,
}

/// Something found in an image.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Absolute path in the image.
    pub path: Vec<u8>,
    /// Its inode.
    pub inode: Inode,
    /// The inode's number: equal ones are hard links.
    pub nid: u64,
}

impl Entry {
    /// Whether it is a directory.
    pub fn is_directory(&self) -> bool {
        self.inode.mode & S_IFMT == S_IFDIR
    }

    /// Whether it is a symbolic link.
    pub fn is_symlink(&self) -> bool {
        self.inode.mode & S_IFMT == S_IFLNK
    }

    /// Whether it is a regular file.
    pub fn is_file(&self) -> bool {
        self.inode.mode & S_IFMT == S_IFREG
    }

    /// Byte offset of its data in the image, if all of it lies in one run.
    pub fn offset(&self) -> Option<u64> {
        match self.inode.location {
            Location::Blocks(start) => Some(u64::from(start) * BLOCK_SIZE),
            Location::Chunks(_) | Location::Device(_) => None,
        }
    }
}

impl Reader {
    /// Opens the image at `path` and checks its superblock.
    pub fn open(path: &Path) -> Result<Reader> {
        let file = HostFile::open(path).map_err(Error::io("open", path))?;
        let size = file.metadata().map_err(Error::io("read", path))?.len();
        let mut block = [0; BLOCK_SIZE as usize];
        if size < BLOCK_SIZE {
            return Err(Error::corrupt(path, "it is too short for an image"));
        }
        file.read_exact_at(&mut block, 0)
            .map_err(Error::io("read", path))?;
        let superblock =
            Superblock::decode(&block).map_err(|reason| Error::corrupt(path, reason))?;
        if u64::from(superblock.blocks) * BLOCK_SIZE > size {
            return Err(Error::corrupt(
                path,
                "it is shorter than its superblock says",
            ));
        }
        Ok(Reader {
            file,
            path: path.to_owned(),
            size,
            superblock,
        })
    }

    /// The superblock.
    pub fn superblock(&self) -> &Superblock {
        &self.superblock
    }

    /// Everything in the image, the root first, directories before what is in them.
    pub fn entries(&self) -> Result<Vec<Entry>> {
        let mut found = Vec::new();
        let mut directories = BTreeSet::new();
        let mut bytes = 0;
        let mut open = vec![(u64::from(self.superblock.root_nid), Vec::new())];
        while let Some((nid, path)) = open.pop() {
            bytes += path.len();
            if bytes > PATHS_MAX || found.len() as u64 > self.size {
                return Err(self.corrupt("it has more names than any real one"));
            }
            let inode = self.inode(nid)?;
            let shown = if path.is_empty() {
                b"/".to_vec()
            } else {
                path.clone()
            };
            let entry = Entry {
                path: shown,
                inode,
                nid,
            };
            if entry.is_directory() {
                if !directories.insert(nid) {
                    return Err(self.corrupt("a directory has two names"));
                }
                for (nid, name) in self.directory(&entry)?.into_iter().rev() {
                    open.push((nid, [&path[..], b"/", &name].concat()));
                }
            }
            found.push(entry);
        }
        Ok(found)
    }

    /// What is at the absolute `path`, links followed; `None` if there is nothing.
    pub fn lookup(&self, path: &[u8]) -> Result<Option<Entry>> {
        let names = |path: &[u8]| -> Vec<Vec<u8>> {
            let names = path.split(|byte| *byte == b'/').rev();
            names.map(<[u8]>::to_vec).collect()
        };
        let mut rest = names(path);
        let mut way = vec![self.entry(Vec::new(), self.superblock.root_nid.into())?];
        let mut links = 0;
        while let Some(name) = rest.pop() {
            let Some(last) = way.last().filter(|last| last.is_directory()) else {
                return Ok(None);
            };
            match &name[..] {
                b"" | b"." => continue,
                b".." => {
                    way.truncate(way.len().saturating_sub(1).max(1));
                    continue;
                }
                _ => {}
            }
            let found = self.directory(last)?.into_iter().find(|(_, n)| *n == name);
            let Some((nid, _)) = found else {
                return Ok(None);
            };
            let entry = self.entry([&last.path[..], b"/", &name].concat(), nid)?;
            if entry.is_symlink() {
                links += 1;
                if links > LINKS_MAX {
                    return Ok(None);
                }
                let target = self.data(&entry)?;
                if target.starts_with(b"/") {
                    way.truncate(1);
                }
                rest.extend(names(&target));
            } else {
                way.push(entry);
            }
        }
        Ok(way.pop())
    }

    fn entry(&self, path: Vec<u8>, nid: u64) -> Result<Entry> {
        let inode = self.inode(nid)?;
        Ok(Entry { path, inode, nid })
    }

    /// All data of a directory, link or file of moderate size.
    pub fn data(&self, entry: &Entry) -> Result<Vec<u8>> {
        let size = entry.inode.size;
        let outside = || self.corrupt("a file lies outside of the image");
        let start = match entry.inode.location {
            Location::Blocks(_) | Location::Device(_) => entry.offset().unwrap_or(0),
            Location::Chunks(bits) => return self.chunks(entry, bits),
        };
        if size == 0 {
            return Ok(Vec::new());
        }
        if start.checked_add(size).is_none_or(|end| end > self.size) {
            return Err(outside());
        }
        let mut bytes = vec![0; usize::try_from(size).map_err(|_| outside())?];
        self.file
            .read_exact_at(&mut bytes, start)
            .map_err(Error::io("read", &self.path))?;
        Ok(bytes)
    }

    /// All data of a file in chunks.
    fn chunks(&self, entry: &Entry, bits: u8) -> Result<Vec<u8>> {
        let size = entry.inode.size;
        if size > self.size.max(METADATA_MAX) {
            return Err(Error::unsupported(
                &self.path,
                "a file with holes is too large to be read at once",
            ));
        }
        let mut bytes = vec![0; size as usize];
        let chunk = usize::try_from(BLOCK_SIZE << bits).unwrap_or(usize::MAX);
        let table = entry.nid * INODE_SLOT + INODE_SIZE;
        for (index, piece) in bytes.chunks_mut(chunk).enumerate() {
            let mut number = [0; CHUNK_ENTRY as usize];
            let at = table + index as u64 * CHUNK_ENTRY;
            self.read(&mut number, at, "a table of chunks")?;
            match u32::from_le_bytes(number) {
                HOLE => {}
                block => self.read(piece, u64::from(block) * BLOCK_SIZE, "a chunk")?,
            }
        }
        Ok(bytes)
    }

    fn read(&self, bytes: &mut [u8], at: u64, what: &str) -> Result<()> {
        let end = at.checked_add(bytes.len() as u64);
        if end.is_none_or(|end| end > self.size) {
            return Err(self.corrupt(&format!("{what} lies outside of the image")));
        }
        self.file
            .read_exact_at(bytes, at)
            .map_err(Error::io("read", &self.path))
    }

    fn inode(&self, nid: u64) -> Result<Inode> {
        let fits = |at: &u64| {
            at.checked_add(INODE_SIZE)
                .is_some_and(|end| end <= self.size)
        };
        let offset = nid.checked_mul(INODE_SLOT).filter(fits);
        let offset = offset.ok_or_else(|| self.corrupt("an inode lies outside of the image"))?;
        let mut bytes = [0; INODE_SIZE as usize];
        self.file
            .read_exact_at(&mut bytes, offset)
            .map_err(Error::io("read", &self.path))?;
        Inode::decode(&bytes).ok_or_else(|| self.corrupt("an inode is not of the expected kind"))
    }

    /// Inode numbers and names in a directory, without `.` and `..`.
    fn directory(&self, entry: &Entry) -> Result<Vec<(u64, Vec<u8>)>> {
        if entry.inode.size > METADATA_MAX {
            return Err(self.corrupt("a directory is larger than any real one"));
        }
        let mut children = Vec::new();
        for block in self.data(entry)?.chunks(BLOCK_SIZE as usize) {
            let block = decode_directory_block(block);
            children.extend(block.ok_or_else(|| self.corrupt("a directory is malformed"))?);
        }
        children.retain(|(_, name)| name != b"." && name != b"..");
        Ok(children)
    }

    fn corrupt(&self, reason: &str) -> Error {
        Error::corrupt(&self.path, reason)
    }
}

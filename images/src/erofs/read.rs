//! Reads images back: for `inspect`, and for tests of the writer.
//!
//! Nothing in the file is trusted: a damaged or hostile image gives errors, bounded work and no
//! panic.

use std::collections::BTreeSet;
use std::fs::File as HostFile;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::format::{
    BLOCK_SIZE, INODE_SIZE, INODE_SLOT, S_IFDIR, S_IFLNK, S_IFMT, decode_directory_block,
};
pub use super::format::{Inode, Superblock};
use crate::{Error, Result};

/// Largest directory or link read into memory.
const METADATA_MAX: u64 = 64 << 20;

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

    /// Byte offset of its data in the image.
    pub fn offset(&self) -> u64 {
        u64::from(self.inode.start_block) * BLOCK_SIZE
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
        let mut visited = BTreeSet::new();
        let mut open = vec![(u64::from(self.superblock.root_nid), Vec::new())];
        while let Some((nid, path)) = open.pop() {
            if !visited.insert(nid) {
                return Err(self.corrupt("an inode has two names"));
            }
            let inode = self.inode(nid)?;
            let shown = if path.is_empty() {
                b"/".to_vec()
            } else {
                path.clone()
            };
            let entry = Entry { path: shown, inode };
            if entry.is_directory() {
                let mut children = self.directory(&entry)?;
                children.retain(|(_, name)| name != b"." && name != b"..");
                for (nid, name) in children.into_iter().rev() {
                    open.push((nid, [&path[..], b"/", &name].concat()));
                }
            }
            found.push(entry);
        }
        Ok(found)
    }

    /// All data of a directory entry, link or file of moderate size.
    pub fn data(&self, entry: &Entry) -> Result<Vec<u8>> {
        let size = entry.inode.size;
        let end = entry.offset().checked_add(size);
        if end.is_none_or(|end| end > self.size) {
            return Err(self.corrupt("a file lies outside of the image"));
        }
        let mut bytes = vec![0; size as usize];
        self.file
            .read_exact_at(&mut bytes, entry.offset())
            .map_err(Error::io("read", &self.path))?;
        Ok(bytes)
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

    fn directory(&self, entry: &Entry) -> Result<Vec<(u64, Vec<u8>)>> {
        if entry.inode.size > METADATA_MAX {
            return Err(self.corrupt("a directory is larger than any real one"));
        }
        let mut children = Vec::new();
        for block in self.data(entry)?.chunks(BLOCK_SIZE as usize) {
            let block = decode_directory_block(block);
            children.extend(block.ok_or_else(|| self.corrupt("a directory is malformed"))?);
        }
        Ok(children)
    }

    fn corrupt(&self, reason: &str) -> Error {
        Error::corrupt(&self.path, reason)
    }
}

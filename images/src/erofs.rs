//! EROFS, the subset that images use.
//!
//! EROFS (kernel: `fs/erofs/erofs_fs.h`) is a read-only file system of fixed-size blocks. Its
//! inodes name where their data starts; uncompressed data is one run of blocks. We use:
//!
//! - 4 KiB blocks, 64-byte ("extended") inodes from block 1 on, `meta_blkaddr` 0, so inode number
//!   n lies at byte 32·n of the image; several names of one inode are hard links;
//! - the FLAT_PLAIN layout for all directories and links and most files: data begins at a block and
//!   nothing is inlined, so every page of a file is a page of the image;
//! - the CHUNK_BASED layout for files with large holes: a table of block numbers behind the inode,
//!   holes take no space;
//! - one copy of the data of files that are equal;
//! - ELF files of 2 MiB and more begin at a multiple of 2 MiB, so that a segment whose file offset
//!   and address agree modulo 2 MiB can be mapped with large pages;
//! - a superblock checksum; padding to a multiple of 2 MiB, the granularity of a memory slot.
//!
//! What is a hole is judged by content, not by how the source is stored: a copy of a tree gives the
//! same image, whatever the copy did with zeros.
//!
//! Linux mounts such an image, `fsck.erofs` checks it; [`read`] needs no more than that subset.

mod content;
mod format;
mod layout;
pub mod read;
mod write;

pub use write::{Plan, Written, digest, write};

/// Modification time of what has none of its own: 2026-01-01 UTC.
pub const DEFAULT_MTIME: u64 = 1_767_225_600;

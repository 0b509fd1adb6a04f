//! EROFS, the subset that images use.
//!
//! EROFS (kernel: `fs/erofs/erofs_fs.h`) is a read-only file system of fixed-size blocks. Its
//! inodes name where their data starts; uncompressed data is one run of blocks. We use:
//!
//! - 4 KiB blocks, 64-byte ("extended") inodes from block 1 on, `meta_blkaddr` 0, so inode number
//!   n lies at byte 32·n of the image;
//! - the FLAT_PLAIN layout for everything: all data, also of directories and links, begins at a
//!   block and nothing is inlined, so every page of a file is a page of the image;
//! - ELF files of 2 MiB and more begin at a multiple of 2 MiB, so that a segment whose file offset
//!   and address agree modulo 2 MiB can be mapped with large pages;
//! - a superblock checksum; padding to a multiple of 2 MiB, the granularity of a memory slot.
//!
//! Linux mounts such an image, `fsck.erofs` checks it; [`read`] needs no more than that subset.

mod format;
mod layout;
pub mod read;
mod write;

pub use write::{Written, digest, write};

/// Modification time of everything in an image for which nobody chose one: 2026-01-01 UTC.
pub const DEFAULT_MTIME: u64 = 1_767_225_600;

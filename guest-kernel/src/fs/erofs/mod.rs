//! EROFS, the read-only file system of images, read in place.
//!
//! An image is a slot of guest-physical memory which the host maps from a file, so "reading" is
//! looking: file data is never copied here, and [`Image::page`] tells where in physical memory a
//! page of a file lies, for page tables to point at. The format is Linux'
//! (`fs/erofs/erofs_fs.h`); compression and extra devices are refused when an image is mounted.
//!
//! An image is input like any other: every offset is checked where it is used, and an image that
//! contradicts itself gives EIO.

mod directory;
#[cfg(test)]
pub(crate) mod testing;

use crate::errno::{Errno, Result};
use crate::fs::inode::{DeviceNumber, FileKind, Mode, Time};
use alloc::vec::Vec;
pub use directory::Entry;

/// Bytes of a block: the only block size that suits mapping pages.
pub const BLOCK: u64 = 4096;
const SUPER_OFFSET: u64 = 1024;
const SUPER_MAGIC: u32 = 0xE0F5_E1E2;
/// Inodes lie at multiples of this; an inode's number (nid) is the multiple.
const INODE_SLOT: u64 = 32;

/// Incompatible features this reader knows, or that only concern what it does not read.
mod feature {
    /// Compressed data is padded in front: says nothing about uncompressed files.
    pub const ZERO_PADDING: u32 = 0x1;
    /// Files in chunks.
    pub const CHUNKED_FILE: u32 = 0x4;
    /// Long extended-attribute prefixes: attributes are not read.
    pub const XATTR_PREFIXES: u32 = 0x40;
    pub const KNOWN: u32 = ZERO_PADDING | CHUNKED_FILE | XATTR_PREFIXES;
}

/// Why an image can't be mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MountError {
    /// Smaller than a superblock.
    TooShort,
    /// Not EROFS: the magic number found.
    Magic(u32),
    /// Block size other than 4096: its binary logarithm.
    BlockSize(u8),
    /// Features this reader lacks: their incompatible-feature bits.
    Features(u32),
    /// The root inode is not a readable directory.
    Root,
}

impl core::fmt::Display for MountError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            MountError::TooShort => write!(f, "image is too short for an EROFS superblock"),
            MountError::Magic(found) => {
                write!(
                    f,
                    "image is not EROFS: magic number {found:#x}, not {SUPER_MAGIC:#x}"
                )
            }
            MountError::BlockSize(bits) => {
                write!(
                    f,
                    "image has blocks of 2^{bits} bytes: build it with 4096-byte blocks"
                )
            }
            MountError::Features(bits) => write!(
                f,
                "image uses EROFS features {bits:#x} that are not supported: build it without \
                 compression and extra devices"
            ),
            MountError::Root => write!(f, "the root directory of the image can't be read"),
        }
    }
}

/// A mounted image.
#[derive(Clone, Copy)]
pub struct Image {
    bytes: &'static [u8],
    phys: u64,
    meta: u64,
    root: u64,
    inodes: u64,
    blocks: u64,
    build_time: Time,
}

/// Where the data of a file lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    /// One run of blocks at `start`; the last `BLOCK` or less bytes at `tail` if that is not 0.
    Flat { start: u64, tail: u64 },
    /// A table of block addresses, one a chunk of `1 << bits` bytes.
    Chunked { table: u64, stride: u64, bits: u32 },
}

/// An inode of an image, read.
#[derive(Clone, Copy, Debug)]
pub struct Node {
    /// Its number.
    pub nid: u64,
    /// Type.
    pub kind: FileKind,
    /// Permissions.
    pub mode: Mode,
    /// Number of names.
    pub nlink: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Bytes.
    pub size: u64,
    /// Device number of a device node.
    pub rdev: DeviceNumber,
    /// Last change.
    pub mtime: Time,
    layout: Layout,
}

/// A piece of a file's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// These bytes of the image.
    Data(&'static [u8]),
    /// That many zeroes.
    Hole(u64),
}

impl Image {
    /// Checks the superblock of an image of `bytes` that lies at guest-physical `phys`.
    pub fn mount(bytes: &'static [u8], phys: u64) -> core::result::Result<Image, MountError> {
        let field = |at: u64| field::<4>(bytes, SUPER_OFFSET + at).map(u32::from_le_bytes);
        let get = |at| field(at).map_err(|_| MountError::TooShort);
        let wide = |at| Ok(u64::from(get(at)?) | u64::from(get(at + 4)?) << 32);
        let magic = get(0)?;
        if magic != SUPER_MAGIC {
            return Err(MountError::Magic(magic));
        }
        let [block_bits, _, root_low, root_high] = get(12)?.to_le_bytes();
        if block_bits != 12 {
            return Err(MountError::BlockSize(block_bits));
        }
        let features = get(80)?;
        if features & !feature::KNOWN != 0 {
            return Err(MountError::Features(features & !feature::KNOWN));
        }
        // Directory blocks of another size than the file system's were never defined further.
        let [_, _, directory_bits, _] = get(88)?.to_le_bytes();
        if directory_bits != 0 {
            return Err(MountError::BlockSize(directory_bits.saturating_add(12)));
        }
        let image = Image {
            bytes,
            phys,
            meta: u64::from(get(40)?) * BLOCK,
            root: u16::from_le_bytes([root_low, root_high]).into(),
            inodes: wide(16)?,
            blocks: get(36)?.into(),
            build_time: Time {
                sec: wide(24)? as i64,
                nsec: get(32)?.min(999_999_999),
            },
        };
        match image.node(image.root) {
            Ok(node) if node.kind == FileKind::Directory => Ok(image),
            _ => Err(MountError::Root),
        }
    }

    /// Number of the root directory's inode.
    pub fn root(&self) -> u64 {
        self.root
    }

    /// Number of inodes.
    pub fn inodes(&self) -> u64 {
        self.inodes
    }

    /// Number of blocks.
    pub fn blocks(&self) -> u64 {
        self.blocks
    }

    /// No inode has a number from this one on.
    pub fn nid_limit(&self) -> u64 {
        self.bytes.len() as u64 / INODE_SLOT + 1
    }

    /// Reads inode `nid`.
    pub fn node(&self, nid: u64) -> Result<Node> {
        let at = nid
            .checked_mul(INODE_SLOT)
            .and_then(|offset| offset.checked_add(self.meta))
            .ok_or(Errno::EIO)?;
        let [format, xattr_count, mode, short_nlink] = self.halves(at)?;
        let extended = format & 1 != 0;
        let word = |offset| self.word(at + offset);
        let (inode_size, size, uid, gid, nlink, mtime) = if extended {
            let size = u64::from(word(8)?) | u64::from(word(12)?) << 32;
            let sec = u64::from(word(32)?) | u64::from(word(36)?) << 32;
            let mtime = Time {
                sec: sec as i64,
                nsec: word(40)?.min(999_999_999),
            };
            (64, size, word(24)?, word(28)?, word(44)?, mtime)
        } else {
            let [uid, gid, _, _] = self.halves(at + 24)?;
            let nlink = short_nlink.into();
            (
                32,
                word(8)?.into(),
                uid.into(),
                gid.into(),
                nlink,
                self.build_time,
            )
        };
        let kind = FileKind::from_mode(mode.into()).ok_or(Errno::EIO)?;
        let has_data = matches!(
            kind,
            FileKind::Regular | FileKind::Directory | FileKind::Symlink
        );
        if size > i64::MAX as u64 || (size != 0 && !has_data) {
            return Err(Errno::EIO);
        }
        let union = word(16)?;
        let attributes = match u64::from(xattr_count) {
            0 => 0,
            count => 12 + (count - 1) * 4,
        };
        let layout = match has_data && size > 0 {
            true => self.layout((format >> 1) & 7, union, at + inode_size + attributes, size)?,
            false => Layout::Flat { start: 0, tail: 0 },
        };
        Ok(Node {
            nid,
            kind,
            mode: Mode::new(mode.into()),
            nlink,
            uid,
            gid,
            size,
            rdev: if has_data {
                DeviceNumber::default()
            } else {
                DeviceNumber::decode(union.into())
            },
            mtime,
            layout,
        })
    }

    /// Reads where data lies; `end` is the end of the inode with its attributes.
    fn layout(&self, format: u16, union: u32, end: u64, size: u64) -> Result<Layout> {
        match format {
            0 => {
                let start = u64::from(union) * BLOCK;
                self.slice(start, size)?;
                Ok(Layout::Flat { start, tail: 0 })
            }
            2 => {
                let start = u64::from(union) * BLOCK;
                let in_blocks = (size - 1) / BLOCK * BLOCK;
                let in_tail = size - in_blocks;
                if in_blocks > 0 {
                    self.slice(start, in_blocks)?;
                }
                self.slice(end, in_tail)?;
                // The tail may not run over the end of the inode's block.
                if end % BLOCK + in_tail > BLOCK {
                    return Err(Errno::EIO);
                }
                Ok(Layout::Flat { start, tail: end })
            }
            4 => {
                let (bits, indexed) = (12 + (union & 0x1f), union & 0x20 != 0);
                if union & 0xffff & !0x3f != 0 {
                    return Err(Errno::EIO);
                }
                let stride = if indexed { 8 } else { 4 };
                let table = end.checked_next_multiple_of(stride).ok_or(Errno::EIO)?;
                let chunks = (size - 1).checked_shr(bits).unwrap_or(0) + 1;
                self.slice(table, chunks.checked_mul(stride).ok_or(Errno::EIO)?)?;
                Ok(Layout::Chunked {
                    table,
                    stride,
                    bits,
                })
            }
            _ => Err(Errno::EIO),
        }
    }

    /// The data of `node` from `offset` (below its size) on, as far as it lies in one piece.
    pub fn extent(&self, node: &Node, offset: u64) -> Result<Extent> {
        let rest = node
            .size
            .checked_sub(offset)
            .filter(|&rest| rest > 0)
            .ok_or(Errno::EIO)?;
        match node.layout {
            Layout::Flat { start, tail: 0 } => self.slice(start + offset, rest).map(Extent::Data),
            Layout::Flat { start, tail } => {
                let in_blocks = (node.size - 1) / BLOCK * BLOCK;
                if offset < in_blocks {
                    self.slice(start + offset, in_blocks - offset)
                        .map(Extent::Data)
                } else {
                    self.slice(tail + (offset - in_blocks), rest)
                        .map(Extent::Data)
                }
            }
            Layout::Chunked {
                table,
                stride,
                bits,
            } => {
                let chunk = offset.checked_shr(bits).unwrap_or(0);
                let start = chunk.checked_shl(bits).unwrap_or(0);
                let inside = offset - start;
                let length = 1u64.checked_shl(bits).unwrap_or(u64::MAX);
                let length = (length - inside).min(rest);
                // An indexed entry is advice and device (which must be 0), then the address.
                let entry = table + chunk * stride;
                if stride == 8 && self.halves(entry)?[1] != 0 {
                    return Err(Errno::EIO);
                }
                match self.word(entry + (stride - 4))? {
                    u32::MAX => Ok(Extent::Hole(length)),
                    block => {
                        let at = u64::from(block) * BLOCK + inside;
                        self.slice(at, length).map(Extent::Data)
                    }
                }
            }
        }
    }

    /// Guest-physical address of page `index` of `node`, if that page of the image holds the data
    /// as a mapping must show it.
    pub fn page(&self, node: &Node, index: u64) -> Option<u64> {
        let offset = index
            .checked_mul(BLOCK)
            .filter(|&offset| offset < node.size)?;
        let Ok(Extent::Data(data)) = self.extent(node, offset) else {
            return None;
        };
        if (data.len() as u64) < BLOCK.min(node.size - offset) {
            return None;
        }
        let at = self.offset_of(data);
        // The whole page must be of the image; builders fill blocks up with zeroes.
        (at.is_multiple_of(BLOCK) && at + BLOCK <= self.bytes.len() as u64)
            .then_some(self.phys + at)
    }

    /// Guest-physical address and length of the part of `node`, from its first byte on, that lies
    /// in one page-aligned run.
    pub fn run(&self, node: &Node) -> Option<(u64, u64)> {
        self.page(node, 0)?;
        match self.extent(node, 0) {
            Ok(Extent::Data(data)) => Some((self.phys + self.offset_of(data), data.len() as u64)),
            _ => None,
        }
    }

    /// What the symbolic link `node` says.
    pub fn link_target(&self, node: &Node) -> Result<Vec<u8>> {
        if node.kind != FileKind::Symlink {
            return Err(Errno::EINVAL);
        }
        if node.size > BLOCK {
            return Err(Errno::EIO);
        }
        let mut target = Vec::new();
        while (target.len() as u64) < node.size {
            match self.extent(node, target.len() as u64)? {
                Extent::Data(data) => target.extend_from_slice(data),
                Extent::Hole(_) => return Err(Errno::EIO),
            }
        }
        Ok(target)
    }

    fn offset_of(&self, part: &[u8]) -> u64 {
        (part.as_ptr().addr() - self.bytes.as_ptr().addr()) as u64
    }

    fn slice(&self, at: u64, len: u64) -> Result<&'static [u8]> {
        let start = usize::try_from(at).map_err(|_| Errno::EIO)?;
        let len = usize::try_from(len).map_err(|_| Errno::EIO)?;
        let end = start.checked_add(len).ok_or(Errno::EIO)?;
        self.bytes.get(start..end).ok_or(Errno::EIO)
    }

    fn word(&self, at: u64) -> Result<u32> {
        field(self.bytes, at).map(u32::from_le_bytes)
    }

    fn halves(&self, at: u64) -> Result<[u16; 4]> {
        let [a, b, c, d, e, f, g, h] = field(self.bytes, at)?;
        Ok([[a, b], [c, d], [e, f], [g, h]].map(u16::from_le_bytes))
    }
}

/// `N` bytes at `at`.
fn field<const N: usize>(bytes: &[u8], at: u64) -> Result<[u8; N]> {
    usize::try_from(at)
        .ok()
        .and_then(|at| bytes.get(at..)?.first_chunk::<N>())
        .copied()
        .ok_or(Errno::EIO)
}

#[cfg(test)]
mod tests;

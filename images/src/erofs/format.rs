//! On-disk structures: encoding and decoding, no policy.

use crate::tree::Time;

/// Bytes of a block.
pub const BLOCK_SIZE: u64 = 4096;
/// Where the superblock begins.
pub const SUPERBLOCK_OFFSET: usize = 1024;
/// Bytes of an extended inode.
pub const INODE_SIZE: u64 = 64;
/// Unit of inode numbers: number n is at byte n·32 from the metadata start.
pub const INODE_SLOT: u64 = 32;
/// Bytes of a directory entry without its name.
pub const DIRENT_SIZE: usize = 12;

const MAGIC: u32 = 0xe0f5_e1e2;
const BLOCK_BITS: u8 = 12;
/// `feature_compat`: the superblock has a checksum.
const FEATURE_CHECKSUM: u32 = 1;
/// `feature_compat`: inode times are modification times.
const FEATURE_MTIME: u32 = 2;
/// `feature_incompat`: there are files in chunks.
const FEATURE_CHUNKED: u32 = 4;
/// `i_format`: extended inode, data layout FLAT_PLAIN.
const FORMAT_EXTENDED_PLAIN: u16 = 1;
/// `i_format`: extended inode, data layout CHUNK_BASED.
const FORMAT_EXTENDED_CHUNKED: u16 = 4 << 1 | 1;
/// Block number of a chunk that is a hole.
pub const HOLE: u32 = u32::MAX;
/// Bytes of a chunk's entry in the table behind its inode: a block number.
pub const CHUNK_ENTRY: u64 = 4;
/// Largest binary logarithm of a chunk's number of blocks.
pub const CHUNK_BITS_MAX: u8 = 31;

/// File type bits of a mode.
pub const S_IFMT: u16 = 0o170000;
/// Directory.
pub const S_IFDIR: u16 = 0o040000;
/// Regular file.
pub const S_IFREG: u16 = 0o100000;
/// Symbolic link.
pub const S_IFLNK: u16 = 0o120000;
/// Character device.
pub const S_IFCHR: u16 = 0o020000;
/// Block device.
pub const S_IFBLK: u16 = 0o060000;
/// Named pipe.
pub const S_IFIFO: u16 = 0o010000;

/// The fields of the superblock that vary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Superblock {
    /// Inode number of the root directory.
    pub root_nid: u16,
    /// Number of inodes.
    pub inodes: u64,
    /// Seconds since 1970.
    pub build_time: u64,
    /// Number of blocks.
    pub blocks: u32,
    /// Unique id; made from the content.
    pub uuid: [u8; 16],
    /// Whether there are files in chunks.
    pub chunked: bool,
}

impl Superblock {
    /// Writes the superblock into block 0 and seals it with the checksum of that block's rest.
    /// `block` must hold nothing else that would change later.
    pub fn encode_into(&self, block: &mut [u8; BLOCK_SIZE as usize]) {
        let sb = &mut block[SUPERBLOCK_OFFSET..];
        put(sb, 0, &MAGIC.to_le_bytes());
        put(sb, 4, &[0; 4]);
        put(sb, 8, &(FEATURE_CHECKSUM | FEATURE_MTIME).to_le_bytes());
        put(sb, 12, &[BLOCK_BITS, 0]);
        put(sb, 14, &self.root_nid.to_le_bytes());
        put(sb, 16, &self.inodes.to_le_bytes());
        put(sb, 24, &self.build_time.to_le_bytes());
        put(sb, 36, &self.blocks.to_le_bytes());
        put(sb, 48, &self.uuid);
        put(sb, 64, b"sprout");
        if self.chunked {
            put(sb, 80, &FEATURE_CHUNKED.to_le_bytes());
        }
        let checksum = checksum(sb);
        put(sb, 4, &checksum.to_le_bytes());
    }

    /// Reads and checks the superblock in block 0; the error says what is wrong.
    pub fn decode(block: &[u8; BLOCK_SIZE as usize]) -> Result<Superblock, String> {
        let sb = &block[SUPERBLOCK_OFFSET..];
        if u32_at(sb, 0) != MAGIC {
            return Err("it is not an EROFS image (no magic number)".into());
        }
        if sb[12] != BLOCK_BITS {
            return Err(format!("its blocks are 2^{} bytes instead of 4096", sb[12]));
        }
        let features = u32_at(sb, 80);
        if features & !FEATURE_CHUNKED != 0 || sb[90] != 0 {
            return Err(format!(
                "it uses EROFS features that images do not have ({features:#x})"
            ));
        }
        if u32_at(sb, 40) != 0 {
            return Err("its metadata does not begin at block 0".into());
        }
        if u32_at(sb, 8) & FEATURE_CHECKSUM != 0 {
            let mut copy = sb.to_vec();
            put(&mut copy, 4, &[0; 4]);
            if checksum(&copy) != u32_at(sb, 4) {
                return Err("its superblock checksum is wrong".into());
            }
        }
        Ok(Superblock {
            root_nid: u16_at(sb, 14),
            inodes: u64_at(sb, 16),
            build_time: u64_at(sb, 24),
            blocks: u32_at(sb, 36),
            uuid: array_at(sb, 48),
            chunked: features & FEATURE_CHUNKED != 0,
        })
    }
}

/// CRC-32C as the kernel computes it: without the final inversion.
fn checksum(bytes: &[u8]) -> u32 {
    !crc32c::crc32c(bytes)
}

/// Where an inode's data is, or what it has instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Location {
    /// One run of blocks from this one on.
    Blocks(u32),
    /// Chunks of 2^n blocks; their block numbers follow the inode.
    Chunks(u8),
    /// A device's number, as Linux' `new_encode_dev` has it.
    Device(u32),
}

/// An inode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inode {
    /// File type and permissions.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Length in bytes.
    pub size: u64,
    /// Where the data is.
    pub location: Location,
    /// Number shown by `stat` on 32-bit systems.
    pub number: u32,
    /// Modification time.
    pub mtime: Time,
    /// Number of names.
    pub links: u32,
}

impl Inode {
    /// The 64 bytes on disk.
    pub fn encode(&self) -> [u8; INODE_SIZE as usize] {
        let mut bytes = [0; INODE_SIZE as usize];
        let (format, location) = match self.location {
            Location::Blocks(start) => (FORMAT_EXTENDED_PLAIN, start),
            Location::Chunks(bits) => (FORMAT_EXTENDED_CHUNKED, bits.into()),
            Location::Device(number) => (FORMAT_EXTENDED_PLAIN, number),
        };
        put(&mut bytes, 0, &format.to_le_bytes());
        put(&mut bytes, 4, &self.mode.to_le_bytes());
        put(&mut bytes, 8, &self.size.to_le_bytes());
        put(&mut bytes, 16, &location.to_le_bytes());
        put(&mut bytes, 20, &self.number.to_le_bytes());
        put(&mut bytes, 24, &self.uid.to_le_bytes());
        put(&mut bytes, 28, &self.gid.to_le_bytes());
        put(&mut bytes, 32, &self.mtime.seconds.to_le_bytes());
        put(&mut bytes, 40, &self.mtime.nanoseconds.to_le_bytes());
        put(&mut bytes, 44, &self.links.to_le_bytes());
        bytes
    }

    /// Reads an inode; `None` if it is not an extended one of a layout that images use.
    pub fn decode(bytes: &[u8; INODE_SIZE as usize]) -> Option<Inode> {
        let (mode, location) = (u16_at(bytes, 4), u32_at(bytes, 16));
        let location = match (u16_at(bytes, 0), mode & S_IFMT) {
            (FORMAT_EXTENDED_PLAIN, S_IFCHR | S_IFBLK) => Location::Device(location),
            (FORMAT_EXTENDED_PLAIN, _) => Location::Blocks(location),
            (FORMAT_EXTENDED_CHUNKED, S_IFREG) => Location::Chunks(
                u8::try_from(location)
                    .ok()
                    .filter(|bits| *bits <= CHUNK_BITS_MAX)?,
            ),
            _ => return None,
        };
        (u16_at(bytes, 2) == 0).then(|| Inode {
            mode,
            uid: u32_at(bytes, 24),
            gid: u32_at(bytes, 28),
            size: u64_at(bytes, 8),
            location,
            number: u32_at(bytes, 20),
            mtime: Time {
                seconds: u64_at(bytes, 32) as i64,
                nanoseconds: u32_at(bytes, 40),
            },
            links: u32_at(bytes, 44),
        })
    }
}

/// A device's number on disk: Linux' `new_encode_dev`.
pub fn encode_device(major: u32, minor: u32) -> u32 {
    (minor & 0xff) | (major & 0xfff) << 8 | (minor & !0xff) << 12
}

/// The file type byte of a directory entry for a mode.
fn dirent_type(mode: u16) -> u8 {
    match mode & S_IFMT {
        S_IFREG => 1,
        S_IFDIR => 2,
        S_IFCHR => 3,
        S_IFBLK => 4,
        S_IFIFO => 5,
        S_IFLNK => 7,
        _ => 0,
    }
}

/// One entry of a directory.
pub struct Dirent<'a> {
    /// Inode number.
    pub nid: u64,
    /// Mode of the inode.
    pub mode: u16,
    /// Name.
    pub name: &'a [u8],
}

/// A directory's data: blocks of entries followed by their names. `entries` must be sorted by
/// name and contain `.` and `..`. The last block is cut after its last name.
pub fn encode_directory(entries: &[Dirent<'_>]) -> Vec<u8> {
    let mut data = Vec::new();
    let mut rest = entries;
    while !rest.is_empty() {
        data.resize(data.len().next_multiple_of(BLOCK_SIZE as usize), 0);
        let mut used = 0;
        let fits = rest
            .iter()
            .take_while(|entry| {
                used += DIRENT_SIZE + entry.name.len();
                used <= BLOCK_SIZE as usize
            })
            .count();
        // A name has 255 bytes at most, so at least one entry fits and the loop ends.
        let (block, after) = rest.split_at(fits);
        let mut name_offset = fits * DIRENT_SIZE;
        for entry in block {
            data.extend(entry.nid.to_le_bytes());
            data.extend((name_offset as u16).to_le_bytes());
            data.extend([dirent_type(entry.mode), 0]);
            name_offset += entry.name.len();
        }
        for entry in block {
            data.extend(entry.name);
        }
        rest = after;
    }
    data
}

/// Reads one block of a directory (cut at the directory's size): inode numbers and names, or
/// `None` if it makes no sense.
pub fn decode_directory_block(block: &[u8]) -> Option<Vec<(u64, Vec<u8>)>> {
    let count = usize::from(u16::from_le_bytes(block.get(8..10)?.try_into().ok()?)) / DIRENT_SIZE;
    let headers: Vec<&[u8]> = block
        .get(..count * DIRENT_SIZE)?
        .chunks_exact(DIRENT_SIZE)
        .collect();
    let offset_of = |header: &[u8]| usize::from(u16_at(header, 8));
    let mut entries = Vec::with_capacity(count);
    for (index, header) in headers.iter().enumerate() {
        let end = headers
            .get(index + 1)
            .map_or(block.len(), |next| offset_of(next));
        let name = block.get(offset_of(header)..end)?;
        // Only the last name of a full block is followed by zeros.
        let name = name.split(|byte| *byte == 0).next().unwrap_or(name);
        if name.is_empty() {
            return None;
        }
        entries.push((u64_at(header, 0), name.to_vec()));
    }
    (!entries.is_empty()).then_some(entries)
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

/// A fixed-size piece of a buffer whose size the caller has established.
fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&bytes[at..at + N]);
    array
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(array_at(bytes, at))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array_at(bytes, at))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array_at(bytes, at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn superblock_survives_and_damage_is_found() {
        let superblock = Superblock {
            root_nid: 128,
            inodes: 7,
            build_time: 1,
            blocks: 512,
            uuid: *b"0123456789abcdef",
            chunked: true,
        };
        let mut block = [0; BLOCK_SIZE as usize];
        superblock.encode_into(&mut block);
        assert_eq!(Superblock::decode(&block), Ok(superblock));
        block[SUPERBLOCK_OFFSET + 20] ^= 1;
        assert!(Superblock::decode(&block).unwrap_err().contains("checksum"));
        assert!(
            Superblock::decode(&[0; BLOCK_SIZE as usize])
                .unwrap_err()
                .contains("magic")
        );
    }

    #[test]
    fn inodes_survive() {
        for (mode, location) in [
            (S_IFREG | 0o4755, Location::Blocks(7)),
            (S_IFREG, Location::Chunks(31)),
            (S_IFCHR | 0o666, Location::Device(encode_device(1, 3))),
        ] {
            let inode = Inode {
                mode,
                uid: 1 << 20,
                gid: 42,
                size: 1 << 40,
                location,
                number: 9,
                mtime: Time {
                    seconds: -5,
                    nanoseconds: 999_999_999,
                },
                links: 70_000,
            };
            assert_eq!(Inode::decode(&inode.encode()), Some(inode));
        }
        assert_eq!(encode_device(0x103, 0x12345), 0x1231_0345);
    }

    #[test]
    fn directories_span_blocks() {
        let names: Vec<String> = (0..300)
            .map(|n| format!("{n:04}-{}", "x".repeat(40)))
            .collect();
        let entries: Vec<Dirent<'_>> = names
            .iter()
            .enumerate()
            .map(|(n, name)| Dirent {
                nid: n as u64,
                mode: S_IFREG,
                name: name.as_bytes(),
            })
            .collect();
        let data = encode_directory(&entries);
        assert!(data.len() > 4 * BLOCK_SIZE as usize);
        let decoded: Vec<_> = data
            .chunks(BLOCK_SIZE as usize)
            .flat_map(|block| decode_directory_block(block).unwrap())
            .collect();
        let expected = names
            .iter()
            .enumerate()
            .map(|(n, name)| (n as u64, name.clone().into_bytes()));
        assert!(decoded.into_iter().eq(expected));
    }

    #[test]
    fn nonsense_directories_are_refused() {
        assert!(decode_directory_block(&[]).is_none());
        assert!(decode_directory_block(&[0; 4096]).is_none());
        assert!(decode_directory_block(&[0xff; 4096]).is_none());
    }
}

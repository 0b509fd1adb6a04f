//! Builds small images for tests: both inode sizes, plain and inline data, chunks.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

const BLOCK: usize = 4096;
/// Every inode has a block of its own, so its number is a multiple of this.
const SLOTS: u64 = 128;

/// Something in an image.
#[derive(Clone, Debug)]
pub enum Item {
    /// A directory.
    Directory(BTreeMap<Vec<u8>, Item>),
    /// A file in blocks of its own.
    Plain(Vec<u8>),
    /// A file whose last bytes follow its inode.
    Inline(Vec<u8>),
    /// A file in chunks of a block, holes where a chunk is all zero.
    Chunked(Vec<u8>),
    /// A symbolic link.
    Link(Vec<u8>),
    /// Another name of the file at this index among the files built before.
    Hard(usize),
}

/// A directory of these entries.
pub fn directory<const N: usize>(entries: [(&str, Item); N]) -> Item {
    let entries = entries.map(|(name, item)| (name.as_bytes().to_vec(), item));
    Item::Directory(entries.into())
}

struct Inode {
    mode: u16,
    nlink: u32,
    layout: u16,
    data: Vec<u8>,
}

struct Builder {
    inodes: Vec<Inode>,
}

impl Builder {
    fn add(&mut self, item: &Item, parent: usize) -> usize {
        let index = self.inodes.len();
        let (mode, layout, data) = match item {
            Item::Hard(target) => {
                self.inodes[*target].nlink += 1;
                return *target;
            }
            Item::Directory(_) => (0o040755, 0, Vec::new()),
            Item::Plain(data) => (0o100644, 0, data.clone()),
            Item::Inline(data) => (0o100755, 2, data.clone()),
            Item::Chunked(data) => (0o100600, 4, data.clone()),
            Item::Link(target) => (0o120777, 2, target.clone()),
        };
        let nlink = if matches!(item, Item::Directory(_)) {
            2
        } else {
            1
        };
        self.inodes.push(Inode {
            mode,
            nlink,
            layout,
            data,
        });
        if let Item::Directory(children) = item {
            let mut entries =
                BTreeMap::from([(b".".to_vec(), (index, 2u8)), (b"..".to_vec(), (parent, 2))]);
            for (name, child) in children {
                let kind = match child {
                    Item::Directory(_) => 2,
                    Item::Link(_) => 7,
                    _ => 1,
                };
                if kind == 2 {
                    self.inodes[index].nlink += 1;
                }
                entries.insert(name.clone(), (self.add(child, index), kind));
            }
            self.inodes[index].data = directory_blocks(&entries);
        }
        index
    }
}

fn directory_blocks(entries: &BTreeMap<Vec<u8>, (usize, u8)>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut block: Vec<(&Vec<u8>, usize, u8)> = Vec::new();
    let size = |block: &[(&Vec<u8>, usize, u8)]| -> usize {
        block.iter().map(|(name, ..)| 12 + name.len()).sum()
    };
    let flush = |block: &mut Vec<(&Vec<u8>, usize, u8)>, out: &mut Vec<u8>, pad: bool| {
        let mut name_at = block.len() * 12;
        for (name, index, kind) in block.iter() {
            out.extend_from_slice(&(*index as u64 * SLOTS).to_le_bytes());
            out.extend_from_slice(&(name_at as u16).to_le_bytes());
            out.extend_from_slice(&[*kind, 0]);
            name_at += name.len();
        }
        for (name, ..) in block.iter() {
            out.extend_from_slice(name);
        }
        if pad {
            out.resize(out.len().next_multiple_of(BLOCK), 0);
        }
        block.clear();
    };
    for (name, (index, kind)) in entries {
        block.push((name, *index, *kind));
        if size(&block) > BLOCK {
            block.pop();
            flush(&mut block, &mut out, true);
            block.push((name, *index, *kind));
        }
    }
    flush(&mut block, &mut out, false);
    out
}

/// The bytes of an image with `root`, which is a directory.
pub fn build(root: &Item) -> Vec<u8> {
    let mut builder = Builder { inodes: Vec::new() };
    builder.add(root, 0);
    let mut image = alloc::vec![0u8; BLOCK * (1 + builder.inodes.len())];
    let put = |image: &mut Vec<u8>, at: usize, bytes: &[u8]| {
        image[at..at + bytes.len()].copy_from_slice(bytes);
    };
    for (index, inode) in builder.inodes.iter().enumerate() {
        // Odd ones are extended.
        let extended = index % 2 == 1;
        let (at, size) = (BLOCK * (1 + index), if extended { 64 } else { 32 });
        let (in_blocks, tail) = match inode.layout {
            2 => inode
                .data
                .split_at(inode.data.len().saturating_sub(1) / BLOCK * BLOCK),
            _ => (&inode.data[..], &[][..]),
        };
        let fits = tail.len() <= BLOCK - size;
        let (layout, in_blocks) = if fits {
            (inode.layout, in_blocks)
        } else {
            (0, &inode.data[..])
        };
        let start = image.len() / BLOCK;
        let mut union = (start as u32).to_le_bytes();
        if layout == 4 {
            union = [0; 4];
            let mut table = Vec::new();
            for chunk in in_blocks.chunks(BLOCK) {
                if chunk.iter().all(|&byte| byte == 0) {
                    table.extend_from_slice(&u32::MAX.to_le_bytes());
                } else {
                    table.extend_from_slice(&((image.len() / BLOCK) as u32).to_le_bytes());
                    image.extend_from_slice(chunk);
                    image.resize(image.len().next_multiple_of(BLOCK), 0);
                }
            }
            put(&mut image, at + size, &table);
        } else {
            image.extend_from_slice(in_blocks);
            image.resize(image.len().next_multiple_of(BLOCK), 0);
            if fits {
                put(&mut image, at + size, tail);
            }
        }
        put(
            &mut image,
            at,
            &(layout << 1 | u16::from(extended)).to_le_bytes(),
        );
        put(&mut image, at + 4, &inode.mode.to_le_bytes());
        put(&mut image, at + 8, &(inode.data.len() as u32).to_le_bytes());
        put(&mut image, at + 16, &union);
        if extended {
            put(&mut image, at + 32, &1_700_000_000u64.to_le_bytes());
            put(&mut image, at + 44, &inode.nlink.to_le_bytes());
        } else {
            put(&mut image, at + 6, &(inode.nlink as u16).to_le_bytes());
        }
    }
    let blocks = (image.len() / BLOCK) as u32;
    put(&mut image, 1024, &0xE0F5_E1E2u32.to_le_bytes());
    put(&mut image, 1024 + 12, &[12]);
    put(
        &mut image,
        1024 + 16,
        &(builder.inodes.len() as u64).to_le_bytes(),
    );
    put(&mut image, 1024 + 36, &blocks.to_le_bytes());
    put(&mut image, 1024 + 40, &1u32.to_le_bytes());
    put(&mut image, 1024 + 80, &4u32.to_le_bytes());
    image
}

/// The bytes for the rest of the test run, as image memory lasts for the guest's.
pub fn leak(image: Vec<u8>) -> &'static [u8] {
    Box::leak(image.into_boxed_slice())
}

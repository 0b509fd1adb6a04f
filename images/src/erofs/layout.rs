//! Decides where everything goes: inode numbers, directory contents, block addresses.

use std::io::Read;
use std::sync::Arc;

use sprout_abi::layout::{HUGE_PAGE_SIZE, IMAGE_STRIDE};

use super::format::{
    BLOCK_SIZE, Dirent, INODE_SIZE, INODE_SLOT, Inode, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG,
    Superblock, encode_directory,
};
use crate::tree::{Directory, File, Node, Tree};
use crate::{Error, Result};

/// Where the inode table begins: right after the superblock's block.
const INODE_TABLE: u64 = BLOCK_SIZE;

/// A piece of the image; what lies between pieces is zero.
pub struct Piece<'a> {
    /// Byte offset in the image.
    pub offset: u64,
    /// What is there.
    pub data: Data<'a>,
}

/// Content of a piece.
pub enum Data<'a> {
    /// Superblock, inodes, directories, links.
    Bytes(Arc<[u8]>),
    /// A regular file.
    File(&'a File),
}

/// A complete layout.
pub struct Layout<'a> {
    /// Pieces by ascending offset, not overlapping.
    pub pieces: Vec<Piece<'a>>,
    /// Bytes of the image, a multiple of 2 MiB.
    pub size: u64,
}

/// A node of the tree in the order of the inode table.
struct Planned<'a> {
    name: &'a [u8],
    parent: usize,
    children: Vec<usize>,
    node: Source<'a>,
}

enum Source<'a> {
    Directory(&'a Directory),
    File(&'a File),
    Symlink(&'a [u8]),
}

impl<'a> Layout<'a> {
    /// Lays `tree` out; every inode gets the modification time `mtime`.
    pub fn new(tree: &'a Tree, mtime: u64) -> Result<Layout<'a>> {
        let nodes = flatten(tree);
        let mut inodes: Vec<Inode> = (0..nodes.len())
            .map(|index| inode(&nodes, index, mtime))
            .collect();
        let mut space = Space {
            end: INODE_TABLE + INODE_SIZE * nodes.len() as u64,
            gaps: vec![],
        };
        space.end = space.end.next_multiple_of(BLOCK_SIZE);
        let mut pieces = Vec::new();

        // Directories and links first: what a path walk touches lies together.
        for (index, node) in nodes.iter().enumerate() {
            let bytes: Arc<[u8]> = match &node.node {
                Source::Directory(_) => directory_data(&nodes, index).into(),
                Source::Symlink(target) => Arc::from(*target),
                Source::File(_) => continue,
            };
            inodes[index].size = bytes.len() as u64;
            let offset = space.take(bytes.len() as u64, BLOCK_SIZE);
            inodes[index].start_block = block_number(offset)?;
            pieces.push(Piece {
                offset,
                data: Data::Bytes(bytes),
            });
        }
        // Large-page files next, the rest then fills the gaps their alignment left.
        let files = nodes
            .iter()
            .enumerate()
            .filter_map(|(index, node)| match node.node {
                Source::File(file) if file.size > 0 => Some((index, file)),
                _ => None,
            });
        let mut small = Vec::new();
        for (index, file) in files {
            if wants_large_pages(file)? {
                let offset = space.take(file.size, HUGE_PAGE_SIZE);
                inodes[index].start_block = block_number(offset)?;
                pieces.push(Piece {
                    offset,
                    data: Data::File(file),
                });
            } else {
                small.push((index, file));
            }
        }
        for (index, file) in small {
            let offset = space.take(file.size, BLOCK_SIZE);
            inodes[index].start_block = block_number(offset)?;
            pieces.push(Piece {
                offset,
                data: Data::File(file),
            });
        }

        let size = space.end.next_multiple_of(HUGE_PAGE_SIZE);
        if size > IMAGE_STRIDE {
            return Err(too_large());
        }
        pieces.push(Piece {
            offset: 0,
            data: Data::Bytes(head(&inodes, &pieces, size, mtime)?),
        });
        pieces.sort_by_key(|piece| piece.offset);
        Ok(Layout { pieces, size })
    }
}

impl Planned<'_> {
    fn mode(&self) -> u16 {
        match &self.node {
            Source::Directory(directory) => S_IFDIR | directory.mode,
            Source::File(file) => S_IFREG | file.mode,
            Source::Symlink(_) => S_IFLNK | 0o777,
        }
    }
}

/// The inode of the node at `index`, before its data has a place.
fn inode(nodes: &[Planned<'_>], index: usize, mtime: u64) -> Inode {
    let node = &nodes[index];
    let (size, links) = match &node.node {
        // Its name, its `.`, and the `..` of each subdirectory.
        Source::Directory(_) => {
            let is_directory = |child: &&usize| nodes[**child].mode() & S_IFMT == S_IFDIR;
            (
                0,
                2 + node.children.iter().filter(is_directory).count() as u32,
            )
        }
        Source::File(file) => (file.size, 1),
        Source::Symlink(target) => (target.len() as u64, 1),
    };
    Inode {
        mode: node.mode(),
        size,
        start_block: 0,
        number: index as u32 + 1,
        mtime,
        links,
    }
}

/// All nodes, the root first, then depth first by name.
fn flatten(tree: &Tree) -> Vec<Planned<'_>> {
    let mut nodes: Vec<Planned<'_>> = Vec::new();
    let mut open = vec![(&b""[..], 0, Source::Directory(&tree.root))];
    while let Some((name, parent, source)) = open.pop() {
        let index = nodes.len();
        if let Source::Directory(directory) = source {
            // Reversed, because the stack hands out the last one first.
            for (name, node) in directory.entries.iter().rev() {
                let source = match node {
                    Node::Directory(directory) => Source::Directory(directory),
                    Node::File(file) => Source::File(file),
                    Node::Symlink(target) => Source::Symlink(target),
                };
                open.push((name, index, source));
            }
        }
        nodes.push(Planned {
            name,
            parent,
            children: Vec::new(),
            node: source,
        });
        if index != 0 {
            nodes[parent].children.push(index);
        }
    }
    nodes
}

/// Inode number of the node at `index`.
fn nid(index: usize) -> u64 {
    (INODE_TABLE + INODE_SIZE * index as u64) / INODE_SLOT
}

fn directory_data(nodes: &[Planned<'_>], index: usize) -> Vec<u8> {
    let this = &nodes[index];
    let mut entries: Vec<Dirent<'_>> = this
        .children
        .iter()
        .map(|&child| {
            let node = &nodes[child];
            Dirent {
                nid: nid(child),
                mode: node.mode(),
                name: node.name,
            }
        })
        .collect();
    entries.push(Dirent {
        nid: nid(index),
        mode: S_IFDIR,
        name: b".",
    });
    entries.push(Dirent {
        nid: nid(this.parent),
        mode: S_IFDIR,
        name: b"..",
    });
    // The kernel finds names by binary search; `-x` sorts before `.`.
    entries.sort_by_key(|entry| entry.name);
    encode_directory(&entries)
}

/// Free space of the image while it is handed out: an open end, and gaps before it.
struct Space {
    end: u64,
    gaps: Vec<(u64, u64)>,
}

impl Space {
    /// Reserves `size` bytes, rounded up to blocks, at a multiple of `align`.
    fn take(&mut self, size: u64, align: u64) -> u64 {
        let size = size.next_multiple_of(BLOCK_SIZE);
        if align == BLOCK_SIZE
            && let Some(gap) = self
                .gaps
                .iter_mut()
                .find(|(start, end)| end - start >= size)
        {
            let offset = gap.0;
            gap.0 += size;
            return offset;
        }
        let offset = self.end.next_multiple_of(align);
        if offset > self.end {
            self.gaps.push((self.end, offset));
        }
        self.end = offset + size;
        offset
    }
}

/// Whether the file is an ELF one of a size where large pages are worth the padding.
fn wants_large_pages(file: &File) -> Result<bool> {
    if file.size < HUGE_PAGE_SIZE {
        return Ok(false);
    }
    let mut magic = [0; 4];
    match file.open()?.read_exact(&mut magic) {
        Ok(()) => Ok(magic == *b"\x7fELF"),
        Err(error) => Err(Error::io("read", &file.origin())(error)),
    }
}

fn block_number(offset: u64) -> Result<u32> {
    u32::try_from(offset / BLOCK_SIZE).map_err(|_| too_large())
}

fn too_large() -> Error {
    Error::unsupported(
        "the image",
        format!(
            "more than {} GiB of content do not fit an image",
            IMAGE_STRIDE >> 30
        ),
    )
}

/// Block 0 with the superblock, and the inode table.
fn head(inodes: &[Inode], pieces: &[Piece<'_>], size: u64, mtime: u64) -> Result<Arc<[u8]>> {
    let mut block = [0; BLOCK_SIZE as usize];
    let mut table = Vec::with_capacity(inodes.len() * INODE_SIZE as usize);
    let mut id = blake3::Hasher::new();
    for inode in inodes {
        table.extend(inode.encode());
    }
    id.update(&table);
    for piece in pieces {
        if let Data::Bytes(bytes) = &piece.data {
            id.update(bytes);
        }
    }
    let mut uuid = [0; 16];
    id.finalize_xof().fill(&mut uuid);
    let root_nid = u16::try_from(nid(0)).map_err(|_| too_large())?;
    let blocks = block_number(size)?;
    Superblock {
        root_nid,
        inodes: inodes.len() as u64,
        build_time: mtime,
        blocks,
        uuid,
    }
    .encode_into(&mut block);
    Ok([&block[..], &table].concat().into())
}

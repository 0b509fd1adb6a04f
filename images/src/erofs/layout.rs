//! Decides where everything goes: inode numbers, directory contents, block addresses.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use sprout_abi::layout::{HUGE_PAGE_SIZE, IMAGE_STRIDE};

use super::content::{Found, Identity, Shape, examine};
use super::format::{
    BLOCK_SIZE, Dirent, HOLE, INODE_SIZE, INODE_SLOT, Inode, Location, S_IFBLK, S_IFCHR, S_IFDIR,
    S_IFIFO, S_IFLNK, S_IFMT, S_IFREG, Superblock, encode_device, encode_directory,
};
use crate::tree::{Attributes, Content, Directory, File, Leaf, Node, Special, Time, Tree};
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
    /// These stretches of a regular file, one after the other.
    File(&'a File, Vec<Range<u64>>),
}

/// A complete layout.
pub struct Layout<'a> {
    /// Pieces by ascending offset, not overlapping.
    pub pieces: Vec<Piece<'a>>,
    /// Bytes of the image, a multiple of 2 MiB.
    pub size: u64,
}

/// An inode of the tree, in the order of the inode table.
struct Planned<'a> {
    source: Source<'a>,
    /// The directory it was found in first.
    parent: usize,
    /// Number of names, without `.` and `..`.
    names: u32,
    children: Vec<(&'a [u8], usize)>,
    /// Where it is in the image.
    offset: u64,
}

#[derive(Clone, Copy)]
enum Source<'a> {
    Directory(&'a Directory),
    Leaf(&'a Leaf),
}

impl<'a> Layout<'a> {
    /// Lays `tree` out; what has no modification time gets `mtime`, seconds since 1970.
    pub fn new(tree: &'a Tree, mtime: u64) -> Result<Layout<'a>> {
        let mut nodes = flatten(tree);
        let files: Vec<(usize, &File)> = nodes
            .iter()
            .enumerate()
            .filter_map(|(index, node)| Some((index, node.file().filter(|file| file.size > 0)?)))
            .collect();
        let sources: Vec<&File> = files.iter().map(|(_, file)| *file).collect();
        let contents = examine(&sources)?;

        // Inodes, each followed by its table of chunks.
        let mut end = INODE_TABLE;
        let mut tables = files.iter().zip(&contents).peekable();
        for (index, node) in nodes.iter_mut().enumerate() {
            node.offset = end;
            end += INODE_SIZE;
            if let Some(((_, file), found)) = tables.next_if(|((owner, _), _)| *owner == index) {
                end += found.shape.table_size(file.size);
                end = end.next_multiple_of(INODE_SIZE);
            }
        }
        let mut space = Space {
            end: end.next_multiple_of(BLOCK_SIZE),
            gaps: vec![],
        };
        let mut inodes: Vec<Inode> = (0..nodes.len())
            .map(|index| inode(&nodes, index, mtime))
            .collect();
        let mut pieces = Vec::new();

        // Directories and links first: what a path walk touches lies together.
        for (index, node) in nodes.iter().enumerate() {
            let bytes: Arc<[u8]> = match node.source {
                Source::Directory(_) => directory_data(&nodes, index).into(),
                Source::Leaf(leaf) => match &leaf.content {
                    Content::Symlink(target) => Arc::from(&target[..]),
                    Content::File(_) | Content::Special(_) => continue,
                },
            };
            inodes[index].size = bytes.len() as u64;
            let offset = space.take(bytes.len() as u64, BLOCK_SIZE);
            inodes[index].location = Location::Blocks(block_number(offset)?);
            pieces.push(Piece {
                offset,
                data: Data::Bytes(bytes),
            });
        }
        let mut head = Head {
            bytes: vec![0; usize::try_from(end).map_err(|_| too_large())?],
            chunked: false,
        };
        let mut store = Store {
            space,
            pieces,
            known: HashMap::new(),
        };
        // Large-page files next, the rest then fills the gaps their alignment left.
        for large in [true, false] {
            for ((index, file), found) in files.iter().zip(&contents) {
                if (found.shape == Shape::Plain { large_pages: true }) != large {
                    continue;
                }
                let start = store.place(file, found)?;
                inodes[*index].location = match found.shape {
                    Shape::Plain { .. } => Location::Blocks(start),
                    Shape::Chunks { bits, .. } => {
                        head.put_table(nodes[*index].offset, file.size, &found.shape, start)?;
                        Location::Chunks(bits)
                    }
                };
            }
        }
        let Store {
            space, mut pieces, ..
        } = store;
        let size = space.end.next_multiple_of(HUGE_PAGE_SIZE);
        if size > IMAGE_STRIDE {
            return Err(too_large());
        }
        for (node, inode) in nodes.iter().zip(&inodes) {
            head.put(node.offset, &inode.encode())?;
        }
        let data = head.finish(&nodes, &pieces, size, mtime)?;
        pieces.push(Piece {
            offset: 0,
            data: Data::Bytes(data),
        });
        pieces.sort_by_key(|piece| piece.offset);
        Ok(Layout { pieces, size })
    }
}

impl<'a> Planned<'a> {
    fn attributes(&self) -> &'a Attributes {
        match self.source {
            Source::Directory(directory) => &directory.attributes,
            Source::Leaf(leaf) => &leaf.attributes,
        }
    }

    fn file(&self) -> Option<&'a File> {
        match self.source {
            Source::Leaf(leaf) => leaf.as_file(),
            Source::Directory(_) => None,
        }
    }

    fn mode(&self) -> u16 {
        let kind = match self.source {
            Source::Directory(_) => S_IFDIR,
            Source::Leaf(leaf) => match &leaf.content {
                Content::File(_) => S_IFREG,
                Content::Symlink(_) => S_IFLNK,
                Content::Special(Special::CharDevice(..)) => S_IFCHR,
                Content::Special(Special::BlockDevice(..)) => S_IFBLK,
                Content::Special(Special::Fifo) => S_IFIFO,
            },
        };
        kind | self.attributes().mode
    }

    /// Inode number.
    fn nid(&self) -> u64 {
        self.offset / INODE_SLOT
    }
}

/// The inode of the node at `index`, before its data has a place.
fn inode(nodes: &[Planned<'_>], index: usize, mtime: u64) -> Inode {
    let node = &nodes[index];
    let attributes = node.attributes();
    let (mut size, mut location, mut links) = (0, Location::Blocks(0), node.names);
    match node.source {
        Source::Directory(_) => {
            // Its name, its `.`, and the `..` of each subdirectory.
            let is_directory = |child: &&(&[u8], usize)| nodes[child.1].mode() & S_IFMT == S_IFDIR;
            links = 2 + node.children.iter().filter(is_directory).count() as u32;
        }
        Source::Leaf(leaf) => match &leaf.content {
            Content::File(file) => size = file.size,
            Content::Symlink(target) => size = target.len() as u64,
            Content::Special(
                Special::CharDevice(major, minor) | Special::BlockDevice(major, minor),
            ) => location = Location::Device(encode_device(*major, *minor)),
            Content::Special(Special::Fifo) => {}
        },
    }
    Inode {
        mode: node.mode(),
        uid: attributes.uid,
        gid: attributes.gid,
        size,
        location,
        number: index as u32 + 1,
        mtime: attributes
            .mtime
            .unwrap_or_else(|| Time::from_seconds(mtime as i64)),
        links,
    }
}

/// All inodes, the root first, then depth first by name.
fn flatten(tree: &Tree) -> Vec<Planned<'_>> {
    let mut nodes: Vec<Planned<'_>> = Vec::new();
    let mut leaves: HashMap<*const Leaf, usize> = HashMap::new();
    let mut open = vec![(&b""[..], 0, Source::Directory(&tree.root))];
    while let Some((name, parent, source)) = open.pop() {
        let mut index = nodes.len();
        match source {
            Source::Directory(directory) => {
                // Reversed, because the stack hands out the last one first.
                for (name, node) in directory.entries.iter().rev() {
                    let source = match node {
                        Node::Directory(directory) => Source::Directory(directory),
                        Node::Leaf(leaf) => Source::Leaf(leaf),
                    };
                    open.push((name, index, source));
                }
            }
            Source::Leaf(leaf) => index = *leaves.entry(leaf).or_insert(index),
        }
        match nodes.get_mut(index) {
            Some(known) => known.names += 1,
            None => nodes.push(Planned {
                source,
                parent,
                names: 1,
                children: Vec::new(),
                offset: 0,
            }),
        }
        if !name.is_empty() {
            nodes[parent].children.push((name, index));
        }
    }
    nodes
}

fn directory_data(nodes: &[Planned<'_>], index: usize) -> Vec<u8> {
    let this = &nodes[index];
    let mut entries: Vec<Dirent<'_>> = this
        .children
        .iter()
        .map(|&(name, child)| Dirent {
            nid: nodes[child].nid(),
            mode: nodes[child].mode(),
            name,
        })
        .collect();
    for (name, node) in [(&b"."[..], this), (b"..", &nodes[this.parent])] {
        entries.push(Dirent {
            nid: node.nid(),
            mode: S_IFDIR,
            name,
        });
    }
    // The kernel finds names by binary search; `-x` sorts before `.`.
    entries.sort_by_key(|entry| entry.name);
    encode_directory(&entries)
}

/// Gives the data of files a place, equal ones the same.
struct Store<'a> {
    space: Space,
    pieces: Vec<Piece<'a>>,
    known: HashMap<Identity, u32>,
}

impl<'a> Store<'a> {
    /// The block where the stored stretches of `file` begin.
    fn place(&mut self, file: &'a File, found: &Found) -> Result<u32> {
        if let Some(start) = found.identity.and_then(|known| self.known.get(&known)) {
            return Ok(*start);
        }
        let stretches = found.shape.stored(file.size);
        let length = stretches.iter().map(|range| range.end - range.start).sum();
        let align = match found.shape {
            Shape::Plain { large_pages: true } => HUGE_PAGE_SIZE,
            _ => BLOCK_SIZE,
        };
        let offset = self.space.take(length, align);
        let start = block_number(offset)?;
        if length > 0 {
            self.pieces.push(Piece {
                offset,
                data: Data::File(file, stretches),
            });
        }
        if let Some(identity) = found.identity {
            self.known.insert(identity, start);
        }
        Ok(start)
    }
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

fn block_number(offset: u64) -> Result<u32> {
    // The largest number means a hole.
    u32::try_from(offset / BLOCK_SIZE)
        .ok()
        .filter(|block| *block != HOLE)
        .ok_or_else(too_large)
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

/// The beginning of the image: block 0 with the superblock, the inodes, tables of chunks.
struct Head {
    bytes: Vec<u8>,
    chunked: bool,
}

impl Head {
    fn put(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        let place = usize::try_from(offset).ok().and_then(|start| {
            self.bytes
                .get_mut(start..)
                .and_then(|rest| rest.get_mut(..bytes.len()))
        });
        place.ok_or_else(too_large)?.copy_from_slice(bytes);
        Ok(())
    }

    /// Writes the table behind the inode at `offset`: the chunks of `shape`, from block `start` on.
    fn put_table(&mut self, offset: u64, size: u64, shape: &Shape, start: u32) -> Result<()> {
        let Shape::Chunks { bits, stored } = shape else {
            return Ok(());
        };
        self.chunked = true;
        let mut table = vec![0xff; shape.table_size(size) as usize];
        let mut block = u64::from(start);
        let entries = table.as_chunks_mut::<4>().0;
        for chunk in stored.iter().flat_map(Clone::clone) {
            let entry = entries.get_mut(chunk as usize).ok_or_else(too_large)?;
            *entry = block_number(block * BLOCK_SIZE)?.to_le_bytes();
            block += 1 << bits;
        }
        self.put(offset + INODE_SIZE, &table)
    }

    /// Adds the superblock.
    fn finish(
        mut self,
        nodes: &[Planned<'_>],
        pieces: &[Piece<'_>],
        size: u64,
        mtime: u64,
    ) -> Result<Arc<[u8]>> {
        let mut id = blake3::Hasher::new();
        id.update(&self.bytes);
        for piece in pieces {
            if let Data::Bytes(bytes) = &piece.data {
                id.update(bytes);
            }
        }
        let mut uuid = [0; 16];
        id.finalize_xof().fill(&mut uuid);
        let root = nodes.first().map_or(0, Planned::nid);
        let mut block = [0; BLOCK_SIZE as usize];
        Superblock {
            root_nid: u16::try_from(root).map_err(|_| too_large())?,
            inodes: nodes.len() as u64,
            build_time: mtime,
            blocks: block_number(size)?,
            uuid,
            chunked: self.chunked,
        }
        .encode_into(&mut block);
        self.put(0, &block)?;
        Ok(self.bytes.into())
    }
}

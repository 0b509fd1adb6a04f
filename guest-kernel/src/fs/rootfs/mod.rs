//! The writable file system: an in-memory tree, over an image or over nothing.
//!
//! Linux would stack overlayfs on tmpfs and EROFS. Here the two layers meet in each inode instead:
//! a [`Node`] may have a *lower* inode in the image, and keeps only what differs from it. A
//! directory holds the entries that were added and marks ("whiteouts") for those removed; a file
//! holds the pages that were written. So nothing is ever copied up as a whole, inode numbers never
//! change, hard links and open files of an image stay one inode, and a directory of the image can
//! simply be renamed.
//!
//! Nodes of the image come into being when they are looked up and go again with their last user,
//! unless something about them changed.
//!
//! | file | idea |
//! |---|---|
//! | `data` | the content of a file |
//! | `node` | an inode: attributes, and the [`crate::fs::inode::Inode`] operations |
//! | `directory` | entries of two layers; creating, removing, renaming |
//! | `file` | an open regular file, and its mapping |
//!
//! Locks: the tree's `names` comes before any node's `state`; of two states only one is held at a
//! time. Content is copied to and from programs without either, since that may fault on a page of
//! this very file.

mod data;
mod directory;
mod file;
mod node;
#[cfg(test)]
mod tests;

use crate::errno::Result;
use crate::fs::erofs::Image;
use crate::fs::inode::{DeviceNumber, FileKind, FileSystemInfo, Mode, NewInode};
use crate::sync::{Lock, Rank};
use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use data::Budget;
pub use file::{Allocate, RegularFile, seal};
pub use node::Node;

/// `f_type` of tmpfs.
const TMPFS_MAGIC: u64 = 0x0102_1994;

/// Node of an inode of the image.
enum Slot {
    /// As in the image: exists while somebody uses it.
    Clean(Weak<Node>),
    /// Changed: must not be forgotten.
    Changed(Arc<Node>),
}

/// One file system.
pub struct Tree {
    dev: DeviceNumber,
    lower: Option<Image>,
    next_ino: AtomicU64,
    budget: Budget,
    /// Held while names are looked up or changed anywhere in the tree.
    names: Lock<()>,
    /// Nodes of the image's inodes, by number. Held only for moments in which no node is dropped.
    nodes: Lock<BTreeMap<u64, Slot>>,
}

impl Tree {
    /// A file system with room for `pages` pages of RAM, over `lower`. Returns its root directory.
    pub fn create(lower: Option<Image>, pages: u64) -> Result<Arc<Node>> {
        let tree = Self::new(lower, pages);
        match tree.lower {
            Some(image) => tree.lower_node(image.root(), None),
            None => {
                let new = NewInode::of(FileKind::Directory, Mode::new(0o755));
                Ok(Node::create(&tree, &new, None))
            }
        }
    }

    /// A file system without names, for files that never get one (memfd).
    pub fn nameless(pages: u64) -> Arc<Tree> {
        Self::new(None, pages)
    }

    /// A new file without a name.
    pub fn unnamed_file(self: &Arc<Self>, mode: Mode) -> Arc<Node> {
        let node = Node::create(self, &NewInode::of(FileKind::Regular, mode), None);
        node.state().nlink = 0;
        node
    }

    fn new(lower: Option<Image>, pages: u64) -> Arc<Tree> {
        static NEXT_MINOR: AtomicU32 = AtomicU32::new(24);
        let minor = NEXT_MINOR.fetch_add(1, Ordering::Relaxed);
        let first_ino = lower.map_or(1, |image| image.nid_limit());
        Arc::new(Tree {
            dev: DeviceNumber::new(0, minor),
            lower,
            next_ino: AtomicU64::new(first_ino),
            budget: Budget::new(pages),
            names: Lock::new(Rank::Names, ()),
            nodes: Lock::new(Rank::Inodes, BTreeMap::new()),
        })
    }

    fn fresh_ino(&self) -> u64 {
        self.next_ino.fetch_add(1, Ordering::Relaxed)
    }

    /// The node of the image's inode `nid`; `parent` is where a directory was found.
    fn lower_node(self: &Arc<Self>, nid: u64, parent: Option<node::Place>) -> Result<Arc<Node>> {
        let known = match self.nodes.lock().get(&nid) {
            Some(Slot::Changed(node)) => Some(node.clone()),
            Some(Slot::Clean(node)) => node.upgrade(),
            None => None,
        };
        if let Some(node) = known {
            return Ok(node);
        }
        let node = Node::of_lower(self, nid, parent)?;
        let slot = Slot::Clean(Arc::downgrade(&node));
        let old = self.nodes.lock().insert(nid, slot);
        drop(old);
        Ok(node)
    }

    /// Keeps a node of the image, because it is about to differ.
    fn keep(&self, node: &Arc<Node>) {
        if node.lower().is_some() {
            let old = self
                .nodes
                .lock()
                .insert(node.ino(), Slot::Changed(node.clone()));
            drop(old);
        }
    }

    /// Lets a node go that lost its last name.
    fn release(&self, node: &Node) {
        if node.lower().is_some() {
            let old = self.nodes.lock().remove(&node.ino());
            drop(old);
        }
    }

    /// A node of the image is dropped: its slot is of no use, unless it has a new one.
    fn forget(&self, nid: u64) {
        let mut nodes = self.nodes.lock();
        if let Some(Slot::Clean(node)) = nodes.get(&nid)
            && node.strong_count() == 0
        {
            nodes.remove(&nid);
        }
    }

    fn info(&self) -> FileSystemInfo {
        let image_blocks = self.lower.map_or(0, |image| image.blocks());
        let free = self.budget.limit().saturating_sub(self.budget.used());
        FileSystemInfo {
            magic: TMPFS_MAGIC,
            blocks: self.budget.limit() + image_blocks,
            free_blocks: free,
            files: self.lower.map_or(0, |image| image.inodes()) + self.budget.limit(),
            free_files: free,
            flags: 0,
        }
    }
}

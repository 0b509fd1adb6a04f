//! Directories of the writable file system: what was added to and removed from the image's.

use super::node::{Node, Place};
use crate::errno::{Errno, Result};
use crate::fs::dnotify;
use crate::fs::inode::{DirEntry, FileKind, Inode, Mode, NewInode, RenameMode};
use crate::fs::inotify::{self, mask};
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// Cookies below are positions in the image's directory, from here on of added entries.
const ADDED: u64 = 1 << 62;
/// Cookies 0 to 2 are the start, `.` and `..`.
const FIRST: u64 = 3;
/// What an added entry counts for in the directory's size, as on tmpfs.
const ENTRY_SIZE: u64 = 20;

enum Entry {
    /// An entry that was added, or took the place of one in the image; its position in listings.
    Added { node: Arc<Node>, position: u64 },
    /// The image's entry of this name is gone.
    Whiteout,
}

/// The entries of a directory that are not as in the image.
pub(super) struct Directory {
    place: Option<Place>,
    entries: BTreeMap<Box<[u8]>, Entry>,
    next_position: u64,
    removed: bool,
}

impl Directory {
    pub fn new(place: Option<Place>) -> Self {
        Directory {
            place,
            entries: BTreeMap::new(),
            next_position: 0,
            removed: false,
        }
    }

    /// Where the directory is; `None` for the root and a removed one.
    pub fn place(&self) -> Option<&Place> {
        self.place.as_ref()
    }

    /// What the added entries count for in the directory's size.
    pub fn added_size(&self) -> u64 {
        self.entries.len() as u64 * ENTRY_SIZE
    }

    fn add(&mut self, name: &[u8], node: Arc<Node>) {
        self.next_position += 1;
        let entry = Entry::Added {
            node,
            position: self.next_position,
        };
        self.entries.insert(name.into(), entry);
    }
}

/// An entry in a listing of added ones.
struct Listed {
    position: u64,
    name: Box<[u8]>,
    ino: u64,
    kind: FileKind,
}

/// Operations on a directory. The tree's `names` lock is held by all but the `*_child` ones that
/// take it.
impl Node {
    /// The inode number that `name` has in the image, if it has one.
    fn lower_entry(&self, name: &[u8]) -> Result<Option<u64>> {
        let Some((lower, image)) = self.lower().zip(self.tree().lower.as_ref()) else {
            return Ok(None);
        };
        match image.find(lower, name) {
            Ok(nid) => Ok(Some(nid)),
            Err(Errno::ENOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The node of entry `name`.
    pub(super) fn child(self: &Arc<Self>, name: &[u8]) -> Result<Arc<Node>> {
        match self.state().directory()?.entries.get(name) {
            Some(Entry::Added { node, .. }) => return Ok(node.clone()),
            Some(Entry::Whiteout) => return Err(Errno::ENOENT),
            None => {}
        }
        let nid = self.lower_entry(name)?.ok_or(Errno::ENOENT)?;
        let place = Place {
            parent: self.clone(),
            name: name.into(),
        };
        self.tree().lower_node(nid, Some(place))
    }

    /// As [`Node::child`], with `None` for a missing entry.
    fn child_if_any(self: &Arc<Self>, name: &[u8]) -> Result<Option<Arc<Node>>> {
        match self.child(name) {
            Ok(node) => Ok(Some(node)),
            Err(Errno::ENOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// ENOENT if the directory itself was removed: nothing can be added to it.
    fn check_alive(&self) -> Result<()> {
        match self.state().directory()?.removed {
            true => Err(Errno::ENOENT),
            false => Ok(()),
        }
    }

    /// Enters `node` as `name`, and for a directory this as its place.
    fn attach(self: &Arc<Self>, name: &[u8], node: &Arc<Node>) -> Result<()> {
        let old_place = match node.state().directory() {
            Ok(directory) => directory.place.replace(Place {
                parent: self.clone(),
                name: name.into(),
            }),
            Err(_) => None,
        };
        drop(old_place);
        {
            let mut state = self.state();
            state.directory()?.add(name, node.clone());
            state.touch();
            if node.kind() == FileKind::Directory {
                state.nlink = state.nlink.saturating_add(1);
            }
        }
        self.tree().keep(self);
        Ok(())
    }

    /// Takes entry `name`, which is `node`, out of the directory.
    fn detach(self: &Arc<Self>, name: &[u8], node: &Arc<Node>) -> Result<()> {
        let hides_lower = self.lower_entry(name)?.is_some();
        let old = {
            let mut state = self.state();
            if node.kind() == FileKind::Directory {
                state.nlink = state.nlink.saturating_sub(1);
            }
            state.touch();
            let entries = &mut state.directory()?.entries;
            match hides_lower {
                true => entries.insert(name.into(), Entry::Whiteout),
                false => entries.remove(name),
            }
        };
        drop(old);
        self.tree().keep(self);
        Ok(())
    }

    /// `node` lost a name; a directory loses its place with it.
    fn lost_name(node: &Arc<Node>) {
        let links = match node.kind() {
            FileKind::Directory => -2,
            _ => -1,
        };
        let place = match node.state().directory() {
            Ok(directory) => {
                directory.removed = true;
                directory.place.take()
            }
            Err(_) => None,
        };
        drop(place);
        node.add_links(links);
    }

    fn is_empty(&self) -> Result<bool> {
        let mut state = self.state();
        let entries = &state.directory()?.entries;
        if entries
            .values()
            .any(|entry| matches!(entry, Entry::Added { .. }))
        {
            return Ok(false);
        }
        let mut empty = true;
        if let Some((lower, image)) = self.lower().zip(self.tree().lower.as_ref()) {
            image.list(lower, 0, &mut |entry| {
                empty = entries.contains_key(entry.name);
                empty
            })?;
        }
        Ok(empty)
    }

    fn notify_entry(&self, mask: u32, cookie: u32, name: &[u8], node: &Node) {
        let is_directory = node.kind() == FileKind::Directory;
        inotify::notify_entry(self.id(), mask, cookie, name, is_directory);
    }

    /// Creates entry `name`.
    pub(super) fn create_child(
        self: &Arc<Self>,
        name: &[u8],
        new: &NewInode<'_>,
    ) -> Result<Arc<Node>> {
        let node = {
            let _names = self.tree().names.lock();
            self.check_alive()?;
            if self.child_if_any(name)?.is_some() {
                return Err(Errno::EEXIST);
            }
            let mut new = *new;
            let (mode, gid) = {
                let state = self.state();
                (state.mode.bits(), state.gid)
            };
            if mode & 0o2000 != 0 {
                // A set-group-id directory hands down its group, and to directories the bit.
                new.gid = gid;
                if new.kind == FileKind::Directory {
                    new.mode = Mode::new(new.mode.bits() | 0o2000);
                }
            }
            let place = (new.kind == FileKind::Directory).then(|| Place {
                parent: self.clone(),
                name: name.into(),
            });
            let node = Node::create(self.tree(), &new, place);
            self.attach(name, &node)?;
            node
        };
        self.notify_entry(mask::CREATE, 0, name, &node);
        Ok(node)
    }

    /// Makes `name` another name of `node`.
    pub(super) fn link_child(self: &Arc<Self>, name: &[u8], node: &Arc<Node>) -> Result<()> {
        if node.kind() == FileKind::Directory {
            return Err(Errno::EPERM);
        }
        {
            let _names = self.tree().names.lock();
            self.check_alive()?;
            if self.child_if_any(name)?.is_some() {
                return Err(Errno::EEXIST);
            }
            self.attach(name, node)?;
            node.add_links(1);
        }
        node.notify(mask::ATTRIB);
        self.notify_entry(mask::CREATE, 0, name, node);
        Ok(())
    }

    /// Removes entry `name`, not a directory.
    pub(super) fn unlink_child(self: &Arc<Self>, name: &[u8]) -> Result<()> {
        let node = {
            let _names = self.tree().names.lock();
            let node = self.child(name)?;
            if node.kind() == FileKind::Directory {
                return Err(Errno::EISDIR);
            }
            self.detach(name, &node)?;
            node
        };
        Node::lost_name(&node);
        node.notify(mask::ATTRIB);
        // Without another user it ends here, which its watches are told before the directory's.
        drop(node);
        inotify::notify_entry(self.id(), mask::DELETE, 0, name, false);
        Ok(())
    }

    /// Removes the empty directory `name`.
    pub(super) fn rmdir_child(self: &Arc<Self>, name: &[u8]) -> Result<()> {
        let node = {
            let _names = self.tree().names.lock();
            let node = self.child(name)?;
            if node.kind() != FileKind::Directory {
                return Err(Errno::ENOTDIR);
            }
            if !node.is_empty()? {
                return Err(Errno::ENOTEMPTY);
            }
            self.detach(name, &node)?;
            Node::lost_name(&node);
            node
        };
        drop(node);
        inotify::notify_entry(self.id(), mask::DELETE, 0, name, true);
        Ok(())
    }

    /// Whether `self` is `directory` or above it.
    fn is_above(self: &Arc<Self>, directory: &Arc<Node>) -> bool {
        let mut at = Some(directory.clone());
        while let Some(node) = at {
            if Arc::ptr_eq(&node, self) {
                return true;
            }
            at = node
                .state()
                .directory()
                .ok()
                .and_then(|directory| directory.place().map(|place| place.parent.clone()));
        }
        false
    }

    /// Moves entry `name` to `new_name` in `new_dir`.
    pub(super) fn rename_child(
        self: &Arc<Self>,
        name: &[u8],
        new_dir: &Arc<Node>,
        new_name: &[u8],
        mode: RenameMode,
    ) -> Result<()> {
        let (node, other) = {
            let _names = self.tree().names.lock();
            let node = self.child(name)?;
            new_dir.check_alive()?;
            let other = new_dir.child_if_any(new_name)?;
            match (&other, mode) {
                (Some(_), RenameMode::NoReplace) => return Err(Errno::EEXIST),
                (None, RenameMode::Exchange) => return Err(Errno::ENOENT),
                // Two names of one file: nothing happens, says POSIX.
                (Some(other), _) if Arc::ptr_eq(other, &node) => return Ok(()),
                _ => {}
            }
            if node.kind() == FileKind::Directory && node.is_above(new_dir) {
                return Err(Errno::EINVAL);
            }
            if let Some(other) = &other {
                check_replace(self, &node, other, mode)?;
            }
            self.move_entry(name, &node, new_dir, new_name, other.as_ref(), mode)?;
            (node, other)
        };
        let replaced = other.as_ref().filter(|_| mode != RenameMode::Exchange);
        if let Some(replaced) = replaced {
            Node::lost_name(replaced);
        }
        self.notify_rename(name, &node, new_dir, new_name, replaced);
        if let (Some(other), RenameMode::Exchange) = (&other, mode) {
            new_dir.notify_rename(new_name, other, self, name, None);
        }
        Ok(())
    }

    fn move_entry(
        self: &Arc<Self>,
        name: &[u8],
        node: &Arc<Node>,
        new_dir: &Arc<Node>,
        new_name: &[u8],
        other: Option<&Arc<Node>>,
        mode: RenameMode,
    ) -> Result<()> {
        self.detach(name, node)?;
        if let Some(other) = other {
            new_dir.detach(new_name, other)?;
        }
        new_dir.attach(new_name, node)?;
        node.add_links(0);
        if let (Some(other), RenameMode::Exchange) = (other, mode) {
            self.attach(name, other)?;
            other.add_links(0);
        }
        Ok(())
    }

    fn notify_rename(
        &self,
        name: &[u8],
        node: &Node,
        new_dir: &Node,
        new_name: &[u8],
        replaced: Option<&Arc<Node>>,
    ) {
        let cookie = inotify::fresh_cookie();
        self.notify_entry(mask::MOVED_FROM, cookie, name, node);
        new_dir.notify_entry(mask::MOVED_TO, cookie, new_name, node);
        if self.id() == new_dir.id() {
            dnotify::renamed(self.id());
        }
        if let Some(replaced) = replaced {
            replaced.notify(mask::ATTRIB);
        }
        node.notify(mask::MOVE_SELF);
    }

    /// Tells the entries after `cookie` to `sink`.
    pub(super) fn list(
        self: &Arc<Self>,
        cookie: u64,
        sink: &mut dyn FnMut(DirEntry<'_>) -> bool,
    ) -> Result<()> {
        let mut state = self.state();
        let entries = &state.directory()?.entries;
        let mut more = true;
        if let (true, Some((lower, image))) =
            (cookie < ADDED, self.lower().zip(self.tree().lower.as_ref()))
        {
            image.list(lower, cookie.saturating_sub(FIRST), &mut |entry| {
                if entries.contains_key(entry.name) {
                    return true;
                }
                let (name, ino, kind) = (entry.name, entry.nid, entry.kind);
                more = sink(DirEntry {
                    name,
                    ino,
                    kind,
                    next: entry.next + FIRST,
                });
                more
            })?;
        }
        if !more {
            return Ok(());
        }
        let after = cookie.saturating_sub(ADDED);
        let mut listed: Vec<Listed> = entries
            .iter()
            .filter_map(|(name, entry)| match entry {
                Entry::Added { node, position } if *position > after => Some(Listed {
                    position: *position,
                    name: name.clone(),
                    ino: node.ino(),
                    kind: node.kind(),
                }),
                _ => None,
            })
            .collect();
        drop(state);
        listed.sort_unstable_by_key(|entry| entry.position);
        for Listed {
            position,
            name,
            ino,
            kind,
        } in &listed
        {
            if !sink(DirEntry {
                name,
                ino: *ino,
                kind: *kind,
                next: ADDED + position,
            }) {
                break;
            }
        }
        Ok(())
    }
}

/// Whether `node`, from `directory`, may take the place of `other`.
fn check_replace(
    directory: &Arc<Node>,
    node: &Arc<Node>,
    other: &Arc<Node>,
    mode: RenameMode,
) -> Result<()> {
    let is_directory = |node: &Arc<Node>| node.kind() == FileKind::Directory;
    if mode == RenameMode::Exchange {
        return match is_directory(other) && other.is_above(directory) {
            true => Err(Errno::EINVAL),
            false => Ok(()),
        };
    }
    match (is_directory(node), is_directory(other)) {
        (false, true) => Err(Errno::EISDIR),
        (true, false) => Err(Errno::ENOTDIR),
        (true, true) if !other.is_empty()? => Err(Errno::ENOTEMPTY),
        _ => Ok(()),
    }
}

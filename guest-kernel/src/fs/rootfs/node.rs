//! Inodes of the writable file system.

use super::Tree;
use super::data::{Backing, Budget, Data};
use super::directory::Directory;
use super::file::RegularFile;
use crate::errno::{Errno, Result};
use crate::fs::devfs;
use crate::fs::directory::DirectoryFile;
use crate::fs::erofs;
use crate::fs::file::{File, OpenFlags};
use crate::fs::inode::{
    Attachment, DeviceNumber, DirEntry, FileKind, FileSystemInfo, Inode, InodeId, Metadata, Mode,
    NewInode, RenameMode, SetAttributes, Time,
};
use crate::fs::inotify;
use crate::ipc::pipe::Pipe;
use crate::sync::{Lock, LockGuard, Rank};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;
use core::sync::atomic::{AtomicUsize, Ordering};

/// Where a directory is: its parent and its name there.
#[derive(Clone)]
pub(super) struct Place {
    pub parent: Arc<Node>,
    pub name: Box<[u8]>,
}

/// An inode.
pub struct Node {
    tree: Arc<Tree>,
    ino: u64,
    kind: FileKind,
    lower: Option<Box<erofs::Node>>,
    attachment: Option<Box<Attachment>>,
    state: Lock<State>,
    /// Shared mappings that write it, or may come to.
    writable_mappings: AtomicUsize,
}

fn attachment_for(kind: FileKind) -> Option<Box<Attachment>> {
    matches!(kind, FileKind::Fifo | FileKind::Socket)
        .then(|| Box::new(Lock::new(Rank::Attachment, None)))
}

/// What can change about an inode.
pub(super) struct State {
    pub mode: Mode,
    pub nlink: u32,
    pub uid: u32,
    pub gid: u32,
    pub atime: Time,
    pub mtime: Time,
    pub ctime: Time,
    btime: Time,
    pub content: Content,
}

/// What is in an inode, by its kind.
pub(super) enum Content {
    File { data: Data, seals: u32 },
    Directory(Box<Directory>),
    Symlink(Box<[u8]>),
    Device(DeviceNumber),
    Attached,
}

impl State {
    /// The directory in it.
    pub fn directory(&mut self) -> Result<&mut Directory> {
        match &mut self.content {
            Content::Directory(directory) => Ok(directory),
            _ => Err(Errno::ENOTDIR),
        }
    }

    /// Content changed.
    pub fn touch(&mut self) {
        self.mtime = Time::now();
        self.ctime = self.mtime;
    }
}

impl Node {
    /// A new node. The caller gives it a name.
    pub(super) fn create(tree: &Arc<Tree>, new: &NewInode<'_>, place: Option<Place>) -> Arc<Node> {
        let now = Time::now();
        let content = match new.kind {
            FileKind::Directory => Content::Directory(Box::new(Directory::new(place))),
            FileKind::Symlink => Content::Symlink(new.target.into()),
            FileKind::CharDevice | FileKind::BlockDevice => Content::Device(new.rdev),
            FileKind::Fifo | FileKind::Socket => Content::Attached,
            FileKind::Regular | FileKind::Anonymous => Content::File {
                data: Data::default(),
                seals: super::seal::SEAL,
            },
        };
        let nlink = if new.kind == FileKind::Directory {
            2
        } else {
            1
        };
        let state = State {
            mode: new.mode,
            nlink,
            uid: new.uid,
            gid: new.gid,
            atime: now,
            mtime: now,
            ctime: now,
            btime: now,
            content,
        };
        Arc::new(Node {
            tree: tree.clone(),
            ino: tree.fresh_ino(),
            kind: new.kind,
            lower: None,
            attachment: attachment_for(new.kind),
            state: Lock::new(Rank::Inode, state),
            writable_mappings: AtomicUsize::new(0),
        })
    }

    /// The node of the image's inode `nid`.
    pub(super) fn of_lower(tree: &Arc<Tree>, nid: u64, place: Option<Place>) -> Result<Arc<Node>> {
        let image = tree.lower.as_ref().ok_or(Errno::EIO)?;
        let lower = image.node(nid)?;
        let content = match lower.kind {
            FileKind::Directory => Content::Directory(Box::new(Directory::new(place))),
            FileKind::Symlink => Content::Symlink(image.link_target(&lower)?.into()),
            FileKind::CharDevice | FileKind::BlockDevice => Content::Device(lower.rdev),
            FileKind::Fifo | FileKind::Socket => Content::Attached,
            FileKind::Regular | FileKind::Anonymous => Content::File {
                data: Data::of_lower(lower.size),
                seals: super::seal::SEAL,
            },
        };
        let state = State {
            mode: lower.mode,
            nlink: lower.nlink,
            uid: lower.uid,
            gid: lower.gid,
            atime: lower.mtime,
            mtime: lower.mtime,
            ctime: lower.mtime,
            btime: lower.mtime,
            content,
        };
        Ok(Arc::new(Node {
            tree: tree.clone(),
            ino: nid,
            kind: lower.kind,
            attachment: attachment_for(lower.kind),
            lower: Some(Box::new(lower)),
            state: Lock::new(Rank::Inode, state),
            writable_mappings: AtomicUsize::new(0),
        }))
    }

    pub(super) fn tree(&self) -> &Arc<Tree> {
        &self.tree
    }

    pub(super) fn ino(&self) -> u64 {
        self.ino
    }

    pub(super) fn lower(&self) -> Option<&erofs::Node> {
        self.lower.as_deref()
    }

    pub(super) fn state(&self) -> LockGuard<'_, State> {
        self.state.lock()
    }

    /// What the content of a file is made from.
    pub(super) fn backing(&self) -> Backing<'_> {
        let lower = self.tree.lower.as_ref().zip(self.lower());
        Backing {
            lower,
            budget: &self.tree.budget,
        }
    }

    pub(super) fn budget(&self) -> &Budget {
        &self.tree.budget
    }

    /// It differs from the image: it must not be forgotten with its last user, unless it has no
    /// name by which it could be found again.
    pub(super) fn keep_changed(self: &Arc<Self>) {
        if self.lower.is_some() && self.state.lock().nlink > 0 {
            self.tree.keep(self);
        }
    }

    /// Runs `change` on the content of a regular file, which then counts as changed.
    pub(super) fn change_data<T>(
        self: &Arc<Self>,
        change: impl FnOnce(&mut Data, u32) -> Result<T>,
    ) -> Result<T> {
        let result = {
            let mut state = self.state.lock();
            let Content::File { data, seals } = &mut state.content else {
                return Err(Errno::EINVAL);
            };
            let result = change(data, *seals)?;
            state.touch();
            result
        };
        self.keep_changed();
        Ok(result)
    }

    /// Looks at the content of a regular file.
    pub(super) fn with_data<T>(
        &self,
        look: impl FnOnce(&mut Data, &mut u32) -> Result<T>,
    ) -> Result<T> {
        match &mut self.state.lock().content {
            Content::File { data, seals } => look(data, seals),
            _ => Err(Errno::EINVAL),
        }
    }

    /// A shared mapping begins that writes it or may come to.
    pub(super) fn writable_mapping_begins(&self) {
        self.writable_mappings.fetch_add(1, Ordering::Relaxed);
    }

    /// One of those is gone.
    pub(super) fn writable_mapping_ends(&self) {
        self.writable_mappings.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether there are any.
    pub(super) fn has_writable_mappings(&self) -> bool {
        self.writable_mappings.load(Ordering::Relaxed) > 0
    }

    /// Changes the number of names; at 0 the node goes with its last user.
    pub(super) fn add_links(self: &Arc<Self>, change: i32) {
        let gone = {
            let mut state = self.state.lock();
            state.nlink = state.nlink.saturating_add_signed(change);
            state.ctime = Time::now();
            state.nlink == 0
        };
        if gone {
            self.tree.release(self);
        } else {
            self.tree.keep(self);
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let unlinked = {
            let mut state = self.state.lock();
            if let Content::File { data, .. } = &mut state.content {
                data.clear(&self.tree.budget);
            }
            state.nlink == 0
        };
        if self.lower.is_some() {
            self.tree.forget(self.ino);
        }
        // Not before the last user is gone.
        if unlinked && inotify::active() {
            self.notify(inotify::mask::DELETE_SELF);
        }
    }
}

impl Inode for Node {
    fn id(&self) -> InodeId {
        InodeId {
            dev: self.tree.dev,
            ino: self.ino,
        }
    }

    fn kind(&self) -> FileKind {
        self.kind
    }

    fn metadata(&self) -> Result<Metadata> {
        let state = self.state.lock();
        let (size, blocks, rdev) = match &state.content {
            Content::File { data, .. } => (data.size(), data.blocks(), DeviceNumber::default()),
            Content::Directory(directory) => {
                let lower = self.lower().map_or(0, |lower| lower.size);
                (
                    lower + directory.added_size(),
                    lower.div_ceil(4096) * 8,
                    DeviceNumber::default(),
                )
            }
            Content::Symlink(target) => (target.len() as u64, 0, DeviceNumber::default()),
            Content::Device(rdev) => (0, 0, *rdev),
            Content::Attached => (0, 0, DeviceNumber::default()),
        };
        Ok(Metadata {
            id: self.id(),
            kind: self.kind,
            mode: state.mode,
            nlink: state.nlink,
            uid: state.uid,
            gid: state.gid,
            rdev,
            size,
            blocks,
            atime: state.atime,
            mtime: state.mtime,
            ctime: state.ctime,
            btime: state.btime,
        })
    }

    fn set_attributes(self: Arc<Self>, change: &SetAttributes) -> Result<()> {
        {
            let mut state = self.state.lock();
            if let (Content::File { seals, .. }, Some(mode)) = (&state.content, change.mode)
                && seals & super::seal::EXEC != 0
                && (mode.bits() ^ state.mode.bits()) & 0o111 != 0
            {
                return Err(Errno::EPERM);
            }
            state.uid = change.uid.unwrap_or(state.uid);
            state.gid = change.gid.unwrap_or(state.gid);
            state.mode = change.mode.unwrap_or(state.mode);
            state.atime = change.atime.unwrap_or(state.atime);
            state.mtime = change.mtime.unwrap_or(state.mtime);
            state.ctime = Time::now();
        }
        self.keep_changed();
        Ok(())
    }

    fn set_size(self: Arc<Self>, size: u64) -> Result<()> {
        match self.kind {
            FileKind::Regular => {}
            FileKind::Directory => return Err(Errno::EISDIR),
            _ => return Err(Errno::EINVAL),
        }
        if size > i64::MAX as u64 {
            return Err(Errno::EFBIG);
        }
        self.change_data(|data, seals| {
            let forbidden = match size.cmp(&data.size()) {
                core::cmp::Ordering::Less => super::seal::SHRINK,
                core::cmp::Ordering::Equal => 0,
                core::cmp::Ordering::Greater => super::seal::GROW,
            };
            if seals & forbidden != 0 {
                return Err(Errno::EPERM);
            }
            data.set_size(&self.tree.budget, size);
            Ok(())
        })
    }

    fn open(self: Arc<Self>, flags: OpenFlags, path: &[u8]) -> Result<Arc<dyn File>> {
        match self.kind {
            FileKind::Regular | FileKind::Anonymous => {
                if flags.contains(OpenFlags::TRUNC) {
                    self.clone().set_size(0)?;
                }
                Ok(Arc::new(RegularFile::new(self, flags.writable(), path)))
            }
            FileKind::Directory if flags.writable() => Err(Errno::EISDIR),
            FileKind::Directory => Ok(Arc::new(DirectoryFile::new(self))),
            FileKind::CharDevice => {
                let rdev = self.metadata()?.rdev;
                devfs::open(rdev, self, flags)
            }
            FileKind::Fifo => Ok(Pipe::open_fifo(self, flags)?),
            FileKind::BlockDevice | FileKind::Socket => Err(Errno::ENXIO),
            FileKind::Symlink => Err(Errno::ELOOP),
        }
    }

    fn lookup(self: Arc<Self>, name: &[u8]) -> Result<Arc<dyn Inode>> {
        let _names = self.tree.names.lock();
        Ok(self.child(name)?)
    }

    fn parent(&self) -> Option<(Arc<dyn Inode>, Vec<u8>)> {
        let place = self.state.lock().directory().ok()?.place().cloned()?;
        Some((place.parent, place.name.into_vec()))
    }

    fn create(self: Arc<Self>, name: &[u8], new: &NewInode<'_>) -> Result<Arc<dyn Inode>> {
        Ok(self.create_child(name, new)?)
    }

    fn create_unnamed(self: Arc<Self>, new: &NewInode<'_>) -> Result<Arc<dyn Inode>> {
        if self.kind != FileKind::Directory {
            return Err(Errno::ENOTDIR);
        }
        let node = Node::create(&self.tree, new, None);
        node.state.lock().nlink = 0;
        Ok(node)
    }

    fn link(self: Arc<Self>, name: &[u8], inode: &Arc<dyn Inode>) -> Result<()> {
        self.link_child(name, &self.same_tree(inode)?)
    }

    fn unlink(self: Arc<Self>, name: &[u8]) -> Result<()> {
        self.unlink_child(name)
    }

    fn rmdir(self: Arc<Self>, name: &[u8]) -> Result<()> {
        self.rmdir_child(name)
    }

    fn rename(
        self: Arc<Self>,
        name: &[u8],
        new_dir: &Arc<dyn Inode>,
        new_name: &[u8],
        mode: RenameMode,
    ) -> Result<()> {
        let new_dir = self.same_tree(new_dir)?;
        self.rename_child(name, &new_dir, new_name, mode)
    }

    fn read_dir(
        self: Arc<Self>,
        cookie: u64,
        sink: &mut dyn FnMut(DirEntry<'_>) -> bool,
    ) -> Result<()> {
        self.list(cookie, sink)
    }

    fn readlink(&self) -> Result<Vec<u8>> {
        match &self.state.lock().content {
            Content::Symlink(target) => Ok(target.to_vec()),
            _ => Err(Errno::EINVAL),
        }
    }

    fn file_system(&self) -> FileSystemInfo {
        self.tree.info()
    }

    fn attachment(&self) -> Option<&Attachment> {
        self.attachment.as_deref()
    }

    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}

impl Node {
    /// `inode` as a node of this tree; EXDEV if it is of another file system.
    fn same_tree(&self, inode: &Arc<dyn Inode>) -> Result<Arc<Node>> {
        match inode.clone().into_any().downcast::<Node>() {
            Ok(node) if Arc::ptr_eq(&node.tree, &self.tree) => Ok(node),
            _ => Err(Errno::EXDEV),
        }
    }

    /// Tells watchers that something happened to this inode itself.
    pub(super) fn notify(&self, mask: u32) {
        inotify::notify_self(self.id(), mask, self.kind == FileKind::Directory);
    }
}

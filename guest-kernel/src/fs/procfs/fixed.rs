//! Trees of fixed names, with a function behind each file.

use super::process::{self, ProcessNode};
use super::source::source;
use super::text::{Text, TextFile, ino_of};
use super::{network, system};
use crate::errno::{Errno, Result};
use crate::fs::directory::DirectoryFile;
use crate::fs::file::{File, OpenFlags};
use crate::fs::inode::{
    DeviceNumber, DirEntry, FileKind, FileSystemInfo, Inode, InodeId, Metadata, NewInode,
};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;

/// What is behind a name.
#[derive(Clone, Copy)]
pub(super) enum Content {
    /// A file with this text.
    Text(fn() -> Result<Vec<u8>>),
    /// A symbolic link to this.
    Link(fn() -> Result<Vec<u8>>),
}

/// A file system of fixed names.
pub struct FixedTree {
    dev: DeviceNumber,
    magic: u64,
    /// Paths of files, without a slash in front; directories are what comes before a slash.
    files: &'static [&'static [(&'static str, Content)]],
    /// Whether the root also has the processes.
    processes: bool,
}

/// `/proc`.
pub static PROC: FixedTree = FixedTree {
    dev: DeviceNumber::PROC,
    magic: 0x9fa0,
    files: &[system::PROC_FILES],
    processes: true,
};

/// `/sys`.
pub static SYS: FixedTree = FixedTree {
    dev: DeviceNumber::SYS,
    magic: 0x6265_6572,
    files: &[network::SYS_FILES, network::STATISTICS, SYS_FILES],
    processes: false,
};

/// `/proc/PID/net`.
pub static NET: FixedTree = FixedTree {
    dev: DeviceNumber::PROC,
    magic: 0x9fa0,
    files: &[network::FILES],
    processes: false,
};

fn cpu_list() -> Result<Vec<u8>> {
    Ok((super::render::list(crate::smp::all_cpus()) + "\n").into_bytes())
}

fn huge_pages_on_advice() -> Result<Vec<u8>> {
    Ok(b"always [madvise] never\n".to_vec())
}

static SYS_FILES: &[(&str, Content)] = &[
    ("devices/system/cpu/online", Content::Text(cpu_list)),
    ("devices/system/cpu/possible", Content::Text(cpu_list)),
    ("devices/system/cpu/present", Content::Text(cpu_list)),
    (
        "kernel/mm/transparent_hugepage/enabled",
        Content::Text(huge_pages_on_advice),
    ),
];

/// A node of such a tree.
pub struct FixedNode {
    tree: &'static FixedTree,
    /// The path; empty for the root.
    path: &'static str,
    /// `None`: a directory.
    content: Option<Content>,
    /// The directory the tree is an entry of, and its name there, unless it is mounted.
    above: Option<(Arc<dyn Inode>, &'static str)>,
}

impl FixedNode {
    /// The root of `tree`.
    pub fn root(tree: &'static FixedTree) -> Arc<dyn Inode> {
        FixedNode::root_in(tree, None)
    }

    /// The root of `tree` as an entry of a directory.
    pub fn root_in(
        tree: &'static FixedTree,
        above: Option<(Arc<dyn Inode>, &'static str)>,
    ) -> Arc<dyn Inode> {
        Arc::new(FixedNode {
            tree,
            path: "",
            content: None,
            above,
        })
    }

    /// What lies below this directory: paths from here, and what is at their end.
    fn below(&self) -> impl Iterator<Item = (&'static str, &'static str, Content)> {
        let own = self.path;
        let files = self.tree.files.iter().copied().flatten();
        files.filter_map(move |(path, content)| {
            let rest = match own {
                "" => path,
                _ => path.strip_prefix(own)?.strip_prefix('/')?,
            };
            Some((*path, rest, *content))
        })
    }

    /// The entry that `rest`, a path from here, begins with: its name, its path, and its content
    /// unless it is a directory.
    fn first_entry(
        path: &'static str,
        rest: &'static str,
        content: Content,
    ) -> (&'static str, &'static str, Option<Content>) {
        match rest.split_once('/') {
            None => (rest, path, Some(content)),
            Some((name, further)) => (name, &path[..path.len() - further.len() - 1], None),
        }
    }

    fn ino(&self) -> u64 {
        self.ino_at(self.path)
    }

    fn ino_at(&self, path: &str) -> u64 {
        match &self.above {
            None => ino_of(path.as_bytes()),
            Some((_, name)) => ino_of(alloc::format!("{name}/{path}").as_bytes()),
        }
    }
}

fn kind_of(content: Option<Content>) -> FileKind {
    match content {
        None => FileKind::Directory,
        Some(Content::Text(_)) => FileKind::Regular,
        Some(Content::Link(_)) => FileKind::Symlink,
    }
}

impl Text for FixedNode {
    fn text(&self) -> Result<Vec<u8>> {
        match self.content {
            Some(Content::Text(make)) => make(),
            _ => Err(Errno::EINVAL),
        }
    }
}

impl Inode for FixedNode {
    fn id(&self) -> InodeId {
        InodeId {
            dev: self.tree.dev,
            ino: self.ino(),
        }
    }

    fn kind(&self) -> FileKind {
        kind_of(self.content)
    }

    fn metadata(&self) -> Result<Metadata> {
        let mode = match self.kind() {
            FileKind::Directory => 0o555,
            FileKind::Symlink => 0o777,
            _ => 0o444,
        };
        let nlink = if self.content.is_none() { 2 } else { 1 };
        Ok(Metadata {
            nlink,
            ..Metadata::anonymous(self.id(), self.kind(), mode)
        })
    }

    fn open(self: Arc<Self>, flags: OpenFlags, _: &[u8]) -> Result<Arc<dyn File>> {
        match self.content {
            None => Ok(Arc::new(DirectoryFile::new(self))),
            Some(Content::Link(_)) => Err(Errno::ELOOP),
            Some(Content::Text(_)) if flags.writable() => Err(Errno::EACCES),
            Some(Content::Text(_)) => Ok(Arc::new(TextFile::new(self))),
        }
    }

    fn lookup(self: Arc<Self>, name: &[u8]) -> Result<Arc<dyn Inode>> {
        if self.content.is_some() {
            return Err(Errno::ENOTDIR);
        }
        for (path, rest, content) in self.below() {
            let (entry, path, content) = Self::first_entry(path, rest, content);
            if entry.as_bytes() == name {
                return Ok(Arc::new(FixedNode {
                    tree: self.tree,
                    path,
                    content,
                    above: self.above.clone(),
                }));
            }
        }
        match self.tree.processes && self.path.is_empty() {
            true => Ok(ProcessNode::find(name)?),
            false => Err(Errno::ENOENT),
        }
    }

    fn parent(&self) -> Option<(Arc<dyn Inode>, Vec<u8>)> {
        let (path, name) = match self.path.rsplit_once('/') {
            Some(parts) => parts,
            None if self.path.is_empty() => {
                let (above, name) = self.above.as_ref()?;
                return Some((above.clone(), name.as_bytes().to_vec()));
            }
            None => ("", self.path),
        };
        let parent = FixedNode {
            tree: self.tree,
            path,
            content: None,
            above: self.above.clone(),
        };
        Some((Arc::new(parent), name.as_bytes().to_vec()))
    }

    fn create(self: Arc<Self>, _: &[u8], _: &NewInode<'_>) -> Result<Arc<dyn Inode>> {
        Err(Errno::ENOENT)
    }

    fn read_dir(
        self: Arc<Self>,
        cookie: u64,
        sink: &mut dyn FnMut(DirEntry<'_>) -> bool,
    ) -> Result<()> {
        /// Cookies of fixed entries begin here; of processes they are this and the pid.
        const FIRST: u64 = 3;
        const PROCESSES: u64 = 1 << 32;
        let mut last = "";
        let mut position = FIRST;
        // Files are listed by directory, so the names of one are side by side.
        for (path, rest, content) in self.below() {
            let (name, path, content) = Self::first_entry(path, rest, content);
            if name == last {
                continue;
            }
            last = name;
            position += 1;
            if position <= cookie {
                continue;
            }
            let ino = self.ino_at(path);
            let entry = DirEntry {
                name: name.as_bytes(),
                ino,
                kind: kind_of(content),
                next: position,
            };
            if !sink(entry) {
                return Ok(());
            }
        }
        if !(self.tree.processes && self.path.is_empty()) {
            return Ok(());
        }
        for pid in source()?.processes() {
            let next = PROCESSES + u64::from(pid);
            let ino = process::directory_ino(pid);
            let name = alloc::format!("{pid}");
            let entry = DirEntry {
                name: name.as_bytes(),
                ino,
                kind: FileKind::Directory,
                next,
            };
            if next > cookie && !sink(entry) {
                break;
            }
        }
        Ok(())
    }

    fn readlink(&self) -> Result<Vec<u8>> {
        match self.content {
            Some(Content::Link(make)) => make(),
            _ => Err(Errno::EINVAL),
        }
    }

    fn file_system(&self) -> FileSystemInfo {
        FileSystemInfo {
            magic: self.tree.magic,
            ..FileSystemInfo::default()
        }
    }

    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}

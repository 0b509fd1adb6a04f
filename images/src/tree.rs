//! The file tree an image is made from, before it has a layout.
//!
//! A tree says what an image will contain, down to owners, times and hard links. What its source
//! does not say (an owner, a time) is root's and the date the writer is given, so that equal
//! trees give equal bytes wherever they are built.

mod content;
mod host;
mod long_path;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

pub use content::{Bytes, HostFile};

use crate::{Error, Result};

/// Longest file name, as on Linux.
const NAME_MAX: usize = 255;
/// Longest symbolic link, as on Linux without the final NUL.
const LINK_MAX: usize = 4095;

/// What to make of a host directory's files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TreeKind {
    /// A root file system: everything is taken as it is, absolute links mean the image's root.
    Root,
    /// A function's directory, mounted somewhere below the root: a link that leaves it would
    /// dangle in the guest and is refused; version control data (`.git`) stays out.
    Function,
}

/// A whole tree.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    /// The root directory.
    pub root: Directory,
    /// What the source has and the tree has not, and why: for the user to read.
    pub notes: Vec<String>,
}

/// A moment, as file systems keep it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time {
    /// Seconds since 1970.
    pub seconds: i64,
    /// Nanoseconds, less than a second.
    pub nanoseconds: u32,
}

impl Time {
    /// A whole second.
    pub fn from_seconds(seconds: i64) -> Time {
        Time {
            seconds,
            nanoseconds: 0,
        }
    }
}

/// What an inode has beside its content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Permission bits, with set-user-id, set-group-id and sticky.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Last modification; `None`: the date the writer is given.
    pub mtime: Option<Time>,
}

impl Attributes {
    /// Root's, with the writer's date.
    pub fn of_mode(mode: u16) -> Attributes {
        Attributes {
            mode,
            ..Attributes::default()
        }
    }
}

/// A directory.
#[derive(Clone, Debug)]
pub struct Directory {
    /// Permissions, owner, time.
    pub attributes: Attributes,
    /// Entries by name; the order is that of the image.
    pub entries: BTreeMap<Vec<u8>, Node>,
}

/// Anything with a name.
#[derive(Clone, Debug)]
pub enum Node {
    /// A directory.
    Directory(Directory),
    /// Anything else. Names that share one leaf are hard links: one inode of the image.
    Leaf(Arc<Leaf>),
}

/// An inode that is no directory.
#[derive(Clone, Debug)]
pub struct Leaf {
    /// Permissions, owner, time.
    pub attributes: Attributes,
    /// What it is.
    pub content: Content,
}

/// What a leaf is.
#[derive(Clone, Debug)]
pub enum Content {
    /// A regular file.
    File(File),
    /// A symbolic link and where it points.
    Symlink(Vec<u8>),
    /// A device or a named pipe.
    Special(Special),
}

/// A regular file's content.
#[derive(Clone, Debug)]
pub struct File {
    /// Length in bytes.
    pub size: u64,
    /// Where the bytes are.
    pub bytes: Bytes,
}

/// An inode without content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Special {
    /// A character device: major and minor number.
    CharDevice(u32, u32),
    /// A block device: major and minor number.
    BlockDevice(u32, u32),
    /// A named pipe.
    Fifo,
}

impl Default for Directory {
    fn default() -> Self {
        Directory::new(Attributes::of_mode(0o755))
    }
}

impl Directory {
    /// An empty directory.
    pub fn new(attributes: Attributes) -> Directory {
        Directory {
            attributes,
            entries: BTreeMap::new(),
        }
    }
}

/// Level by level instead of recursively: a tree may be deeper than a stack.
impl Drop for Directory {
    fn drop(&mut self) {
        let mut open = vec![std::mem::take(&mut self.entries)];
        while let Some(entries) = open.pop() {
            for node in entries.into_values() {
                if let Node::Directory(mut directory) = node {
                    open.push(std::mem::take(&mut directory.entries));
                }
            }
        }
    }
}

impl Node {
    /// A regular file of root's with the given content.
    pub fn file(mode: u16, bytes: impl Into<Arc<[u8]>>) -> Node {
        let content = Content::File(File::from_bytes(bytes));
        Node::leaf(Attributes::of_mode(mode), content)
    }

    /// A symbolic link of root's.
    pub fn symlink(target: impl Into<Vec<u8>>) -> Node {
        let content = Content::Symlink(target.into());
        Node::leaf(Attributes::of_mode(0o777), content)
    }

    /// An empty directory of root's.
    pub fn directory(mode: u16) -> Node {
        Node::Directory(Directory::new(Attributes::of_mode(mode)))
    }

    /// A leaf with one name so far.
    pub fn leaf(attributes: Attributes, content: Content) -> Node {
        Node::Leaf(Arc::new(Leaf {
            attributes,
            content,
        }))
    }

    /// The leaf, if it is one.
    pub fn as_leaf(&self) -> Option<&Leaf> {
        match self {
            Node::Leaf(leaf) => Some(leaf),
            Node::Directory(_) => None,
        }
    }

    /// Permissions, owner, time.
    pub fn attributes(&self) -> &Attributes {
        match self {
            Node::Directory(directory) => &directory.attributes,
            Node::Leaf(leaf) => &leaf.attributes,
        }
    }
}

impl Leaf {
    /// The regular file, if it is one.
    pub fn as_file(&self) -> Option<&File> {
        match &self.content {
            Content::File(file) => Some(file),
            _ => None,
        }
    }
}

impl File {
    /// A file with the given content.
    pub fn from_bytes(bytes: impl Into<Arc<[u8]>>) -> File {
        let bytes = bytes.into();
        File {
            size: bytes.len() as u64,
            bytes: Bytes::Memory(bytes),
        }
    }
}

impl Tree {
    /// Puts `node` at `path` (with or without a leading `/`), making missing parents. A directory
    /// over a directory sets its attributes; anything else replaces what was there.
    pub fn insert(&mut self, path: &str, node: Node) -> Result<()> {
        let mut names: Vec<&[u8]> = path
            .split('/')
            .filter(|name| !name.is_empty())
            .map(str::as_bytes)
            .collect();
        let Some(last) = names.pop() else {
            return match node {
                Node::Directory(directory) => {
                    self.root.attributes = directory.attributes;
                    Ok(())
                }
                _ => Err(Error::unsupported(path, "the root must be a directory")),
            };
        };
        let mut directory = &mut self.root;
        for name in names {
            check_name(path, name)?;
            let entry = directory
                .entries
                .entry(name.to_vec())
                .or_insert_with(|| Node::Directory(Directory::default()));
            directory = match entry {
                Node::Directory(next) => next,
                _ => {
                    return Err(Error::unsupported(
                        path,
                        "a parent of it is not a directory",
                    ));
                }
            };
        }
        check_name(path, last)?;
        if let Some(Content::Symlink(target)) = node.as_leaf().map(|leaf| &leaf.content) {
            check_target(path, target)?;
        }
        match (directory.entries.get_mut(last), node) {
            (Some(Node::Directory(old)), Node::Directory(new)) => old.attributes = new.attributes,
            (_, node) => {
                directory.entries.insert(last.to_vec(), node);
            }
        }
        Ok(())
    }

    /// What is at `path`, links not followed.
    pub fn get(&self, path: &str) -> Option<&Node> {
        let mut names = path.split('/').filter(|name| !name.is_empty());
        let mut node = self.root.entries.get(names.next()?.as_bytes())?;
        for name in names {
            let Node::Directory(directory) = node else {
                return None;
            };
            node = directory.entries.get(name.as_bytes())?;
        }
        Some(node)
    }
}

/// Refuses names no file system can hold.
fn check_name(path: impl Into<PathBuf>, name: &[u8]) -> Result<()> {
    if name.len() > NAME_MAX {
        return Err(Error::unsupported(
            path,
            "a file name may have 255 bytes at most",
        ));
    }
    if name.is_empty() || name == b"." || name == b".." || name.contains(&0) || name.contains(&b'/')
    {
        return Err(Error::unsupported(
            path,
            "`.`, `..` and NUL are not file names",
        ));
    }
    Ok(())
}

fn check_target(path: impl Into<PathBuf>, target: &[u8]) -> Result<()> {
    if target.is_empty() || target.len() > LINK_MAX || target.contains(&0) {
        return Err(Error::unsupported(
            path,
            "a link's target has 1 to 4095 bytes and no NUL",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(node: Option<&Node>) -> Option<u64> {
        Some(node?.as_leaf()?.as_file()?.size)
    }

    #[test]
    fn insert_makes_parents_and_get_finds_them() {
        let mut tree = Tree::default();
        tree.insert("/usr/bin/tool", Node::file(0o755, *b"x"))
            .unwrap();
        assert_eq!(tree.get("usr/bin").unwrap().attributes().mode, 0o755);
        assert_eq!(size(tree.get("/usr/bin/tool")), Some(1));
        assert!(tree.get("/usr/bin/tool/x").is_none());
    }

    #[test]
    fn a_directory_inserted_again_keeps_its_entries() {
        let mut tree = Tree::default();
        tree.insert("/tmp/a", Node::symlink("b")).unwrap();
        tree.insert("/tmp", Node::directory(0o1777)).unwrap();
        assert!(tree.get("/tmp/a").is_some());
        assert_eq!(tree.get("/tmp").unwrap().attributes().mode, 0o1777);
    }

    #[test]
    fn impossible_names_and_parents_are_refused() {
        let mut tree = Tree::default();
        tree.insert("/a", Node::symlink("b")).unwrap();
        let file = || Node::file(0o644, *b"");
        assert!(tree.insert("/a/b", file()).is_err());
        assert!(tree.insert("/x/../y", file()).is_err());
        assert!(
            tree.insert(&format!("/{}", "n".repeat(256)), file())
                .is_err()
        );
        assert!(tree.insert("/", file()).is_err());
        assert!(tree.insert("/l", Node::symlink("")).is_err());
    }

    #[test]
    fn a_tree_deeper_than_the_stack_is_dropped() {
        let mut root = Directory::default();
        for _ in 0..100_000 {
            let mut outer = Directory::default();
            outer.entries.insert(b"d".to_vec(), Node::Directory(root));
            root = outer;
        }
    }
}

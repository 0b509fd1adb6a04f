//! The file tree an image is made from, before it has a layout.
//!
//! Owner, group and times are not part of it: everything belongs to root and carries the time the
//! writer is given, so that equal content gives equal bytes wherever it is built.

mod host;

use std::collections::BTreeMap;
use std::fs::File as HostFile;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use crate::{Error, Result};

/// Longest file name, as on Linux.
const NAME_MAX: usize = 255;
/// Longest symbolic link, as on Linux without the final NUL.
const LINK_MAX: usize = 4095;

/// What to make of a host directory's symbolic links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TreeKind {
    /// A root file system: links are taken as they are, absolute ones mean the image's root.
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
}

/// A directory.
#[derive(Clone, Debug)]
pub struct Directory {
    /// Permission bits.
    pub mode: u16,
    /// Entries by name; the order is that of the image.
    pub entries: BTreeMap<Vec<u8>, Node>,
}

/// Anything with a name.
#[derive(Clone, Debug)]
pub enum Node {
    /// A directory.
    Directory(Directory),
    /// A regular file.
    File(File),
    /// A symbolic link and where it points.
    Symlink(Vec<u8>),
}

/// A regular file.
#[derive(Clone, Debug)]
pub struct File {
    /// Permission bits.
    pub mode: u16,
    /// Length in bytes.
    pub size: u64,
    /// Where the bytes are.
    pub content: Content,
}

/// Bytes of a regular file.
#[derive(Clone, Debug)]
pub enum Content {
    /// In memory.
    Bytes(Arc<[u8]>),
    /// In a file of the host, read when the image is written.
    Host(PathBuf),
}

impl Default for Directory {
    fn default() -> Self {
        Directory {
            mode: 0o755,
            entries: BTreeMap::new(),
        }
    }
}

impl File {
    /// A file with the given content.
    pub fn from_bytes(mode: u16, bytes: impl Into<Arc<[u8]>>) -> File {
        let bytes = bytes.into();
        File {
            mode,
            size: bytes.len() as u64,
            content: Content::Bytes(bytes),
        }
    }

    /// Opens the content for reading.
    pub(crate) fn open(&self) -> Result<Box<dyn Read + '_>> {
        match &self.content {
            Content::Bytes(bytes) => Ok(Box::new(io::Cursor::new(&bytes[..]))),
            // The file was a regular one when it was listed; it must not turn into a link since.
            Content::Host(path) => HostFile::options()
                .read(true)
                .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
                .open(path)
                .map(|file| Box::new(file) as Box<dyn Read>)
                .map_err(Error::io("open", path)),
        }
    }

    /// Path to name in errors.
    pub(crate) fn origin(&self) -> PathBuf {
        match &self.content {
            Content::Bytes(_) => PathBuf::from("a generated file"),
            Content::Host(path) => path.clone(),
        }
    }
}

impl Tree {
    /// Puts `node` at `path` (with or without a leading `/`), making missing parents. A directory
    /// over a directory sets its permissions; anything else replaces what was there.
    pub fn insert(&mut self, path: &str, node: Node) -> Result<()> {
        let mut names: Vec<&[u8]> = path
            .split('/')
            .filter(|name| !name.is_empty())
            .map(str::as_bytes)
            .collect();
        let Some(last) = names.pop() else {
            return match node {
                Node::Directory(directory) => {
                    self.root.mode = directory.mode;
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
        if let Node::Symlink(target) = &node {
            check_target(path, target)?;
        }
        match (directory.entries.get_mut(last), node) {
            (Some(Node::Directory(old)), Node::Directory(new)) => old.mode = new.mode,
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

    #[test]
    fn insert_makes_parents_and_get_finds_them() {
        let mut tree = Tree::default();
        tree.insert("/usr/bin/tool", Node::File(File::from_bytes(0o755, *b"x")))
            .unwrap();
        assert!(matches!(tree.get("usr/bin"), Some(Node::Directory(d)) if d.mode == 0o755));
        assert!(matches!(tree.get("/usr/bin/tool"), Some(Node::File(f)) if f.size == 1));
        assert!(tree.get("/usr/bin/tool/x").is_none());
    }

    #[test]
    fn a_directory_inserted_again_keeps_its_entries() {
        let mut tree = Tree::default();
        tree.insert("/tmp/a", Node::Symlink(b"b".to_vec())).unwrap();
        let sticky = Directory {
            mode: 0o1777,
            ..Directory::default()
        };
        tree.insert("/tmp", Node::Directory(sticky)).unwrap();
        assert!(tree.get("/tmp/a").is_some());
        assert!(matches!(tree.get("/tmp"), Some(Node::Directory(d)) if d.mode == 0o1777));
    }

    #[test]
    fn impossible_names_and_parents_are_refused() {
        let mut tree = Tree::default();
        tree.insert("/a", Node::Symlink(b"b".to_vec())).unwrap();
        let file = || Node::File(File::from_bytes(0o644, *b""));
        assert!(tree.insert("/a/b", file()).is_err());
        assert!(tree.insert("/x/../y", file()).is_err());
        assert!(
            tree.insert(&format!("/{}", "n".repeat(256)), file())
                .is_err()
        );
        assert!(tree.insert("/", file()).is_err());
        assert!(tree.insert("/l", Node::Symlink(Vec::new())).is_err());
    }
}

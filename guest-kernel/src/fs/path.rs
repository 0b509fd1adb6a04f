//! Path resolution (`path_resolution(7)`).

use crate::errno::{Errno, Result};
use crate::fs::fd::FsContext;
use crate::fs::file::File;
use crate::fs::inode::{FileKind, Inode, InodeId, LinkTarget, NAME_MAX};
use crate::fs::mount;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// Longest path, with its NUL.
pub const PATH_MAX: usize = 4096;

/// Symbolic links followed before ELOOP.
const MAX_LINKS: u32 = 40;

/// Whether the last component is followed when it is a symbolic link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follow {
    /// Yes.
    Always,
    /// Only if a slash comes after it (lstat, O_NOFOLLOW).
    IfSlash,
    /// No: the entry itself is meant (unlink, rename, mkdir, ...).
    Never,
}

/// Where a path leads.
pub enum End {
    /// To something that was not found as an entry of a directory: `/`, `.`, `..`, or through a
    /// magic link; with the path to show, if it is not that of the directory.
    Here(Arc<dyn Inode>, Option<Vec<u8>>),
    /// To an entry of a directory.
    Entry(Entry),
    /// Through a magic link to an open file without an inode.
    File(Arc<dyn File>),
}

/// An entry of a directory, which may not exist.
pub struct Entry {
    /// The directory.
    pub dir: Arc<dyn Inode>,
    /// The name.
    pub name: Vec<u8>,
    /// What it stands for.
    pub inode: Option<Arc<dyn Inode>>,
    /// A slash came after the name: only a directory will do.
    pub slash: bool,
}

/// Something that exists.
pub struct Found {
    /// The inode.
    pub inode: Arc<dyn Inode>,
    /// The directory it was found in, and its name there.
    pub entry: Option<(Arc<dyn Inode>, Vec<u8>)>,
    /// The path to show for it, when neither the entry nor the directory tells.
    pub shown: Option<Vec<u8>>,
}

impl Found {
    /// Absolute path.
    pub fn path(&self, root: &Arc<dyn Inode>) -> Vec<u8> {
        if let Some(shown) = &self.shown {
            return shown.clone();
        }
        match &self.entry {
            Some((dir, name)) => entry_path(root, dir, name),
            None => directory_path(root, &self.inode).unwrap_or_default(),
        }
    }
}

/// What a resolution must not do (`openat2(2)`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restrictions {
    /// Follow symbolic links: ELOOP.
    pub no_links: bool,
    /// Follow magic links: ELOOP.
    pub no_magic_links: bool,
    /// Go from one mount to another: EXDEV.
    pub one_mount: bool,
    /// Leave the root, which is where it began: EXDEV.
    pub beneath: bool,
    /// Take magic links out of the root: EXDEV.
    pub scoped: bool,
}

impl Restrictions {
    /// For a step from one directory to what is found there.
    fn check_step(self, from: &Arc<dyn Inode>, to: &Arc<dyn Inode>) -> Result<()> {
        match self.one_mount && mount::of(from.id()).0 != mount::of(to.id()).0 {
            true => Err(Errno::EXDEV),
            false => Ok(()),
        }
    }

    /// For an absolute path or link.
    fn check_absolute(self) -> Result<()> {
        match self.beneath {
            true => Err(Errno::EXDEV),
            false => Ok(()),
        }
    }

    /// For a link that leads to `target`.
    fn check_link(self, target: &LinkTarget) -> Result<()> {
        match target {
            LinkTarget::Path(_) => Ok(()),
            _ if self.no_magic_links => Err(Errno::ELOOP),
            _ if self.scoped => Err(Errno::EXDEV),
            _ => Ok(()),
        }
    }
}

/// Where resolution begins and what it can't leave.
pub struct Context<'a> {
    /// The process's root directory.
    pub root: &'a Arc<dyn Inode>,
    /// Where relative paths begin.
    pub start: &'a Arc<dyn Inode>,
}

/// Resolves `path` up to its last component, and looks that up.
pub fn walk(context: &Context<'_>, path: &[u8], follow: Follow) -> Result<End> {
    walk_restricted(context, path, follow, Restrictions::default())
}

/// As [`walk`], within restrictions.
pub fn walk_restricted(
    context: &Context<'_>,
    path: &[u8],
    follow: Follow,
    restrictions: Restrictions,
) -> Result<End> {
    if path.is_empty() {
        return Err(Errno::ENOENT);
    }
    let mut rest = path.to_vec();
    let mut position = 0;
    let mut at = if rest[0] == b'/' {
        restrictions.check_absolute()?;
        context.root.clone()
    } else {
        context.start.clone()
    };
    let mut links = 0;
    loop {
        let (component, next) = match next_component(&rest, position) {
            Some(found) => found,
            None => {
                require_directory(&at)?;
                return Ok(End::Here(at, None));
            }
        };
        let slash = rest.get(next) == Some(&b'/');
        let last = next_component(&rest, next).is_none();
        require_directory(&at)?;
        match component {
            b"." => {}
            b".." if restrictions.beneath && at.id() == context.root.id() => {
                return Err(Errno::EXDEV);
            }
            b".." => {
                let above = parent(context.root, &at);
                restrictions.check_step(&at, &above)?;
                at = above;
            }
            name if name.len() > NAME_MAX => return Err(Errno::ENAMETOOLONG),
            name => {
                let inode = match at.clone().lookup(name) {
                    Ok(inode) => mount::covering(inode),
                    Err(Errno::ENOENT) if last => {
                        let name = name.to_vec();
                        return Ok(End::Entry(Entry {
                            dir: at,
                            name,
                            inode: None,
                            slash,
                        }));
                    }
                    Err(error) => return Err(error),
                };
                restrictions.check_step(&at, &inode)?;
                let followed = !last
                    || match follow {
                        Follow::Always => true,
                        Follow::IfSlash => slash,
                        Follow::Never => false,
                    };
                if inode.kind() == FileKind::Symlink && followed {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(Errno::ELOOP);
                    }
                    if restrictions.no_links {
                        return Err(Errno::ELOOP);
                    }
                    let target = inode.follow()?;
                    restrictions.check_link(&target)?;
                    match target {
                        LinkTarget::Path(mut target) => {
                            match target.first() {
                                None => return Err(Errno::ENOENT),
                                Some(b'/') => {
                                    restrictions.check_absolute()?;
                                    restrictions.check_step(&at, context.root)?;
                                    at = context.root.clone();
                                }
                                Some(_) => {}
                            }
                            target.extend_from_slice(&rest[next..]);
                            rest = target;
                            position = 0;
                            continue;
                        }
                        LinkTarget::Inode(inode, shown) if last => {
                            restrictions.check_step(&at, &inode)?;
                            if slash {
                                require_directory(&inode)?;
                            }
                            return Ok(End::Here(inode, Some(shown)));
                        }
                        LinkTarget::Inode(inode, _) => {
                            restrictions.check_step(&at, &inode)?;
                            at = inode;
                        }
                        LinkTarget::File(file) if last && !slash => return Ok(End::File(file)),
                        LinkTarget::File(_) => return Err(Errno::ENOTDIR),
                    }
                } else if last {
                    let name = name.to_vec();
                    return Ok(End::Entry(Entry {
                        dir: at,
                        name,
                        inode: Some(inode),
                        slash,
                    }));
                } else {
                    at = inode;
                }
            }
        }
        position = next;
    }
}

/// Resolves `path` to something that exists. A magic link to a file without an inode: ENXIO, for
/// callers that can't do with a file.
pub fn resolve(context: &Context<'_>, path: &[u8], follow: Follow) -> Result<Found> {
    match walk(context, path, follow)? {
        End::Here(inode, shown) => Ok(Found {
            inode,
            entry: None,
            shown,
        }),
        End::Entry(entry) => entry.found(),
        End::File(_) => Err(Errno::ENXIO),
    }
}

/// Something to open: what [`locate`] finds.
pub struct Located {
    /// The inode.
    pub inode: Arc<dyn Inode>,
    /// Its absolute path.
    pub path: Vec<u8>,
    /// The directory it is an entry of, if it was found there.
    pub directory: Option<InodeId>,
}

/// Resolves `path`, following links, for a process that stands at `fs`.
pub fn locate(fs: &FsContext, path: &[u8]) -> Result<Located> {
    let context = Context {
        root: &fs.root,
        start: &fs.cwd,
    };
    let found = resolve(&context, path, Follow::Always)?;
    let path = found.path(&fs.root);
    let directory = found.entry.as_ref().map(|(directory, _)| directory.id());
    Ok(Located {
        inode: found.inode,
        path,
        directory,
    })
}

/// Resolves `path` to an entry to be created, removed or renamed. `otherwise`: the error for a path
/// that ends in `/`, `.`, `..`, which is no entry.
pub fn resolve_entry(context: &Context<'_>, path: &[u8], otherwise: Errno) -> Result<Entry> {
    match walk(context, path, Follow::Never)? {
        End::Entry(entry) => Ok(entry),
        End::Here(..) | End::File(_) => Err(otherwise),
    }
}

impl Entry {
    /// What exists under this name.
    pub fn found(self) -> Result<Found> {
        let inode = self.inode.ok_or(Errno::ENOENT)?;
        if self.slash {
            require_directory(&inode)?;
        }
        Ok(Found {
            inode,
            entry: Some((self.dir, self.name)),
            shown: None,
        })
    }
}

fn require_directory(inode: &Arc<dyn Inode>) -> Result<()> {
    match inode.kind() {
        FileKind::Directory => Ok(()),
        _ => Err(Errno::ENOTDIR),
    }
}

/// The component that begins at or after `position`, and where it ends.
fn next_component(path: &[u8], position: usize) -> Option<(&[u8], usize)> {
    let rest = path.get(position..)?;
    let start = position + rest.iter().position(|&byte| byte != b'/')?;
    let rest = &path[start..];
    let end = start
        + rest
            .iter()
            .position(|&byte| byte == b'/')
            .unwrap_or(rest.len());
    Some((&path[start..end], end))
}

/// `..` of `directory`, for a process whose root is `root`.
pub fn parent(root: &Arc<dyn Inode>, directory: &Arc<dyn Inode>) -> Arc<dyn Inode> {
    if directory.id() == root.id() {
        return directory.clone();
    }
    let mut at = directory.clone();
    while let Some(covered) = mount::covered_by(at.id()) {
        at = covered;
    }
    match at.parent() {
        Some((parent, _)) => parent,
        None => directory.clone(),
    }
}

/// Absolute path of `directory` as a process with root `root` sees it; ENOENT if it was removed or
/// lies outside.
pub fn directory_path(root: &Arc<dyn Inode>, directory: &Arc<dyn Inode>) -> Result<Vec<u8>> {
    let mut names: Vec<Vec<u8>> = Vec::new();
    let mut at = directory.clone();
    while at.id() != root.id() {
        if let Some(covered) = mount::covered_by(at.id()) {
            at = covered;
            continue;
        }
        let (parent, name) = at.parent().ok_or(Errno::ENOENT)?;
        names.push(name);
        at = parent;
    }
    if names.is_empty() {
        return Ok(b"/".to_vec());
    }
    let mut path = Vec::new();
    for name in names.iter().rev() {
        path.push(b'/');
        path.extend_from_slice(name);
    }
    Ok(path)
}

/// Absolute path of entry `name` of `dir`.
pub fn entry_path(root: &Arc<dyn Inode>, dir: &Arc<dyn Inode>, name: &[u8]) -> Vec<u8> {
    let mut path = directory_path(root, dir).unwrap_or_default();
    if path.last() != Some(&b'/') {
        path.push(b'/');
    }
    path.extend_from_slice(name);
    path
}

#[cfg(test)]
mod tests;

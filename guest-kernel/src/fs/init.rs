//! The file system a guest starts with.

use crate::errno::{Errno, Result};
use crate::fs::erofs::{Image, MountError};
use crate::fs::file::OpenFlags;
use crate::fs::inode::{FileKind, Inode, Mode, NewInode};
use crate::fs::path::{Context, End, Follow};
use crate::fs::rootfs::Tree;
use crate::fs::{devfs, mount, path, procfs};
use crate::io::Source;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

/// An image and where it is mounted.
pub struct ImageAt<'a> {
    /// Its bytes.
    pub bytes: &'static [u8],
    /// Guest-physical address of the first.
    pub phys: u64,
    /// Absolute path; `/` for the root image, which must come first if there is one.
    pub path: &'a [u8],
}

/// What the file system is made of.
pub struct Setup<'a> {
    /// Images, the root's first.
    pub images: &'a [ImageAt<'a>],
    /// A program to put at an absolute path, in no image.
    pub program: Option<(&'a [u8], &'a [u8])>,
    /// Pages of RAM that files may take in each writable file system.
    pub pages: u64,
    /// Whether there is a request channel.
    pub channel: bool,
}

/// Why the file system can't be set up.
#[derive(Debug, PartialEq, Eq)]
pub enum SetupError {
    /// An image can't be mounted.
    Image(Vec<u8>, MountError),
    /// A file or directory can't be made, or a mount point is not a directory.
    Path(Vec<u8>, Errno),
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SetupError::Image(path, error) => {
                write!(f, "image for {}: {error}", path.escape_ascii())
            }
            SetupError::Path(path, error) => {
                write!(
                    f,
                    "setting up {} in the guest: {error:?}",
                    path.escape_ascii()
                )
            }
        }
    }
}

/// Mounts everything.
pub fn init(setup: &Setup<'_>) -> Result<(), SetupError> {
    let (root_image, others) = match setup.images.split_first() {
        Some((first, rest)) if first.path == b"/" => (Some(open_image(first)?), rest),
        _ => (None, setup.images),
    };
    let root: Arc<dyn Inode> = tree(b"/", root_image, setup.pages)?;
    mount_at(b"/", &root, None, "overlay", "sprout")?;

    for (path, mode) in [(&b"/tmp"[..], 0o1777), (b"/root", 0o700), (b"/etc", 0o755)] {
        make_directories(&root, path, mode).map_err(|e| SetupError::Path(path.to_vec(), e))?;
    }
    let dev: Arc<dyn Inode> = tree(b"/dev", None, setup.pages)?;
    devfs::populate(&dev, setup.channel).map_err(|e| SetupError::Path(b"/dev".to_vec(), e))?;
    mount_new(&root, b"/dev", dev, "devtmpfs", "devtmpfs")?;
    mount_new(
        &root,
        b"/dev/shm",
        tree(b"/dev/shm", None, setup.pages)?,
        "tmpfs",
        "tmpfs",
    )?;
    mount_new(&root, b"/proc", procfs::proc_root(), "proc", "proc")?;
    mount_new(&root, b"/sys", procfs::sys_root(), "sysfs", "sysfs")?;
    for image in others {
        let mounted = tree(image.path, Some(open_image(image)?), setup.pages)?;
        mount_new(&root, image.path, mounted, "overlay", "sprout")?;
    }
    if let Some((path, content)) = setup.program {
        put_program(&root, path, content).map_err(|e| SetupError::Path(path.to_vec(), e))?;
    }
    Ok(())
}

fn open_image(image: &ImageAt<'_>) -> Result<Image, SetupError> {
    Image::mount(image.bytes, image.phys)
        .map_err(|error| SetupError::Image(image.path.to_vec(), error))
}

fn tree(path: &[u8], image: Option<Image>, pages: u64) -> Result<Arc<dyn Inode>, SetupError> {
    let root = Tree::create(image, pages).map_err(|e| SetupError::Path(path.to_vec(), e))?;
    Ok(root)
}

fn mount_at(
    path: &[u8],
    root: &Arc<dyn Inode>,
    point: Option<Arc<dyn Inode>>,
    kind: &'static str,
    source: &'static str,
) -> Result<(), SetupError> {
    mount::mount(root.clone(), point, path, kind, source)
        .map_err(|error| SetupError::Path(path.to_vec(), error))
}

/// Mounts at `path`, which is made if it is missing.
fn mount_new(
    root: &Arc<dyn Inode>,
    path: &[u8],
    mounted: Arc<dyn Inode>,
    kind: &'static str,
    source: &'static str,
) -> Result<(), SetupError> {
    let point = make_directories(root, path, 0o755)
        .map_err(|error| SetupError::Path(path.to_vec(), error))?;
    mount_at(path, &mounted, Some(point), kind, source)
}

/// The directory at `path`, made with its parents if it is missing.
fn make_directories(root: &Arc<dyn Inode>, path: &[u8], mode: u32) -> Result<Arc<dyn Inode>> {
    let mut at = root.clone();
    for (end, _) in path
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte == b'/')
        .skip(1)
    {
        at = make_directory(root, &path[..end], 0o755)?;
    }
    if path.len() > 1 {
        at = make_directory(root, path, mode)?;
    }
    Ok(at)
}

fn make_directory(root: &Arc<dyn Inode>, path: &[u8], mode: u32) -> Result<Arc<dyn Inode>> {
    let context = Context { root, start: root };
    let found = match path::walk(&context, path, Follow::Always)? {
        End::Here(inode, _) => inode,
        End::Entry(path::Entry {
            inode: Some(inode), ..
        }) => inode,
        End::Entry(entry) => {
            let new = NewInode::of(FileKind::Directory, Mode::new(mode));
            entry.dir.create(&entry.name, &new)?
        }
        End::File(_) => return Err(Errno::ENOTDIR),
    };
    match found.kind() {
        FileKind::Directory => Ok(found),
        _ => Err(Errno::ENOTDIR),
    }
}

fn put_program(root: &Arc<dyn Inode>, path: &[u8], content: &[u8]) -> Result<()> {
    let name_at = path
        .iter()
        .rposition(|&byte| byte == b'/')
        .ok_or(Errno::EINVAL)?
        + 1;
    let (directory, name) = path.split_at(name_at);
    let directory = make_directories(root, directory.strip_suffix(b"/").unwrap_or(b""), 0o755)?;
    match directory.clone().unlink(name) {
        Ok(()) | Err(Errno::ENOENT) => {}
        Err(error) => return Err(error),
    }
    let new = NewInode::of(FileKind::Regular, Mode::new(0o755));
    let file = directory
        .create(name, &new)?
        .open(OpenFlags::WRONLY, path)?;
    match file.write_at(&mut Source::kernel(content), 0)? {
        written if written == content.len() => Ok(()),
        _ => Err(Errno::ENOSPC),
    }
}

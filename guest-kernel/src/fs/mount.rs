//! Mounts: which file system's root covers which directory.

use crate::errno::{Errno, Result};
use crate::fs::inode::{FileKind, Inode, InodeId};
use crate::sync::{Lock, Rank};
use alloc::sync::Arc;
use alloc::vec::Vec;

/// A mounted file system.
#[derive(Clone)]
pub struct Mount {
    /// Number, as in mountinfo and statx.
    pub id: u32,
    /// Its root directory.
    pub root: Arc<dyn Inode>,
    /// The directory it covers; `None` for the root file system.
    pub point: Option<Arc<dyn Inode>>,
    /// Absolute path of `point`.
    pub path: Vec<u8>,
    /// Type, as in `/proc/mounts`.
    pub kind: &'static str,
    /// Source, as in `/proc/mounts`.
    pub source: &'static str,
}

static MOUNTS: Lock<Vec<Mount>> = Lock::new(Rank::Mounts, Vec::new());
/// Number of the first mount; Linux numbers don't start at 1 either.
const FIRST_ID: u32 = 21;

/// Mounts `root` over `point`, which is at absolute `path`.
pub fn mount(
    root: Arc<dyn Inode>,
    point: Option<Arc<dyn Inode>>,
    path: &[u8],
    kind: &'static str,
    source: &'static str,
) -> Result<()> {
    if root.kind() != FileKind::Directory
        || point
            .as_ref()
            .is_some_and(|point| point.kind() != FileKind::Directory)
    {
        return Err(Errno::ENOTDIR);
    }
    let mut mounts = MOUNTS.lock();
    let id = FIRST_ID + mounts.len() as u32;
    mounts.push(Mount {
        id,
        root,
        point,
        path: path.to_vec(),
        kind,
        source,
    });
    Ok(())
}

/// The root directory of everything.
pub fn root() -> Result<Arc<dyn Inode>> {
    MOUNTS
        .lock()
        .first()
        .map(|mount| mount.root.clone())
        .ok_or(Errno::ENOENT)
}

/// Every mount, in order.
pub fn all() -> Vec<Mount> {
    MOUNTS.lock().clone()
}

/// What is seen at `inode`: the root of what is mounted over it, or itself.
pub fn covering(inode: Arc<dyn Inode>) -> Arc<dyn Inode> {
    let id = inode.id();
    let mounts = MOUNTS.lock();
    let over = mounts
        .iter()
        .rev()
        .find(|mount| mount.point.as_ref().is_some_and(|point| point.id() == id))
        .map(|mount| mount.root.clone());
    drop(mounts);
    over.unwrap_or(inode)
}

/// The directory that the file system with root `root` covers; `None` if it is not the root of a
/// mounted one.
pub fn covered_by(root: InodeId) -> Option<Arc<dyn Inode>> {
    let mounts = MOUNTS.lock();
    mounts
        .iter()
        .find(|mount| mount.root.id() == root)
        .and_then(|mount| mount.point.clone())
}

/// Whether something is mounted over `inode`, or it is the root of a mount.
pub fn is_mount(inode: InodeId) -> bool {
    MOUNTS.lock().iter().any(|mount| {
        mount.root.id() == inode
            || mount
                .point
                .as_ref()
                .is_some_and(|point| point.id() == inode)
    })
}

/// The number of the mount that `inode` is in, and whether it is its root.
pub fn of(inode: InodeId) -> (u32, bool) {
    let mounts = MOUNTS.lock();
    let found = mounts
        .iter()
        .rev()
        .find(|mount| mount.root.id().dev == inode.dev);
    found.map_or((0, false), |mount| (mount.id, mount.root.id() == inode))
}

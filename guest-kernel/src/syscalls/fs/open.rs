//! open and its kin, close, memfd_create.

use super::{Place, Target, at, follow_unless, only};
use crate::errno::{Errno, Result};
use crate::fs::directory::PathFile;
use crate::fs::dnotify;
use crate::fs::file::{File, OpenFile, OpenFlags};
use crate::fs::inode::{FileKind, Inode, InodeId, Mode, NewInode};
use crate::fs::inotify::mask;
use crate::fs::locks;
use crate::fs::path::{self, End, Entry, Follow, Found, Restrictions, entry_path};
use crate::fs::rootfs::{RegularFile, Tree, seal};
use crate::ipc::pipe::PipeEnd;
use crate::sync::{Lock, Rank};
use crate::syscalls::args::{DirFd, Fd, Flags, ModeArg, UserAddr, UserCStr, UserPtr};
use crate::task::{Ctx, exec};
use crate::wait::PollEvents;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// `open(2)`.
pub fn open(ctx: &Ctx, path: UserCStr, flags: OpenFlags, mode: ModeArg) -> Result<u64> {
    openat(ctx, DirFd::CWD, path, flags, mode)
}

/// `creat(2)`.
pub fn creat(ctx: &Ctx, path: UserCStr, mode: ModeArg) -> Result<u64> {
    let flags = OpenFlags::CREAT | OpenFlags::WRONLY | OpenFlags::TRUNC;
    openat(ctx, DirFd::CWD, path, flags, mode)
}

/// `openat(2)`.
pub fn openat(
    ctx: &Ctx,
    dirfd: DirFd,
    path: UserCStr,
    flags: OpenFlags,
    mode: ModeArg,
) -> Result<u64> {
    // Unknown bits are ignored, as ever.
    let flags = OpenFlags::from_bits_truncate(flags.bits());
    open_path(
        ctx,
        dirfd,
        &path.read_path(ctx)?,
        flags,
        Mode::new(mode.0),
        Restrictions::default(),
    )
}

/// Flags that mean something beside O_PATH.
const WITH_PATH: OpenFlags = OpenFlags::PATH
    .union(OpenFlags::DIRECTORY)
    .union(OpenFlags::NOFOLLOW)
    .union(OpenFlags::CLOEXEC);

/// `struct open_how`.
type OpenHow = [u64; 3];

/// Restrictions of openat2: what resolution must not do.
mod resolve {
    pub const NO_XDEV: u64 = 0x01;
    pub const NO_MAGICLINKS: u64 = 0x02;
    pub const NO_SYMLINKS: u64 = 0x04;
    pub const BENEATH: u64 = 0x08;
    pub const IN_ROOT: u64 = 0x10;
    pub const CACHED: u64 = 0x20;
    pub const ALL: u64 = NO_XDEV | NO_MAGICLINKS | NO_SYMLINKS | BENEATH | IN_ROOT | CACHED;
}

/// `openat2(2)`.
pub fn openat2(ctx: &Ctx, dirfd: DirFd, path: UserCStr, how: UserAddr, size: usize) -> Result<u64> {
    let [flags, mode, restrictions] = read_how(ctx, how, size)?;
    let known = u32::try_from(flags)
        .ok()
        .and_then(OpenFlags::from_bits)
        .ok_or(Errno::EINVAL)?;
    let creates = known.intersects(OpenFlags::CREAT | OpenFlags::TMPFILE);
    let scoped = restrictions & (resolve::BENEATH | resolve::IN_ROOT);
    if mode & !0o7777 != 0
        || mode != 0 && !creates
        || restrictions & !resolve::ALL != 0
        || scoped == resolve::BENEATH | resolve::IN_ROOT
        || known.contains(OpenFlags::PATH) && !WITH_PATH.contains(known)
    {
        return Err(Errno::EINVAL);
    }
    // Whatever may have to wait is not tried; looking up never does.
    let waits = OpenFlags::TRUNC | OpenFlags::CREAT | OpenFlags::TMPFILE;
    if restrictions & resolve::CACHED != 0 && known.intersects(waits) {
        return Err(Errno::EAGAIN);
    }
    let path = path.read_path(ctx)?;
    let mode = Mode::new(mode as u32);
    let has = |bit| restrictions & bit != 0;
    let restrictions = Restrictions {
        no_links: has(resolve::NO_SYMLINKS),
        no_magic_links: has(resolve::NO_SYMLINKS | resolve::NO_MAGICLINKS),
        one_mount: has(resolve::NO_XDEV),
        beneath: has(resolve::BENEATH),
        scoped: scoped != 0,
    };
    open_path(ctx, dirfd, &path, known, mode, restrictions)
}

/// Copies in a `struct open_how` of a program that may know a longer one: what we don't know must
/// be zero.
fn read_how(ctx: &Ctx, how: UserAddr, size: usize) -> Result<OpenHow> {
    const LONGEST: usize = 4096;
    const KNOWN: usize = size_of::<OpenHow>();
    if size < KNOWN {
        return Err(Errno::EINVAL);
    }
    if size > LONGEST {
        return Err(Errno::E2BIG);
    }
    let mut tail = alloc::vec![0; size - KNOWN];
    ctx.read_bytes(how.offset(KNOWN as u64).0, &mut tail)?;
    if tail.iter().any(|byte| *byte != 0) {
        return Err(Errno::E2BIG);
    }
    ctx.read::<OpenHow>(UserPtr::new(how.0))
}

fn open_path(
    ctx: &Ctx,
    dirfd: DirFd,
    path: &[u8],
    mut flags: OpenFlags,
    mode: Mode,
    restrictions: Restrictions,
) -> Result<u64> {
    if flags.contains(OpenFlags::PATH) {
        flags &= WITH_PATH;
    } else {
        // 64-bit programs always get large files, and see so in F_GETFL.
        flags |= OpenFlags::LARGEFILE;
    }
    let temporary = flags.contains(OpenFlags::TMPFILE);
    let directory = flags.contains(OpenFlags::DIRECTORY);
    if temporary && !(directory && flags.writable())
        || directory && flags.contains(OpenFlags::CREAT)
    {
        return Err(Errno::EINVAL);
    }
    let place = match restrictions.scoped && !path.is_empty() {
        // Where it begins, whatever the path looks like.
        true => Place::of(ctx, dirfd, b".")?,
        false => Place::of(ctx, dirfd, path)?,
    };
    ctx.files().lock().check_room()?;
    let open = if temporary {
        open_temporary(ctx, &place, path, flags, mode, restrictions)?
    } else {
        open_at(ctx, &place, path, flags, mode, restrictions)?
    };
    wait_for_fifo_peer(ctx, &open)?;
    let fd = ctx
        .files()
        .lock()
        .insert(open, flags.contains(OpenFlags::CLOEXEC))?;
    Ok(fd as u64)
}

/// Resolves a path from `place`, which is also the root if it must not be left.
fn walk(place: &Place, path: &[u8], follow: Follow, restrictions: Restrictions) -> Result<End> {
    let mut context = place.context();
    if restrictions.scoped {
        context.root = context.start;
    }
    path::walk_restricted(&context, path, follow, restrictions)
}

fn open_at(
    ctx: &Ctx,
    place: &Place,
    path: &[u8],
    flags: OpenFlags,
    mode: Mode,
    restrictions: Restrictions,
) -> Result<Arc<OpenFile>> {
    let create = flags.contains(OpenFlags::CREAT);
    let exclusive = create && flags.contains(OpenFlags::EXCL);
    let follow = match (exclusive, flags.contains(OpenFlags::NOFOLLOW)) {
        (true, _) => Follow::Never,
        (false, true) => Follow::IfSlash,
        (false, false) => Follow::Always,
    };
    let (inode, path, directory) = match walk(place, path, follow, restrictions)? {
        End::File(file) => return reopen(file, flags),
        End::Here(inode, shown) => {
            if exclusive {
                return Err(Errno::EEXIST);
            }
            let path = match shown {
                Some(shown) => shown,
                None => path::directory_path(&place.root, &inode).unwrap_or_default(),
            };
            (inode, path, None)
        }
        End::Entry(Entry { slash: true, .. }) if create => return Err(Errno::EISDIR),
        End::Entry(Entry {
            dir,
            name,
            inode: None,
            ..
        }) => {
            if !create {
                return Err(Errno::ENOENT);
            }
            return create_file(ctx, place, &dir, &name, flags, mode);
        }
        End::Entry(_) if exclusive => return Err(Errno::EEXIST),
        End::Entry(entry) => {
            let (dir, name) = (entry.dir.clone(), entry.name.clone());
            let found = entry.found()?;
            (
                found.inode,
                entry_path(&place.root, &dir, &name),
                Some(dir.id()),
            )
        }
    };
    open_inode(inode, flags, path, directory)
}

fn create_file(
    ctx: &Ctx,
    place: &Place,
    dir: &Arc<dyn Inode>,
    name: &[u8],
    flags: OpenFlags,
    mode: Mode,
) -> Result<Arc<OpenFile>> {
    let mode = mode.masked(ctx.fs().lock().umask);
    let inode = dir
        .clone()
        .create(name, &NewInode::of(FileKind::Regular, mode))?;
    let path = entry_path(&place.root, dir, name);
    let flags = flags - OpenFlags::CREAT - OpenFlags::TRUNC;
    open_inode(inode, flags, path, Some(dir.id()))
}

fn open_inode(
    inode: Arc<dyn Inode>,
    flags: OpenFlags,
    path: Vec<u8>,
    directory: Option<InodeId>,
) -> Result<Arc<OpenFile>> {
    let kind = inode.kind();
    if flags.contains(OpenFlags::DIRECTORY) && kind != FileKind::Directory {
        return Err(Errno::ENOTDIR);
    }
    if flags.contains(OpenFlags::PATH) {
        let file = Arc::new(PathFile::new(inode));
        return Ok(OpenFile::opened_in(file, flags, path, directory));
    }
    match kind {
        FileKind::Symlink => return Err(Errno::ELOOP),
        FileKind::Directory if flags.writable() || flags.contains(OpenFlags::CREAT) => {
            return Err(Errno::EISDIR);
        }
        _ => {}
    }
    let file = inode.open(flags, &path)?;
    let open = OpenFile::opened_in(file, flags, path, directory);
    if flags.contains(OpenFlags::TRUNC) && kind == FileKind::Regular {
        open.notify(mask::MODIFY);
    }
    Ok(open)
}

/// Opens what a magic link leads to: the same pipe or stream, with flags of its own.
fn reopen(file: Arc<dyn File>, flags: OpenFlags) -> Result<Arc<OpenFile>> {
    if flags.contains(OpenFlags::CREAT | OpenFlags::EXCL) {
        return Err(Errno::EEXIST);
    }
    if flags.contains(OpenFlags::DIRECTORY) {
        return Err(Errno::ENOTDIR);
    }
    if file.metadata()?.kind == FileKind::Socket {
        return Err(Errno::ENXIO);
    }
    let description = file.describe();
    Ok(OpenFile::new(file, flags, description))
}

fn open_temporary(
    ctx: &Ctx,
    place: &Place,
    path: &[u8],
    flags: OpenFlags,
    mode: Mode,
    restrictions: Restrictions,
) -> Result<Arc<OpenFile>> {
    let follow = Follow::Always;
    let found = match walk(place, path, follow, restrictions)? {
        End::Here(inode, shown) => Found {
            inode,
            entry: None,
            shown,
        },
        End::Entry(entry) => entry.found()?,
        End::File(_) => return Err(Errno::ENOTDIR),
    };
    if found.inode.kind() != FileKind::Directory {
        return Err(Errno::ENOTDIR);
    }
    let mode = mode.masked(ctx.fs().lock().umask);
    let directory = found.path(&place.root);
    let inode = found
        .inode
        .create_unnamed(&NewInode::of(FileKind::Regular, mode))?;
    let mut path = directory;
    path.extend_from_slice(alloc::format!("/#{} (deleted)", inode.id().ino).as_bytes());
    let flags = flags - OpenFlags::TMPFILE - OpenFlags::DIRECTORY;
    let file = inode.open(flags, &path)?;
    Ok(OpenFile::new(file, flags, path))
}

/// A blocking open of a FIFO returns when the other side is open too (`fifo(7)`).
fn wait_for_fifo_peer(ctx: &Ctx, open: &OpenFile) -> Result<()> {
    match open.downcast::<PipeEnd>() {
        Some(end) if !open.flags().contains(OpenFlags::NONBLOCK) && end.inode().is_some() => {
            let queue = end.wait_queue().map(|queue| (queue, PollEvents::all()));
            ctx.block(queue.as_slice(), None, || {
                Ok(end.open_complete().then_some(()))
            })
        }
        _ => Ok(()),
    }
}

/// Lets a descriptor's file go: with it go the record locks that its table has on the inode.
pub fn release(ctx: &Ctx, file: Arc<OpenFile>) {
    if let Some(inode) = file.file().inode() {
        let table = ctx.files().lock().id();
        locks::release_table(inode.id(), table);
        dnotify::end(&file, table);
    }
}

/// `close(2)`.
pub fn close(ctx: &Ctx, fd: Fd) -> Result<u64> {
    let file = ctx.files().lock().remove(fd.0)?;
    release(ctx, file);
    Ok(0)
}

/// `close_range(2)`; with CLOSE_RANGE_UNSHARE of a table of the caller's own.
pub fn close_range(ctx: &Ctx, first: u32, last: u32, flags: Flags) -> Result<u64> {
    const UNSHARE: u32 = 2;
    const CLOEXEC: u32 = 4;
    super::only(flags.0, UNSHARE | CLOEXEC)?;
    if first > last {
        return Err(Errno::EINVAL);
    }
    let files = if flags.0 & UNSHARE != 0 {
        crate::syscalls::task::unshare_parts(ctx, true, false);
        ctx.task().files()
    } else {
        ctx.files().clone()
    };
    if flags.0 & CLOEXEC != 0 {
        files.lock().set_range_close_on_exec(first, last);
        return Ok(0);
    }
    let removed = files.lock().remove_range(first, last);
    for file in removed {
        release(ctx, file);
    }
    Ok(0)
}

/// Where files of memfd_create live.
static MEMFD_TREE: Lock<Option<Arc<Tree>>> = Lock::new(Rank::Mounts, None);

/// `memfd_create(2)`.
pub fn memfd_create(ctx: &Ctx, name: UserCStr, flags: Flags) -> Result<u64> {
    const CLOEXEC: u32 = 1;
    const ALLOW_SEALING: u32 = 2;
    const NOEXEC_SEAL: u32 = 8;
    const EXEC: u32 = 16;
    const NAME_MAX: usize = 249;
    super::only(flags.0, CLOEXEC | ALLOW_SEALING | NOEXEC_SEAL | EXEC)?;
    if flags.0 & NOEXEC_SEAL != 0 && flags.0 & EXEC != 0 {
        return Err(Errno::EINVAL);
    }
    let name = name.read(ctx, NAME_MAX + 1).map_err(|error| match error {
        Errno::E2BIG => Errno::EINVAL,
        other => other,
    })?;
    let tree = {
        let pages = crate::mm::frame::stats().total / 2;
        MEMFD_TREE
            .lock()
            .get_or_insert_with(|| Tree::nameless(pages))
            .clone()
    };
    let noexec = flags.0 & NOEXEC_SEAL != 0;
    let node = tree.unnamed_file(Mode::new(if noexec { 0o666 } else { 0o777 }));
    let mut path = b"/memfd:".to_vec();
    path.extend_from_slice(&name);
    path.extend_from_slice(b" (deleted)");
    let seals = match (noexec, flags.0 & ALLOW_SEALING) {
        (true, _) => Some(seal::EXEC),
        (false, 0) => None,
        (false, _) => Some(0),
    };
    let file = Arc::new(RegularFile::unnamed(node, &path, seals)?);
    let open = OpenFile::new(file, OpenFlags::RDWR | OpenFlags::LARGEFILE, path);
    let fd = ctx.files().lock().insert(open, flags.0 & CLOEXEC != 0)?;
    Ok(fd as u64)
}

/// The file that execveat(2) is to run, and its absolute path.
pub fn open_executable(
    ctx: &Ctx,
    dirfd: DirFd,
    path: UserCStr,
    flags: Flags,
) -> Result<(Arc<OpenFile>, Vec<u8>)> {
    // The path is looked at first.
    if path.read_path(ctx)?.is_empty() && flags.0 & at::EMPTY_PATH == 0 {
        return Err(Errno::ENOENT);
    }
    only(flags.0, at::SYMLINK_NOFOLLOW | at::EMPTY_PATH)?;
    let found = match Target::find(ctx, dirfd, path, flags.0, follow_unless(flags.0))? {
        Target::Found(found) => found,
        target => {
            let shown = match &target {
                Target::File(file) => file.describe(),
                Target::Open(open) => open.path().to_vec(),
                Target::Found(_) => Vec::new(),
            };
            Found {
                inode: target.inode().map_err(|_| Errno::EACCES)?,
                entry: None,
                shown: Some(shown),
            }
        }
    };
    if found.inode.kind() == FileKind::Symlink {
        return Err(Errno::ELOOP);
    }
    let root = ctx.fs().lock().root.clone();
    let path = found.path(&root);
    let directory = found.entry.as_ref().map(|(directory, _)| directory.id());
    exec::open_inode(found.inode, path, directory)
}

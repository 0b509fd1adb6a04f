//! Devices: `/dev`, and what opening a character device gives.
//!
//! `/dev` is an ordinary in-memory tree with device nodes in it; the numbers lead here, wherever a
//! node lies.

mod console;
mod input;
mod memory;

pub use console::{
    Console, console, console_input_queue, is_output_blocked, output_blocked, output_ready,
};
pub(crate) use input::send;
pub use input::{Channel, channel_queue, on_channel_wait};

use crate::errno::{Errno, Result};
use crate::fs::file::{File, OpenFlags};
use crate::fs::inode::{DeviceNumber, FileKind, Inode, Mode, NewInode};
use crate::sync::{Lock, Rank};
use alloc::sync::Arc;
use memory::{MemoryDevice, MemoryKind};

const NULL: DeviceNumber = DeviceNumber::new(1, 3);
const ZERO: DeviceNumber = DeviceNumber::new(1, 5);
const FULL: DeviceNumber = DeviceNumber::new(1, 7);
const RANDOM: DeviceNumber = DeviceNumber::new(1, 8);
const URANDOM: DeviceNumber = DeviceNumber::new(1, 9);
const TTY: DeviceNumber = DeviceNumber::new(5, 0);
const CONSOLE: DeviceNumber = DeviceNumber::new(5, 1);
const PTMX: DeviceNumber = DeviceNumber::new(5, 2);
/// Major number of `/dev/pts/N`.
const SLAVES: u32 = 136;
/// The request channel: a miscellaneous device with a number Linux leaves to local use.
const CHANNEL: DeviceNumber = DeviceNumber::new(10, 240);

/// Opens the character device `device`, found as `inode`.
pub fn open(
    device: DeviceNumber,
    inode: Arc<dyn Inode>,
    flags: OpenFlags,
) -> Result<Arc<dyn File>> {
    let memory = |kind| Ok(Arc::new(MemoryDevice::new(kind, inode.clone())) as Arc<dyn File>);
    match device {
        NULL => memory(MemoryKind::Null),
        ZERO => memory(MemoryKind::Zero),
        FULL => memory(MemoryKind::Full),
        RANDOM | URANDOM => memory(MemoryKind::Random),
        CONSOLE => terminals()?
            .console(inode, flags)
            .unwrap_or_else(|| Ok(console(if flags.writable() { 1 } else { 0 }))),
        TTY => terminals()?.current(inode, flags),
        PTMX => terminals()?.master(inode),
        DeviceNumber {
            major: SLAVES,
            minor,
        } => terminals()?.slave(minor, inode, flags),
        CHANNEL => Ok(Arc::new(Channel::new(inode))),
        _ => Err(Errno::ENXIO),
    }
}

/// Opens terminals, which know of processes and so lie above the file systems.
pub trait OpenTerminals: Sync {
    /// The caller's controlling terminal (`/dev/tty`).
    fn current(&self, inode: Arc<dyn Inode>, flags: OpenFlags) -> Result<Arc<dyn File>>;
    /// The operator's terminal, if there is one.
    fn console(&self, inode: Arc<dyn Inode>, flags: OpenFlags) -> Option<Result<Arc<dyn File>>>;
    /// A new pseudo-terminal (`/dev/ptmx`).
    fn master(&self, inode: Arc<dyn Inode>) -> Result<Arc<dyn File>>;
    /// `/dev/pts/number`.
    fn slave(&self, number: u32, inode: Arc<dyn Inode>, flags: OpenFlags) -> Result<Arc<dyn File>>;
}

static OPENER: Lock<Option<&'static dyn OpenTerminals>> = Lock::new(Rank::Leaf, None);
/// The directory `/dev/pts`.
static SLAVE_NODES: Lock<Option<Arc<dyn Inode>>> = Lock::new(Rank::Leaf, None);

/// Says who opens terminals. Called once, at boot.
pub fn set_terminal_opener(opener: &'static dyn OpenTerminals) {
    *OPENER.lock() = Some(opener);
}

fn terminals() -> Result<&'static dyn OpenTerminals> {
    (*OPENER.lock()).ok_or(Errno::ENXIO)
}

/// Makes the node of a pseudo-terminal.
pub fn create_terminal(number: u32, rdev: DeviceNumber) -> Result<()> {
    let directory = SLAVE_NODES.lock().clone().ok_or(Errno::ENXIO)?;
    let new = NewInode {
        rdev,
        gid: TTY_GROUP,
        ..NewInode::of(FileKind::CharDevice, Mode::new(0o620))
    };
    let name = alloc::format!("{number}");
    directory.create(name.as_bytes(), &new).map(drop)
}

/// The group of terminals, by Debian's and most others' custom.
const TTY_GROUP: u32 = 5;

/// The node of a pseudo-terminal.
pub fn find_terminal(number: u32) -> Option<Arc<dyn Inode>> {
    let directory = SLAVE_NODES.lock().clone()?;
    directory.lookup(alloc::format!("{number}").as_bytes()).ok()
}

/// Removes it again. A program may have done so itself.
pub fn remove_terminal(number: u32) {
    let directory = SLAVE_NODES.lock().clone();
    if let Some(directory) = directory {
        let _ = directory.unlink(alloc::format!("{number}").as_bytes());
    }
}

/// Fills the empty directory `dev` with the usual nodes; `channel`: there is a request channel.
pub fn populate(dev: &Arc<dyn Inode>, channel: bool) -> Result<()> {
    let device = |name: &[u8], rdev| {
        let new = NewInode {
            rdev,
            ..NewInode::of(FileKind::CharDevice, Mode::new(0o666))
        };
        dev.clone().create(name, &new).map(drop)
    };
    device(b"null", NULL)?;
    device(b"zero", ZERO)?;
    device(b"full", FULL)?;
    device(b"random", RANDOM)?;
    device(b"urandom", URANDOM)?;
    device(b"tty", TTY)?;
    device(b"console", CONSOLE)?;
    device(b"ptmx", PTMX)?;
    let slaves = dev
        .clone()
        .create(b"pts", &NewInode::of(FileKind::Directory, Mode::new(0o755)))?;
    let new = NewInode {
        rdev: PTMX,
        ..NewInode::of(FileKind::CharDevice, Mode::new(0))
    };
    slaves.clone().create(b"ptmx", &new)?;
    *SLAVE_NODES.lock() = Some(slaves);
    if channel {
        device(b"sprout", CHANNEL)?;
    }
    let links: [(&[u8], &[u8]); 4] = [
        (b"fd", b"/proc/self/fd"),
        (b"stdin", b"/proc/self/fd/0"),
        (b"stdout", b"/proc/self/fd/1"),
        (b"stderr", b"/proc/self/fd/2"),
    ];
    for (name, target) in links {
        let new = NewInode {
            target,
            ..NewInode::of(FileKind::Symlink, Mode::new(0o777))
        };
        dev.clone().create(name, &new)?;
    }
    dev.clone().create(
        b"shm",
        &NewInode::of(FileKind::Directory, Mode::new(0o1777)),
    )?;
    Ok(())
}

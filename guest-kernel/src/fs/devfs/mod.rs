//! Devices: `/dev`, and what opening a character device gives.
//!
//! `/dev` is an ordinary in-memory tree with device nodes in it; the numbers lead here, wherever a
//! node lies.

mod console;
mod input;
mod memory;

pub(in crate::fs) use console::set_terminals;
pub use console::{Console, console, console_input_queue};
pub use input::{Channel, channel_queue};

use crate::errno::{Errno, Result};
use crate::fs::file::{File, OpenFlags};
use crate::fs::inode::{DeviceNumber, FileKind, Inode, Mode, NewInode};
use alloc::sync::Arc;
use memory::{MemoryDevice, MemoryKind};

const NULL: DeviceNumber = DeviceNumber::new(1, 3);
const ZERO: DeviceNumber = DeviceNumber::new(1, 5);
const FULL: DeviceNumber = DeviceNumber::new(1, 7);
const RANDOM: DeviceNumber = DeviceNumber::new(1, 8);
const URANDOM: DeviceNumber = DeviceNumber::new(1, 9);
const TTY: DeviceNumber = DeviceNumber::new(5, 0);
const CONSOLE: DeviceNumber = DeviceNumber::new(5, 1);
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
        CONSOLE => Ok(console(if flags.writable() { 1 } else { 0 })),
        TTY => console::controlling_terminal().ok_or(Errno::ENXIO),
        CHANNEL => Ok(Arc::new(Channel::new(inode))),
        _ => Err(Errno::ENXIO),
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

//! Which socket a name leads to.
//!
//! A path leads to a socket inode, whose attachment is a [`Bound`]. Abstract names are in a table of
//! their own.

use crate::errno::{Errno, Result};
use crate::net::address::UnixAddress;
use crate::net::unix::UnixSocket;
use crate::sync::{Lock, Rank};
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;

/// The attachment of a socket inode.
struct Bound(Weak<UnixSocket>);

static ABSTRACT: Lock<BTreeMap<Vec<u8>, Weak<UnixSocket>>> =
    Lock::new(Rank::Registry, BTreeMap::new());

/// Makes `name` lead to `socket`; returns the name it got.
pub fn claim(name: UnixAddress, socket: &Weak<UnixSocket>) -> Result<UnixAddress> {
    match name {
        UnixAddress::Unnamed => autobind(socket),
        UnixAddress::Abstract(bytes) => {
            let mut names = ABSTRACT.lock();
            if names.contains_key(&bytes) {
                return Err(Errno::EADDRINUSE);
            }
            names.insert(bytes.clone(), socket.clone());
            Ok(UnixAddress::Abstract(bytes))
        }
        UnixAddress::Path { path, inode } => {
            let node = inode.as_ref().ok_or(Errno::ENOENT)?;
            let attachment = node.attachment().ok_or(Errno::EADDRINUSE)?;
            let old = attachment.lock().replace(Arc::new(Bound(socket.clone())));
            drop(old);
            Ok(UnixAddress::Path { path, inode })
        }
    }
}

/// Gives `socket` the first free name of five hexadecimal digits, as Linux does.
fn autobind(socket: &Weak<UnixSocket>) -> Result<UnixAddress> {
    let mut names = ABSTRACT.lock();
    for number in 0..0x10_0000u32 {
        let name = format!("{number:05x}").into_bytes();
        if !names.contains_key(&name) {
            names.insert(name.clone(), socket.clone());
            return Ok(UnixAddress::Abstract(name));
        }
    }
    Err(Errno::ENOSPC)
}

/// Gives an abstract name of `socket` back. A socket inode stays, leading nowhere.
pub fn release(name: &UnixAddress, socket: &Weak<UnixSocket>) {
    if let UnixAddress::Abstract(bytes) = name {
        let mut names = ABSTRACT.lock();
        if names.get(bytes).is_some_and(|found| found.ptr_eq(socket)) {
            names.remove(bytes);
        }
    }
}

/// The socket `name` leads to; ECONNREFUSED if there is none.
pub fn find(name: &UnixAddress) -> Result<Arc<UnixSocket>> {
    let found = match name {
        UnixAddress::Unnamed => return Err(Errno::EINVAL),
        UnixAddress::Abstract(bytes) => ABSTRACT.lock().get(bytes).and_then(Weak::upgrade),
        UnixAddress::Path { inode, .. } => inode.as_ref().and_then(|inode| {
            let attached = inode.attachment()?.lock().clone()?;
            attached.downcast_ref::<Bound>()?.0.upgrade()
        }),
    };
    found.ok_or(Errno::ECONNREFUSED)
}

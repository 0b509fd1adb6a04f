//! All sockets there are, for those who ask about others': `/proc/net`, sock_diag, and multicast,
//! which must know whether anybody has joined a group.

use crate::net::socket::Socket;
use crate::sync::{Lock, Rank};
use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

static SOCKETS: Lock<BTreeMap<u64, Weak<dyn Socket>>> = Lock::new(Rank::Registry, BTreeMap::new());

/// A socket's place in the list, which it keeps as long as it lives.
pub struct Entry(u64);

impl Entry {
    /// Lists a socket.
    pub fn new(socket: Weak<dyn Socket>) -> Entry {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        SOCKETS.lock().insert(id, socket);
        Entry(id)
    }

    /// A number no other socket has or had.
    pub fn id(&self) -> u64 {
        self.0
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let gone = SOCKETS.lock().remove(&self.0);
        drop(gone);
    }
}

/// All sockets, oldest first.
pub fn all() -> Vec<Arc<dyn Socket>> {
    let listed: Vec<Weak<dyn Socket>> = SOCKETS.lock().values().cloned().collect();
    listed.iter().filter_map(Weak::upgrade).collect()
}

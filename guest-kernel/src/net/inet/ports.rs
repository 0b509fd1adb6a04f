//! Who has which port.

use crate::errno::{Errno, Result};
use crate::net::inet;
use crate::net::options::Options;
use crate::sync::{Lock, Rank};
use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Ports given out on demand (`net.ipv4.ip_local_port_range`).
const EPHEMERAL: core::ops::RangeInclusive<u16> = 32_768..=60_999;

struct Entry<S> {
    id: u64,
    ip: IpAddr,
    v6_only: bool,
    reuse_address: bool,
    reuse_port: bool,
    listening: bool,
    socket: Weak<S>,
}

impl<S> Entry<S> {
    /// Whether one packet could be for both.
    fn overlaps(&self, other: &Entry<S>) -> bool {
        self.covers(other.ip) || other.covers(self.ip)
    }

    /// Whether packets for `ip` come here.
    fn covers(&self, ip: IpAddr) -> bool {
        match (self.ip, ip) {
            (mine, ip) if mine == ip => true,
            (IpAddr::V4(mine), IpAddr::V4(_)) => mine.is_unspecified(),
            (IpAddr::V6(mine), IpAddr::V6(_)) => mine.is_unspecified(),
            (IpAddr::V6(mine), IpAddr::V4(_)) => mine.is_unspecified() && !self.v6_only,
            (IpAddr::V4(_), IpAddr::V6(_)) => false,
        }
    }

    fn conflicts(&self, other: &Entry<S>) -> bool {
        let ports_shared = self.reuse_port && other.reuse_port;
        let addresses_shared =
            self.reuse_address && other.reuse_address && !self.listening && !other.listening;
        self.overlaps(other) && !ports_shared && !addresses_shared
    }
}

/// The ports of one protocol.
pub struct Ports<S: 'static> {
    entries: Lock<BTreeMap<u16, Vec<Entry<S>>>>,
    next_id: AtomicU64,
    next_port: AtomicU32,
    /// Takes turns among sockets that share a port.
    turn: AtomicU64,
}

/// A socket's hold on a port; dropping the last one gives it back.
pub struct Lease<S: 'static> {
    ports: &'static Ports<S>,
    id: u64,
    /// The address and port.
    pub local: SocketAddr,
}

impl<S> Drop for Lease<S> {
    fn drop(&mut self) {
        let removed = {
            let mut entries = self.ports.entries.lock();
            let Some(list) = entries.get_mut(&self.local.port()) else {
                return;
            };
            let Some(at) = list.iter().position(|entry| entry.id == self.id) else {
                return;
            };
            let removed = list.remove(at);
            if list.is_empty() {
                entries.remove(&self.local.port());
            }
            removed
        };
        drop(removed);
    }
}

impl<S> Default for Ports<S> {
    fn default() -> Self {
        Ports::new()
    }
}

impl<S> Ports<S> {
    /// All free.
    pub const fn new() -> Self {
        Ports {
            entries: Lock::new(Rank::Registry, BTreeMap::new()),
            next_id: AtomicU64::new(1),
            next_port: AtomicU32::new(0),
            turn: AtomicU64::new(0),
        }
    }

    fn entry(&self, ip: IpAddr, options: &Options, socket: Weak<S>) -> Entry<S> {
        Entry {
            id: self.next_id.fetch_add(1, Ordering::Relaxed),
            ip,
            v6_only: options.v6_only(),
            reuse_address: options.reuse_address(),
            reuse_port: options.reuse_port(),
            listening: false,
            socket,
        }
    }

    /// Takes `local` for `socket`; port 0: any free one. EADDRINUSE, or EADDRNOTAVAIL if the
    /// address is not of this host.
    pub fn claim(
        &'static self,
        local: SocketAddr,
        options: &Options,
        socket: Weak<S>,
    ) -> Result<Arc<Lease<S>>> {
        if !inet::is_bindable(local.ip()) {
            return Err(Errno::EADDRNOTAVAIL);
        }
        let entry = self.entry(local.ip(), options, socket);
        let mut entries = self.entries.lock();
        let port = match local.port() {
            0 => self.free_port(&entries).ok_or(Errno::EADDRINUSE)?,
            port => {
                let taken = entries.get(&port);
                if taken.is_some_and(|list| list.iter().any(|other| entry.conflicts(other))) {
                    return Err(Errno::EADDRINUSE);
                }
                port
            }
        };
        let id = entry.id;
        entries.entry(port).or_default().push(entry);
        Ok(Arc::new(Lease {
            ports: self,
            id,
            local: SocketAddr::new(local.ip(), port),
        }))
    }

    fn free_port(&self, entries: &BTreeMap<u16, Vec<Entry<S>>>) -> Option<u16> {
        let count = u32::from(EPHEMERAL.end() - EPHEMERAL.start()) + 1;
        (0..count)
            .map(|_| {
                let turn = self.next_port.fetch_add(1, Ordering::Relaxed) % count;
                EPHEMERAL.start() + turn as u16
            })
            .find(|port| !entries.contains_key(port))
    }

    /// Another hold on the port of `lease`, for a connection that a listener made.
    pub fn share(
        &'static self,
        lease: &Lease<S>,
        ip: IpAddr,
        options: &Options,
        socket: Weak<S>,
    ) -> Arc<Lease<S>> {
        let entry = self.entry(ip, options, socket);
        let (id, port) = (entry.id, lease.local.port());
        self.entries.lock().entry(port).or_default().push(entry);
        Arc::new(Lease {
            ports: self,
            id,
            local: SocketAddr::new(ip, port),
        })
    }

    /// Sockets that share an address may not both listen: EADDRINUSE for the second.
    pub fn listen(&self, lease: &Lease<S>, listening: bool) -> Result<()> {
        let mut entries = self.entries.lock();
        let list = entries.get_mut(&lease.local.port()).ok_or(Errno::EINVAL)?;
        let at = list
            .iter()
            .position(|entry| entry.id == lease.id)
            .ok_or(Errno::EINVAL)?;
        if listening {
            let mine = list.get(at).ok_or(Errno::EINVAL)?;
            let taken = list.iter().any(|other| {
                other.id != mine.id
                    && other.listening
                    && mine.overlaps(other)
                    && !(mine.reuse_port && other.reuse_port)
            });
            if taken {
                return Err(Errno::EADDRINUSE);
            }
        }
        if let Some(mine) = list.get_mut(at) {
            mine.listening = listening;
        }
        Ok(())
    }

    /// All sockets that packets for `to` could be for, as multicast and broadcast have it.
    pub fn covering(&self, to: SocketAddr) -> Vec<Arc<S>> {
        let entries = self.entries.lock();
        let list = entries.get(&to.port()).into_iter().flatten();
        list.filter(|entry| entry.covers(to.ip()))
            .filter_map(|entry| entry.socket.upgrade())
            .collect()
    }

    /// The socket that packets for `to` go to: of those `rank` gives a number, the one with the
    /// highest; then one bound to just this address before one bound to all; among equals the
    /// newest, or with SO_REUSEPORT each in turn.
    pub fn find(&self, to: SocketAddr, rank: impl Fn(&S, bool) -> Option<u32>) -> Option<Arc<S>> {
        let candidates: Vec<(Arc<S>, bool, bool, u32)> = {
            let entries = self.entries.lock();
            let list = entries.get(&to.port())?;
            let covering = list.iter().filter(|entry| entry.covers(to.ip()));
            covering
                .filter_map(|entry| {
                    let specific = match (entry.ip, to.ip()) {
                        (mine, ip) if mine == ip => 2,
                        (IpAddr::V4(_), IpAddr::V4(_)) | (IpAddr::V6(_), IpAddr::V6(_)) => 1,
                        _ => 0,
                    };
                    Some((
                        entry.socket.upgrade()?,
                        entry.listening,
                        entry.reuse_port,
                        specific,
                    ))
                })
                .collect()
        };
        // Ranking looks at the sockets' states: not under the table's lock.
        let mut ranked: Vec<(Arc<S>, bool, (u32, u32))> = candidates
            .into_iter()
            .filter_map(|(socket, listening, shared, specific)| {
                let rank = rank(&socket, listening)?;
                Some((socket, shared, (rank, specific)))
            })
            .collect();
        let best = ranked.iter().map(|(_, _, score)| *score).max()?;
        ranked.retain(|(_, _, score)| *score == best);
        let (newest, shared, _) = ranked.last()?;
        if !shared {
            return Some(newest.clone());
        }
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) as usize % ranked.len();
        ranked.get(turn).map(|(socket, _, _)| socket.clone())
    }
}

//! What `/proc/net/snmp`, `netstat` and the interface's statistics count.
//!
//! There are no packets inside one VM; what counts as one is what Linux would have sent for the same
//! call: a datagram, a segment of at most the loopback's MTU, a SYN, a FIN, a RST.

use crate::net::inet::interface::MTU;
use core::net::IpAddr;
use core::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows (or, for those that tell how many there are, goes up and down).
pub struct Counter(AtomicU64);

impl Counter {
    const fn new() -> Counter {
        Counter(AtomicU64::new(0))
    }

    /// Adds to it.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// The number.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Packets that went through `lo`: what was sent was also received.
pub static PACKETS: Counter = Counter::new();
/// Their bytes.
pub static BYTES: Counter = Counter::new();
/// Of them: IPv6.
pub static PACKETS6: Counter = Counter::new();
/// Bytes of those.
pub static BYTES6: Counter = Counter::new();
/// Packets to multicast groups.
pub static MULTICAST: Counter = Counter::new();
/// Sends for want of a route not made.
pub static NO_ROUTES: Counter = Counter::new();

/// Connections begun.
pub static TCP_ACTIVE: Counter = Counter::new();
/// Connections taken by a listener.
pub static TCP_PASSIVE: Counter = Counter::new();
/// Connects that failed.
pub static TCP_FAILS: Counter = Counter::new();
/// Connections that were reset.
pub static TCP_RESETS: Counter = Counter::new();
/// Segments.
pub static TCP_SEGMENTS: Counter = Counter::new();
/// Segments that reset.
pub static TCP_RST: Counter = Counter::new();

/// Datagrams sent.
pub static UDP_OUT: Counter = Counter::new();
/// Datagrams delivered.
pub static UDP_IN: Counter = Counter::new();
/// Datagrams for ports nobody has.
pub static UDP_NO_PORT: Counter = Counter::new();
/// Datagrams a full buffer lost.
pub static UDP_FULL: Counter = Counter::new();

fn headers(ip: IpAddr) -> u64 {
    match ip {
        IpAddr::V4(_) => 20,
        IpAddr::V6(_) => 40,
    }
}

fn packets(to: IpAddr, count: u64, bytes: u64) {
    PACKETS.add(count);
    BYTES.add(bytes);
    if to.is_ipv6() {
        PACKETS6.add(count);
        BYTES6.add(bytes);
    }
}

/// Counts a datagram.
pub fn datagram(to: IpAddr, bytes: usize) {
    UDP_OUT.add(1);
    if to.is_multicast() {
        MULTICAST.add(1);
    }
    packets(to, 1, bytes as u64 + 8 + headers(to));
}

/// Counts `bytes` of a connection, as the segments that carry them; 0: a bare one.
pub fn segments(to: IpAddr, bytes: usize) {
    let head = headers(to) + 32;
    let most = u64::from(MTU) - head;
    let count = (bytes as u64).div_ceil(most).max(1);
    TCP_SEGMENTS.add(count);
    packets(to, count, bytes as u64 + count * head);
}

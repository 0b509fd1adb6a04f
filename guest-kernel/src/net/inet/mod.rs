//! AF_INET and AF_INET6: TCP and UDP between sockets of this VM.
//!
//! There are no packets: a send puts its bytes straight into the buffer of the socket they are for,
//! and what TCP would say with a FIN or an RST is a change of the peer's state. IPv4 addresses are
//! kept as such everywhere, also on AF_INET6 sockets, which show them mapped.

pub mod interface;
pub mod multicast;
pub mod ports;
pub mod tcp;
#[cfg(test)]
mod tests;
pub mod udp;

use crate::errno::{Errno, Result};
use crate::net::address::family;
use crate::wait::PollEvents;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

pub(crate) const READABLE: PollEvents = PollEvents::IN.union(PollEvents::RDNORM);
pub(crate) const WRITABLE: PollEvents = PollEvents::OUT.union(PollEvents::WRNORM);
pub(crate) const EVERYTHING: PollEvents = READABLE
    .union(WRITABLE)
    .union(PollEvents::RDHUP)
    .union(PollEvents::HUP)
    .union(PollEvents::ERR);

/// Where something sent to `to` arrives: this is the one place that knows which hosts can be
/// reached. Now that is this VM alone; a route to the outside would be another answer.
pub fn route(to: IpAddr) -> Result<IpAddr> {
    match to {
        // As on Linux, "any address" as a destination is this host.
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ok(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ok(IpAddr::V6(Ipv6Addr::LOCALHOST)),
        ip if ip.is_loopback() || ip.is_multicast() => Ok(ip),
        _ => Err(Errno::ENETUNREACH),
    }
}

/// The broadcast address of the loopback network.
pub const BROADCAST: Ipv4Addr = Ipv4Addr::new(127, 255, 255, 255);

/// Whether `ip` stands for many sockets: a multicast group or the loopback's broadcast address.
pub fn is_group(ip: IpAddr) -> bool {
    ip.is_multicast() || ip == IpAddr::V4(BROADCAST)
}

/// Whether a socket may be bound to `ip`.
pub fn is_bindable(ip: IpAddr) -> bool {
    ip.is_unspecified() || ip == IpAddr::V4(Ipv4Addr::BROADCAST) || route(ip).is_ok()
}

/// The address this host uses towards `remote`.
pub fn source_for(remote: IpAddr) -> IpAddr {
    match remote {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
    }
}

/// Whether a socket of `domain` can use `ip`, as a local or a remote address.
pub fn check_family(domain: u16, v6_only: bool, ip: IpAddr) -> Result<()> {
    match (domain, ip) {
        (family::INET, IpAddr::V6(_)) => Err(Errno::EAFNOSUPPORT),
        (family::INET6, IpAddr::V4(_)) if v6_only => Err(Errno::ENETUNREACH),
        _ => Ok(()),
    }
}

/// What a socket of `domain` shows while it has no address.
pub fn unbound(domain: u16) -> SocketAddr {
    let ip = match domain {
        family::INET6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        _ => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    };
    SocketAddr::new(ip, 0)
}

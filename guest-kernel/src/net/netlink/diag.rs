//! NETLINK_SOCK_DIAG: what sockets there are, as `ss` asks.

use super::message::{Header, attribute, word};
use super::route::Bodies;
use crate::errno::{Errno, Result};
use crate::net::address::{Address, UnixAddress, family};
use crate::net::inet::unbound;
use crate::net::options::{self, Kind};
use crate::net::registry;
use crate::net::socket::{ConnectionState, Socket};
use crate::net::unix::UnixSocket;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

/// SOCK_DIAG_BY_FAMILY.
const BY_FAMILY: u16 = 20;
/// AF_PACKET.
const PACKET: u16 = 17;

/// What answers a request with this body after the header.
pub fn answer(header: Header, body: &[u8]) -> Result<Bodies> {
    let [family, protocol, ..] = *body else {
        return Err(Errno::EINVAL);
    };
    if header.kind != BY_FAMILY {
        return Err(Errno::EINVAL);
    }
    let bodies = match u16::from(family) {
        family @ (family::INET | family::INET6) => inet(header, family, protocol, body)?,
        family::UNIX => unix(header, body)?,
        family::NETLINK => netlink(header, protocol, body)?,
        PACKET if header.is_dump() => Vec::new(),
        _ => return Err(Errno::ENOENT),
    };
    Ok(bodies.into_iter().map(|body| (BY_FAMILY, body)).collect())
}

fn listed(state: ConnectionState, states: u32) -> bool {
    states & (1 << state as u32) != 0
}

fn cookie(out: &mut Vec<u8>, socket: &dyn Socket) {
    out.extend(socket.entry().id().to_ne_bytes());
}

fn kind(socket: &Arc<dyn Socket>) -> Kind {
    socket.options().lock().kind()
}

/// The local and remote address, unspecified where there is none.
pub fn ends(socket: &dyn Socket) -> (SocketAddr, SocketAddr) {
    let none = unbound(socket.domain());
    let local = match socket.local_address() {
        Address::Inet(addr) => addr,
        _ => none,
    };
    let remote = match socket.peer_address() {
        Ok(Address::Inet(addr)) => addr,
        _ => none,
    };
    (local, remote)
}

/// Whether `/proc/net` and sock_diag list the socket: TCP's do once they listen or connect, UDP's
/// once they have a port.
pub fn is_hashed(socket: &dyn Socket) -> bool {
    match socket.protocol() {
        6 => socket.connection_state() != ConnectionState::Close,
        _ => ends(socket).0.port() != 0,
    }
}

/// Bytes that wait to be received and sent, or of a listener the connections that do and may.
pub fn queues(socket: &dyn Socket) -> (usize, usize) {
    let (receive, send) = socket.backlog().unwrap_or_else(|| socket.queued());
    // TCP counts a FIN as a byte.
    let fin = socket.connection_state() == ConnectionState::CloseWait;
    (receive + usize::from(fin), send)
}

/// The 16 bytes of an address in `struct inet_diag_sockid`.
fn padded(domain: u16, ip: IpAddr) -> Vec<u8> {
    let mut out = match (domain, ip) {
        (family::INET6, IpAddr::V4(ip)) => ip.to_ipv6_mapped().octets().to_vec(),
        (_, IpAddr::V4(ip)) => ip.octets().to_vec(),
        (_, IpAddr::V6(ip)) => ip.octets().to_vec(),
    };
    out.resize(16, 0);
    out
}

/// Ports and addresses of `struct inet_diag_sockid`.
fn socket_id(socket: &dyn Socket) -> Vec<u8> {
    let (local, remote) = ends(socket);
    let mut out = Vec::new();
    out.extend(local.port().to_be_bytes());
    out.extend(remote.port().to_be_bytes());
    out.extend(padded(socket.domain(), local.ip()));
    out.extend(padded(socket.domain(), remote.ip()));
    out
}

fn inet(header: Header, family: u16, protocol: u8, body: &[u8]) -> Result<Vec<Vec<u8>>> {
    let states = word(body, 4).ok_or(Errno::EINVAL)?;
    let extensions = body.get(2).copied().unwrap_or(0);
    let all = registry::all().into_iter().filter(|socket| {
        socket.domain() == family
            && socket.protocol() == u32::from(protocol)
            && is_hashed(&**socket)
    });
    if header.is_dump() {
        let shown = all.filter(|socket| listed(socket.connection_state(), states));
        return Ok(shown.map(|one| inet_body(&*one, extensions)).collect());
    }
    let wanted = body.get(8..44).ok_or(Errno::EINVAL)?;
    let mut found = all.filter(|socket| socket_id(&**socket) == wanted);
    let found = found.next().ok_or(Errno::ENOENT)?;
    Ok(alloc::vec![inet_body(&*found, extensions)])
}

/// `struct inet_diag_msg` and attributes; `extensions`: which of those are asked for.
fn inet_body(socket: &dyn Socket, extensions: u8) -> Vec<u8> {
    const INFO: u16 = 2;
    const CONGESTION: u16 = 4;
    const V6_ONLY: u16 = 11;
    let state = socket.connection_state();
    let (receive, send) = queues(socket);
    let (owner, inode, v6_only) = {
        let options = socket.options().lock();
        (options.owner, options.inode, options.v6_only())
    };
    let mut out = alloc::vec![socket.domain() as u8, state as u8, 0, 0];
    out.extend(socket_id(socket));
    out.extend(0u32.to_ne_bytes());
    cookie(&mut out, socket);
    for number in [0, receive as u32, send as u32, owner.uid, inode as u32] {
        out.extend(number.to_ne_bytes());
    }
    let wants = |attribute: u16| extensions & (1 << (attribute - 1)) != 0;
    if socket.domain() == family::INET6
        && matches!(state, ConnectionState::Listen | ConnectionState::Close)
    {
        attribute(&mut out, V6_ONLY, &[u8::from(v6_only)]);
    }
    if socket.protocol() == 6 {
        if wants(INFO) {
            attribute(&mut out, INFO, &options::tcp_info(socket));
        }
        if wants(CONGESTION) {
            attribute(&mut out, CONGESTION, b"cubic\0");
        }
    }
    out
}

fn unix(header: Header, body: &[u8]) -> Result<Vec<Vec<u8>>> {
    let states = word(body, 4).ok_or(Errno::EINVAL)?;
    let inode = word(body, 8).ok_or(Errno::EINVAL)?;
    let show = word(body, 12).ok_or(Errno::EINVAL)?;
    let mut all = registry::all()
        .into_iter()
        .filter(|socket| kind(socket) == Kind::Unix);
    if header.is_dump() {
        let shown = all.filter(|socket| listed(socket.connection_state(), states));
        return Ok(shown.map(|one| unix_body(&*one, show)).collect());
    }
    let found = all.find(|socket| socket.options().lock().inode == u64::from(inode));
    let found = found.filter(|_| inode != 0).ok_or(Errno::ENOENT)?;
    Ok(alloc::vec![unix_body(&*found, show)])
}

/// `struct unix_diag_msg` and attributes; `show`: which of those are asked for.
fn unix_body(socket: &dyn Socket, show: u32) -> Vec<u8> {
    const NAME: u16 = 0;
    const PEER: u16 = 2;
    const QUEUES: u16 = 4;
    const USER: u16 = 7;
    const SHOW_NAME: u32 = 1;
    const SHOW_PEER: u32 = 4;
    const SHOW_QUEUES: u32 = 0x10;
    const SHOW_USER: u32 = 0x40;
    let (owner, inode) = {
        let options = socket.options().lock();
        (options.owner, options.inode)
    };
    let mut out = alloc::vec![family::UNIX as u8, socket.socket_type() as u8];
    out.extend([socket.connection_state() as u8, 0]);
    out.extend((inode as u32).to_ne_bytes());
    cookie(&mut out, socket);
    if show & SHOW_NAME != 0
        && let Address::Unix(name) = socket.local_address()
    {
        match name {
            UnixAddress::Unnamed => {}
            UnixAddress::Path { path, .. } => attribute(&mut out, NAME, &path),
            UnixAddress::Abstract(name) => attribute(&mut out, NAME, &[&[0], &name[..]].concat()),
        }
    }
    let peer = socket
        .as_any()
        .downcast_ref::<UnixSocket>()
        .and_then(UnixSocket::peer_inode);
    if show & SHOW_PEER != 0
        && let Some(peer) = peer
    {
        attribute(&mut out, PEER, &(peer as u32).to_ne_bytes());
    }
    if show & SHOW_QUEUES != 0 {
        let (receive, send) = queues(socket);
        let both = [receive as u32, send as u32].map(u32::to_ne_bytes).concat();
        attribute(&mut out, QUEUES, &both);
    }
    if show & SHOW_USER != 0 {
        attribute(&mut out, USER, &owner.uid.to_ne_bytes());
    }
    out
}

/// `struct netlink_diag_msg`.
fn netlink(header: Header, protocol: u8, body: &[u8]) -> Result<Vec<Vec<u8>>> {
    /// NDIAG_PROTO_ALL.
    const ALL: u8 = 255;
    const BOUND: u8 = 0;
    word(body, 8).ok_or(Errno::EINVAL)?;
    if !header.is_dump() {
        return Err(Errno::EOPNOTSUPP);
    }
    let all = registry::all().into_iter().filter(|socket| {
        kind(socket) == Kind::Netlink
            && (protocol == ALL || socket.protocol() == u32::from(protocol))
    });
    Ok(all
        .map(|socket| {
            let inode = socket.options().lock().inode;
            let port = match socket.local_address() {
                Address::Netlink { port, .. } => port,
                _ => 0,
            };
            let mut out = alloc::vec![family::NETLINK as u8, socket.socket_type() as u8];
            out.extend([socket.protocol() as u8, BOUND]);
            for number in [port, 0, 0, inode as u32] {
                out.extend(number.to_ne_bytes());
            }
            cookie(&mut out, &*socket);
            out
        })
        .collect())
}

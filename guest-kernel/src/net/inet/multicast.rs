//! Multicast: which groups a socket has joined, from which sources it wants to hear there, and the
//! options that say so.
//!
//! The loopback interface is the only one, and multicast routes lead to it: a program that names no
//! interface gets this one. As on Linux's loopback, what is sent there arrives whether or not
//! IP_MULTICAST_LOOP is set.

use crate::errno::{Errno, Result};
use crate::net::address::family;
use crate::net::inet::interface::{INDEX, is_local};
use crate::net::options::{Kind, level};
use crate::net::registry;
use crate::net::socket::{Socket, SocketType};
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Option names of IP (include/uapi/linux/in.h).
mod ip {
    pub const MULTICAST_IF: i32 = 32;
    pub const MULTICAST_TTL: i32 = 33;
    pub const ADD: i32 = 35;
    pub const DROP: i32 = 36;
    pub const UNBLOCK: i32 = 37;
    pub const BLOCK: i32 = 38;
    pub const ADD_SOURCE: i32 = 39;
    pub const DROP_SOURCE: i32 = 40;
    pub const FILTER: i32 = 41;
}

/// Option names of both (MCAST_*).
mod mcast {
    pub const JOIN: i32 = 42;
    pub const BLOCK: i32 = 43;
    pub const UNBLOCK: i32 = 44;
    pub const LEAVE: i32 = 45;
    pub const JOIN_SOURCE: i32 = 46;
    pub const LEAVE_SOURCE: i32 = 47;
    pub const FILTER: i32 = 48;
}

/// Option names of IPV6.
mod ipv6 {
    pub const MULTICAST_IF: i32 = 17;
    pub const MULTICAST_HOPS: i32 = 18;
    pub const JOIN: i32 = 20;
    pub const LEAVE: i32 = 21;
}

/// Most groups of a socket (`net.ipv4.igmp_max_memberships`), sources of a group
/// (`net.ipv4.igmp_max_msf`, `net.ipv6.mld_max_msf`).
const MAX_GROUPS: usize = 20;
const MAX_SOURCES: usize = 10;
const MAX_SOURCES6: usize = 64;

/// Bytes of `struct sockaddr_storage`, and where in `struct group_req` and its kin they begin.
const STORAGE: usize = 128;
const FIRST: usize = 8;

/// Groups every host is in: all hosts, all nodes of the link and of the interface.
const EVERYBODY: [IpAddr; 3] = [
    IpAddr::V4(Ipv4Addr::new(224, 0, 0, 1)),
    IpAddr::V6(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1)),
    IpAddr::V6(Ipv6Addr::new(0xff01, 0, 0, 0, 0, 0, 0, 1)),
];

/// Which sources are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// None but those listed.
    Include,
    /// All but those listed.
    Exclude,
}

#[derive(Clone)]
struct Membership {
    group: IpAddr,
    /// The interface address it was joined with.
    address: Ipv4Addr,
    mode: Mode,
    /// `None` until a source was first named.
    sources: Option<Vec<IpAddr>>,
}

impl Membership {
    fn admits(&self, source: IpAddr) -> bool {
        let listed = self.sources.iter().flatten().any(|one| *one == source);
        listed == (self.mode == Mode::Include)
    }
}

/// What a socket has said about multicast.
#[derive(Clone)]
pub struct Multicast {
    joined: Vec<Membership>,
    /// IP_MULTICAST_IF: the source address, if one was named.
    address: Ipv4Addr,
    /// IPV6_MULTICAST_IF.
    interface6: u32,
}

impl Default for Multicast {
    fn default() -> Self {
        Multicast {
            joined: Vec::new(),
            address: Ipv4Addr::UNSPECIFIED,
            interface6: 0,
        }
    }
}

impl Multicast {
    /// The source address of what is sent to IPv4 groups, if it was chosen.
    pub fn source(&self) -> Option<Ipv4Addr> {
        (!self.address.is_unspecified()).then_some(self.address)
    }

    /// Whether a datagram from `source` to `group` is for this socket. `all`: also if it has not
    /// joined the group itself (IP_MULTICAST_ALL).
    pub fn wants(&self, group: IpAddr, source: IpAddr, all: bool) -> bool {
        match self.joined.iter().find(|one| one.group == group) {
            Some(membership) => membership.admits(source),
            None => all,
        }
    }

    /// The groups.
    pub fn groups(&self) -> impl Iterator<Item = IpAddr> {
        self.joined.iter().map(|one| one.group)
    }

    fn find(&mut self, group: IpAddr) -> Option<&mut Membership> {
        self.joined.iter_mut().find(|one| one.group == group)
    }

    fn join(&mut self, group: IpAddr, address: Ipv4Addr, mode: Mode) -> Result<()> {
        if self.find(group).is_some() {
            return Err(Errno::EADDRINUSE);
        }
        if group.is_ipv4() && self.groups().filter(IpAddr::is_ipv4).count() >= MAX_GROUPS {
            return Err(Errno::ENOBUFS);
        }
        self.joined.push(Membership {
            group,
            address,
            mode,
            sources: None,
        });
        Ok(())
    }

    fn leave(&mut self, group: IpAddr) -> Result<()> {
        let at = self.joined.iter().position(|one| one.group == group);
        self.joined.remove(at.ok_or(Errno::EADDRNOTAVAIL)?);
        Ok(())
    }

    /// Adds a source to those of a group, or takes it away.
    fn source_change(&mut self, group: IpAddr, source: IpAddr, change: Change) -> Result<()> {
        let membership = self.find(group).ok_or(Errno::EINVAL)?;
        match &membership.sources {
            Some(_) if membership.mode != change.mode => return Err(Errno::EINVAL),
            // Nothing was named yet: the mode can still be changed.
            _ => membership.mode = change.mode,
        }
        let most = if group.is_ipv4() {
            MAX_SOURCES
        } else {
            MAX_SOURCES6
        };
        if !change.add {
            let sources = membership.sources.as_mut().ok_or(Errno::EADDRNOTAVAIL)?;
            let at = sources.iter().position(|one| *one == source);
            let at = at.ok_or(Errno::EADDRNOTAVAIL)?;
            if sources.len() == 1 && change.mode == Mode::Include {
                return self.leave(group);
            }
            sources.remove(at);
            return Ok(());
        }
        let sources = membership.sources.get_or_insert_default();
        if sources.len() >= most {
            return Err(Errno::ENOBUFS);
        }
        if sources.contains(&source) {
            return Err(Errno::EADDRNOTAVAIL);
        }
        sources.push(source);
        Ok(())
    }

    fn filter(&mut self, group: IpAddr, mode: Mode, sources: Vec<IpAddr>) -> Result<()> {
        if mode == Mode::Include && sources.is_empty() {
            return self.leave(group);
        }
        let membership = self.find(group).ok_or(Errno::EINVAL)?;
        membership.mode = mode;
        membership.sources = Some(sources);
        Ok(())
    }
}

/// What happens to a source of a group.
#[derive(Clone, Copy)]
struct Change {
    mode: Mode,
    add: bool,
}

/// Whether anybody in this VM is to get what `source` sends to `group`.
pub fn accepted(group: IpAddr, source: IpAddr) -> bool {
    EVERYBODY.contains(&group)
        || registry::all().iter().any(|socket| {
            let options = socket.options().lock();
            let joined = &options.multicast.joined;
            joined
                .iter()
                .any(|one| one.group == group && one.admits(source))
        })
}

/// The groups that are joined and by how many sockets, those every host is in with one more.
pub fn memberships() -> Vec<(IpAddr, usize)> {
    let mut all: Vec<(IpAddr, usize)> = EVERYBODY.iter().map(|group| (*group, 1)).collect();
    for socket in registry::all() {
        for group in socket.options().lock().multicast.groups() {
            match all.iter_mut().find(|(known, _)| *known == group) {
                Some((_, count)) => *count += 1,
                None => all.push((group, 1)),
            }
        }
    }
    all
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N]> {
    let chunk = bytes.get(at..).and_then(|rest| rest.first_chunk());
    chunk.copied().ok_or(Errno::EINVAL)
}

fn word(bytes: &[u8], at: usize) -> Result<u32> {
    array(bytes, at).map(u32::from_ne_bytes)
}

fn ipv4(bytes: &[u8], at: usize) -> Result<Ipv4Addr> {
    array::<4>(bytes, at).map(Ipv4Addr::from)
}

/// The interface that an index or, if that is 0, an address names.
fn interface(index: u32, address: Ipv4Addr) -> Result<()> {
    let known = match index {
        0 => address.is_unspecified() || is_local(IpAddr::V4(address)),
        index => index == INDEX,
    };
    if known { Ok(()) } else { Err(Errno::ENODEV) }
}

fn mode(number: u32) -> Result<Mode> {
    match number {
        0 => Ok(Mode::Exclude),
        1 => Ok(Mode::Include),
        _ => Err(Errno::EINVAL),
    }
}

fn check_group(group: IpAddr) -> Result<()> {
    if group.is_multicast() {
        Ok(())
    } else {
        Err(Errno::EINVAL)
    }
}

/// The address in a `struct sockaddr_storage`, of the family that goes with the option's level.
fn storage(level: i32, bytes: &[u8], at: usize) -> Result<IpAddr> {
    let found = array(bytes, at).map(u16::from_ne_bytes)?;
    match (level, found) {
        (level::IP, family::INET) => ipv4(bytes, at + 4).map(IpAddr::V4),
        (level::IPV6, family::INET6) => {
            let ip = array::<16>(bytes, at + 8)?;
            Ok(IpAddr::V6(Ipv6Addr::from(ip)))
        }
        (level::IP, _) => Err(Errno::EINVAL),
        _ => Err(Errno::EADDRNOTAVAIL),
    }
}

/// `struct ip_mreqn`, of which the interface index may be missing.
struct Request {
    group: IpAddr,
    address: Ipv4Addr,
    index: u32,
}

fn request(value: &[u8]) -> Result<Request> {
    Ok(Request {
        group: IpAddr::V4(ipv4(value, 0)?),
        address: ipv4(value, 4)?,
        index: word(value, 8).unwrap_or(0),
    })
}

fn join(socket: &dyn Socket, wanted: &Request, mode: Mode) -> Result<()> {
    check_group(wanted.group)?;
    let mut options = socket.options().lock();
    if wanted.group.is_ipv6() && wanted.index == 0 && options.multicast.find(wanted.group).is_some()
    {
        return Err(Errno::EADDRINUSE);
    }
    interface(wanted.index, wanted.address)?;
    options.multicast.join(wanted.group, wanted.address, mode)
}

fn leave(socket: &dyn Socket, wanted: &Request) -> Result<()> {
    let mut options = socket.options().lock();
    let multicast = &mut options.multicast;
    if wanted.group.is_ipv6() {
        check_group(wanted.group)?;
    }
    let found = multicast.find(wanted.group).ok_or(Errno::EADDRNOTAVAIL)?;
    let here = match wanted.index {
        0 => {
            wanted.address.is_unspecified()
                || is_local(IpAddr::V4(wanted.address))
                || found.address == wanted.address
        }
        index => index == INDEX,
    };
    if !here {
        return Err(Errno::EADDRNOTAVAIL);
    }
    multicast.leave(wanted.group)
}

fn change(socket: &dyn Socket, wanted: &Request, source: IpAddr, change: Change) -> Result<()> {
    check_group(wanted.group)?;
    interface(wanted.index, wanted.address)?;
    if change.add && change.mode == Mode::Include {
        // Naming the first source joins the group.
        match join(socket, wanted, Mode::Include) {
            Ok(()) | Err(Errno::EADDRINUSE) => {}
            Err(error) => return Err(error),
        }
    }
    let mut options = socket.options().lock();
    options
        .multicast
        .source_change(wanted.group, source, change)
}

fn change_of(name: i32) -> Option<Change> {
    let (mode, add) = match name {
        ip::ADD_SOURCE | mcast::JOIN_SOURCE => (Mode::Include, true),
        ip::DROP_SOURCE | mcast::LEAVE_SOURCE => (Mode::Include, false),
        ip::BLOCK | mcast::BLOCK => (Mode::Exclude, true),
        ip::UNBLOCK | mcast::UNBLOCK => (Mode::Exclude, false),
        _ => return None,
    };
    Some(Change { mode, add })
}

/// A setsockopt of this module's, or `None`.
pub fn set(
    socket: &dyn Socket,
    kind: Kind,
    level: i32,
    name: i32,
    value: &[u8],
) -> Option<Result<()>> {
    if !matches!(kind, Kind::Tcp | Kind::Udp) {
        return None;
    }
    match level {
        level::IP => set_ip(socket, kind, name, value),
        level::IPV6 if socket.domain() == family::INET6 => set_ipv6(socket, kind, name, value),
        _ => None,
    }
}

fn set_ip(socket: &dyn Socket, kind: Kind, name: i32, value: &[u8]) -> Option<Result<()>> {
    let stream = socket.socket_type() == SocketType::Stream;
    Some(match name {
        ip::ADD | ip::DROP if kind == Kind::Tcp => Err(Errno::EPROTO),
        ip::ADD => request(value).and_then(|wanted| join(socket, &wanted, Mode::Exclude)),
        ip::DROP => request(value).and_then(|wanted| leave(socket, &wanted)),
        ip::UNBLOCK | ip::BLOCK | ip::ADD_SOURCE | ip::DROP_SOURCE if value.len() != 12 => {
            Err(Errno::EINVAL)
        }
        ip::UNBLOCK | ip::BLOCK | ip::ADD_SOURCE | ip::DROP_SOURCE => {
            ip_source(socket, name, value)
        }
        ip::FILTER => ip_filter(socket, value),
        ip::MULTICAST_IF | ip::MULTICAST_TTL if stream => Err(Errno::EINVAL),
        ip::MULTICAST_IF => multicast_interface(socket, value),
        _ => return protocol_independent(socket, level::IP, name, value),
    })
}

fn ip_source(socket: &dyn Socket, name: i32, value: &[u8]) -> Result<()> {
    // struct ip_mreq_source: group, interface, source.
    let wanted = Request {
        group: IpAddr::V4(ipv4(value, 0)?),
        address: ipv4(value, 4)?,
        index: 0,
    };
    let source = IpAddr::V4(ipv4(value, 8)?);
    let what = change_of(name).ok_or(Errno::EINVAL)?;
    change(socket, &wanted, source, what)
}

fn ip_filter(socket: &dyn Socket, value: &[u8]) -> Result<()> {
    /// Where the sources begin in `struct ip_msfilter`.
    const SOURCES: usize = 16;
    let count = word(value, 12)? as usize;
    if count > MAX_SOURCES {
        return Err(Errno::ENOBUFS);
    }
    let sources = (0..count).map(|at| ipv4(value, SOURCES + at * 4).map(IpAddr::V4));
    let sources = sources.collect::<Result<Vec<_>>>()?;
    let group = IpAddr::V4(ipv4(value, 0)?);
    check_group(group)?;
    let mode = mode(word(value, 8)?)?;
    interface(0, ipv4(value, 4)?)?;
    socket
        .options()
        .lock()
        .multicast
        .filter(group, mode, sources)
}

/// IP_MULTICAST_IF takes an address, `struct ip_mreq` or `struct ip_mreqn`.
fn multicast_interface(socket: &dyn Socket, value: &[u8]) -> Result<()> {
    let (address, index) = match value.len() {
        0..4 => return Err(Errno::EINVAL),
        4..8 => (ipv4(value, 0)?, 0),
        _ => (ipv4(value, 4)?, word(value, 8).unwrap_or(0)),
    };
    interface(index, address).map_err(|_| Errno::EADDRNOTAVAIL)?;
    socket.options().lock().multicast.address = address;
    Ok(())
}

fn set_ipv6(socket: &dyn Socket, kind: Kind, name: i32, value: &[u8]) -> Option<Result<()>> {
    let stream = socket.socket_type() == SocketType::Stream;
    Some(match name {
        ipv6::MULTICAST_IF | ipv6::MULTICAST_HOPS if stream => Err(Errno::ENOPROTOOPT),
        ipv6::MULTICAST_IF => word(value, 0).and_then(|index| {
            if index != 0 {
                interface(index, Ipv4Addr::UNSPECIFIED)?;
            }
            socket.options().lock().multicast.interface6 = index;
            Ok(())
        }),
        // struct ipv6_mreq: group, interface.
        ipv6::JOIN | ipv6::LEAVE if value.len() < 20 => Err(Errno::EINVAL),
        ipv6::JOIN | ipv6::LEAVE if kind == Kind::Tcp => Err(Errno::EPROTO),
        ipv6::JOIN | ipv6::LEAVE => array::<16>(value, 0).and_then(|group| {
            let wanted = Request {
                group: IpAddr::V6(Ipv6Addr::from(group)),
                address: Ipv4Addr::UNSPECIFIED,
                index: word(value, 16)?,
            };
            match name {
                ipv6::JOIN => join(socket, &wanted, Mode::Exclude),
                _ => leave(socket, &wanted),
            }
        }),
        _ => return protocol_independent(socket, level::IPV6, name, value),
    })
}

fn protocol_independent(
    socket: &dyn Socket,
    level: i32,
    name: i32,
    value: &[u8],
) -> Option<Result<()>> {
    Some(match name {
        mcast::JOIN..=mcast::LEAVE_SOURCE => group_request(socket, level, name, value),
        mcast::FILTER => group_filter(socket, level, value),
        _ => return None,
    })
}

/// `struct group_req` and `struct group_source_req`.
fn group_request(socket: &dyn Socket, level: i32, name: i32, value: &[u8]) -> Result<()> {
    let what = change_of(name);
    let least = FIRST + STORAGE * if what.is_some() { 2 } else { 1 };
    if value.len() < least {
        return Err(Errno::EINVAL);
    }
    let wanted = Request {
        group: storage(level, value, FIRST)?,
        address: Ipv4Addr::UNSPECIFIED,
        index: word(value, 0)?,
    };
    match what {
        Some(what) => {
            let source = storage(level, value, FIRST + STORAGE)?;
            change(socket, &wanted, source, what)
        }
        None if name == mcast::LEAVE => leave(socket, &wanted),
        None => join(socket, &wanted, Mode::Exclude),
    }
}

/// Where mode, count and sources are in `struct group_filter`.
const FILTER_MODE: usize = FIRST + STORAGE;
const FILTER_SOURCES: usize = FILTER_MODE + 8;

fn group_filter(socket: &dyn Socket, level: i32, value: &[u8]) -> Result<()> {
    let count = word(value, FILTER_MODE + 4)? as usize;
    let most = if level == level::IP {
        MAX_SOURCES
    } else {
        MAX_SOURCES6
    };
    if count > most {
        return Err(Errno::ENOBUFS);
    }
    if value.len() < FILTER_SOURCES + count * STORAGE {
        return Err(Errno::EINVAL);
    }
    let sources = (0..count).map(|at| storage(level, value, FILTER_SOURCES + at * STORAGE));
    let sources = sources.collect::<Result<Vec<_>>>()?;
    let group = storage(level, value, FIRST)?;
    check_group(group)?;
    let mode = mode(word(value, FILTER_MODE)?)?;
    interface(word(value, 0)?, Ipv4Addr::UNSPECIFIED)?;
    socket
        .options()
        .lock()
        .multicast
        .filter(group, mode, sources)
}

/// Whether getsockopt of an option finds a question in the program's buffer.
pub fn asks(level: i32, name: i32) -> bool {
    matches!(
        (level, name),
        (level::IP, ip::FILTER | mcast::FILTER) | (level::IPV6, mcast::FILTER)
    )
}

/// A getsockopt of this module's, or `None`. `input`: what the program's buffer has.
pub fn get(
    socket: &dyn Socket,
    kind: Kind,
    level: i32,
    name: i32,
    input: &[u8],
) -> Option<Result<Vec<u8>>> {
    if !matches!(kind, Kind::Tcp | Kind::Udp) {
        return None;
    }
    let ipv6 = level == level::IPV6 && socket.domain() == family::INET6;
    let multicast = || socket.options().lock().multicast.clone();
    match (level, name) {
        (level::IP, ip::MULTICAST_IF) => Some(Ok(multicast().address.octets().to_vec())),
        (level::IP, ip::FILTER) => Some(get_ip_filter(&multicast(), input)),
        (level::IP, mcast::FILTER) => Some(get_filter(&multicast(), level, input)),
        (level::IPV6, mcast::FILTER) if ipv6 => Some(get_filter(&multicast(), level, input)),
        (level::IPV6, ipv6::MULTICAST_IF) if ipv6 => {
            Some(Ok(multicast().interface6.to_ne_bytes().to_vec()))
        }
        _ => None,
    }
}

/// Mode number, count, and as many sources as were asked for.
fn filter_of(multicast: &Multicast, group: IpAddr, wanted: u32) -> Result<(u32, u32, Vec<IpAddr>)> {
    check_group(group)?;
    let found = multicast.joined.iter().find(|one| one.group == group);
    let found = found.ok_or(Errno::EADDRNOTAVAIL)?;
    let sources: Vec<IpAddr> = found.sources.iter().flatten().copied().collect();
    let count = sources.len() as u32;
    let shown = sources.into_iter().take(wanted as usize).collect();
    Ok((u32::from(found.mode == Mode::Include), count, shown))
}

fn get_ip_filter(multicast: &Multicast, input: &[u8]) -> Result<Vec<u8>> {
    let group = IpAddr::V4(ipv4(input, 0)?);
    let wanted = word(input, 12)?;
    let (mode, count, sources) = filter_of(multicast, group, wanted)?;
    let mut out: Vec<u8> = input.iter().take(8).copied().collect();
    out.extend(mode.to_ne_bytes());
    out.extend(count.to_ne_bytes());
    for source in sources {
        if let IpAddr::V4(ip) = source {
            out.extend(ip.octets());
        }
    }
    Ok(out)
}

fn get_filter(multicast: &Multicast, level: i32, input: &[u8]) -> Result<Vec<u8>> {
    let wanted = word(input, FILTER_MODE + 4)?;
    let group = storage(level, input, FIRST)?;
    let (mode, count, sources) = filter_of(multicast, group, wanted)?;
    let mut out: Vec<u8> = input.iter().take(FILTER_MODE).copied().collect();
    out.extend(mode.to_ne_bytes());
    out.extend(count.to_ne_bytes());
    for source in sources {
        let end = out.len() + STORAGE;
        match source {
            IpAddr::V4(ip) => {
                out.extend(family::INET.to_ne_bytes());
                out.extend([0; 2]);
                out.extend(ip.octets());
            }
            IpAddr::V6(ip) => {
                out.extend(family::INET6.to_ne_bytes());
                out.extend([0; 6]);
                out.extend(ip.octets());
            }
        }
        out.resize(end, 0);
    }
    Ok(out)
}

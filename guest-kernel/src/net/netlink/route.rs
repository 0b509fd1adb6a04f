//! NETLINK_ROUTE: links, addresses, routes and rules. There are no neighbours on a loopback.

use super::message::{Header, attribute, find_attribute, word};
use crate::errno::{Errno, Result};
use crate::net::address::family;
use crate::net::counters;
use crate::net::inet::{self, interface};
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Message types (include/uapi/linux/rtnetlink.h).
mod rtm {
    pub const NEWLINK: u16 = 16;
    pub const GETLINK: u16 = 18;
    pub const NEWADDR: u16 = 20;
    pub const GETADDR: u16 = 22;
    pub const NEWROUTE: u16 = 24;
    pub const GETROUTE: u16 = 26;
    pub const GETNEIGH: u16 = 30;
    pub const NEWRULE: u16 = 32;
    pub const GETRULE: u16 = 34;
    /// Of each four types the third gets, the others change something.
    pub const GET: u16 = 2;
}

/// Routing tables.
pub const TABLE_MAIN: u8 = 254;
/// The table of this host's own addresses.
pub const TABLE_LOCAL: u8 = 255;

/// Kinds of routes (RTN_*).
#[derive(Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum RouteKind {
    Unicast = 1,
    Local = 2,
    Broadcast = 3,
    Multicast = 5,
}

/// A route. All lead to `lo`.
pub struct Route {
    /// The addresses it is for: the first one,
    pub to: IpAddr,
    /// and how many bits of it count.
    pub bits: u8,
    /// The table it is in.
    pub table: u8,
    /// What becomes of packets.
    pub kind: RouteKind,
    /// RT_SCOPE_*.
    pub scope: u8,
    /// The less the sooner it is taken.
    pub metric: u32,
}

const SCOPE_UNIVERSE: u8 = 0;
const SCOPE_LINK: u8 = 253;
const SCOPE_HOST: u8 = 254;

const fn v4(to: Ipv4Addr, bits: u8, table: u8, kind: RouteKind, scope: u8) -> Route {
    Route {
        to: IpAddr::V4(to),
        bits,
        table,
        kind,
        scope,
        metric: 0,
    }
}

const fn v6(to: Ipv6Addr, bits: u8, table: u8, kind: RouteKind, metric: u32) -> Route {
    Route {
        to: IpAddr::V6(to),
        bits,
        table,
        kind,
        scope: SCOPE_UNIVERSE,
        metric,
    }
}

const NET: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 0);
const GROUPS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 0);
const GROUPS6: Ipv6Addr = Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0);

/// What [`inet::route`] does, as a table. The multicast routes make `lo` the interface of those who
/// name none.
pub static ROUTES: [Route; 7] = [
    v4(NET, 8, TABLE_LOCAL, RouteKind::Local, SCOPE_HOST),
    v4(
        Ipv4Addr::LOCALHOST,
        32,
        TABLE_LOCAL,
        RouteKind::Local,
        SCOPE_HOST,
    ),
    v4(
        inet::BROADCAST,
        32,
        TABLE_LOCAL,
        RouteKind::Broadcast,
        SCOPE_LINK,
    ),
    v4(GROUPS, 4, TABLE_MAIN, RouteKind::Unicast, SCOPE_LINK),
    v6(
        Ipv6Addr::LOCALHOST,
        128,
        TABLE_MAIN,
        RouteKind::Unicast,
        256,
    ),
    v6(Ipv6Addr::LOCALHOST, 128, TABLE_LOCAL, RouteKind::Local, 0),
    v6(GROUPS6, 8, TABLE_LOCAL, RouteKind::Multicast, 256),
];

/// Message types and bodies.
pub type Bodies = Vec<(u16, Vec<u8>)>;

/// What answers a request with this body after the header.
pub fn answer(header: Header, body: &[u8]) -> Result<Bodies> {
    let family = body.first().copied().unwrap_or(0);
    let all = |kind: u16, bodies: Vec<Vec<u8>>| bodies.into_iter().map(|one| (kind, one)).collect();
    match (header.kind, header.is_dump()) {
        (rtm::GETLINK, true) => Ok(all(rtm::NEWLINK, alloc::vec![link()])),
        (rtm::GETLINK, false) => one_link(body),
        (rtm::GETADDR, true) => Ok(all(rtm::NEWADDR, addresses(family))),
        (rtm::GETROUTE, true) => Ok(all(rtm::NEWROUTE, routes(family))),
        (rtm::GETROUTE, false) => one_route(family, body),
        (rtm::GETRULE, true) => Ok(all(rtm::NEWRULE, rules(family))),
        (rtm::GETNEIGH, true) => Ok(Vec::new()),
        (kind, _) if kind >= rtm::NEWLINK && kind % 4 != rtm::GET => Err(Errno::EPERM),
        _ => Err(Errno::EOPNOTSUPP),
    }
}

fn name() -> Vec<u8> {
    [interface::NAME, b"\0"].concat()
}

/// A link asked for by index or name.
fn one_link(body: &[u8]) -> Result<Bodies> {
    /// Bytes of `struct ifinfomsg`.
    const FIXED: usize = 16;
    const IFLA_IFNAME: u16 = 3;
    const IFLA_ALT_IFNAME: u16 = 53;
    let index = word(body, 4).unwrap_or(0);
    let attributes = body.get(FIXED..).unwrap_or_default();
    let named = find_attribute(attributes, IFLA_IFNAME)
        .or_else(|| find_attribute(attributes, IFLA_ALT_IFNAME));
    let found = match (index, named) {
        (0, None) => return Err(Errno::EINVAL),
        (0, Some(named)) => named.split(|byte| *byte == 0).next() == Some(interface::NAME),
        (index, _) => index == interface::INDEX,
    };
    match found {
        true => Ok(alloc::vec![(rtm::NEWLINK, link())]),
        false => Err(Errno::ENODEV),
    }
}

/// The body of RTM_NEWLINK for `lo`.
fn link() -> Vec<u8> {
    /// IFF_LOWER_UP, beside what the ioctl shows.
    const LOWER_UP: u32 = 0x10000;
    let mut out = alloc::vec![0, 0];
    out.extend(interface::HARDWARE.to_ne_bytes());
    out.extend(interface::INDEX.to_ne_bytes());
    out.extend((interface::FLAGS | LOWER_UP).to_ne_bytes());
    out.extend(0u32.to_ne_bytes());
    let mut put = |kind, value: &[u8]| attribute(&mut out, kind, value);
    let number = |value: u32| value.to_ne_bytes();
    put(3, &name());
    put(13, &number(interface::QUEUE));
    put(16, &[0]); // OPERSTATE: unknown, as a loopback's
    put(17, &[0]); // LINKMODE
    put(4, &number(interface::MTU));
    put(27, &number(0)); // GROUP
    put(30, &number(0)); // PROMISCUITY
    put(31, &number(1)); // NUM_TX_QUEUES
    put(32, &number(1)); // NUM_RX_QUEUES
    put(33, &[1]); // CARRIER
    put(6, b"noqueue\0");
    put(35, &number(0)); // CARRIER_CHANGES
    put(39, &[0]); // PROTO_DOWN
    put(14, &[0; 32]); // MAP
    put(1, &[0; 6]);
    put(2, &[0; 6]);
    let statistics = statistics();
    let wide: Vec<u8> = statistics.iter().flat_map(|n| n.to_ne_bytes()).collect();
    let narrow: Vec<u8> = statistics
        .iter()
        .take(24)
        .flat_map(|n| (*n as u32).to_ne_bytes())
        .collect();
    put(23, &wide);
    put(7, &narrow);
    out
}

/// `struct rtnl_link_stats64`: packets and bytes, in and out; nothing here is ever lost or broken.
fn statistics() -> [u64; 25] {
    let (packets, bytes) = (counters::PACKETS.get(), counters::BYTES.get());
    let mut all = [0; 25];
    all.iter_mut()
        .zip([packets, packets, bytes, bytes])
        .for_each(|(to, from)| *to = from);
    all
}

/// The bodies of RTM_NEWADDR of a family (0: all).
fn addresses(wanted: u8) -> Vec<Vec<u8>> {
    /// IFA_F_PERMANENT.
    const PERMANENT: u8 = 0x80;
    const IFA_CACHEINFO: u16 = 6;
    const IFA_FLAGS: u16 = 8;
    let (v4, v6) = (family::INET as u8, family::INET6 as u8);
    // Preferred and valid for ever; made and changed at the start.
    let life: Vec<u8> = [u32::MAX, u32::MAX, 0, 0]
        .iter()
        .flat_map(|word| word.to_ne_bytes())
        .collect();
    let mut all = Vec::new();
    let mut add = |family: u8, bits: u8, attributes: &[(u16, &[u8])]| {
        if wanted != 0 && wanted != family {
            return;
        }
        let mut out = alloc::vec![family, bits, PERMANENT, SCOPE_HOST];
        out.extend(interface::INDEX.to_ne_bytes());
        for (kind, value) in attributes {
            attribute(&mut out, *kind, value);
        }
        attribute(&mut out, IFA_FLAGS, &u32::from(PERMANENT).to_ne_bytes());
        attribute(&mut out, IFA_CACHEINFO, &life);
        all.push(out);
    };
    let local = Ipv4Addr::LOCALHOST.octets();
    add(v4, 8, &[(1, &local), (2, &local), (3, &name())]);
    add(v6, 128, &[(1, &Ipv6Addr::LOCALHOST.octets())]);
    all
}

fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

fn family_of(ip: IpAddr) -> u8 {
    match ip {
        IpAddr::V4(_) => family::INET as u8,
        IpAddr::V6(_) => family::INET6 as u8,
    }
}

/// The body of RTM_NEWROUTE.
fn route_body(route: &Route, to: IpAddr, bits: u8, flags: u32) -> Vec<u8> {
    /// RTPROT_KERNEL.
    const KERNEL: u8 = 2;
    let mut out = alloc::vec![family_of(to), bits, 0, 0, route.table, KERNEL];
    out.extend([route.scope, route.kind as u8]);
    out.extend(flags.to_ne_bytes());
    attribute(&mut out, 15, &u32::from(route.table).to_ne_bytes());
    attribute(&mut out, 1, &octets(to));
    if route.metric != 0 {
        attribute(&mut out, 6, &route.metric.to_ne_bytes());
    }
    if to.is_ipv4() && route.kind != RouteKind::Unicast {
        attribute(&mut out, 7, &Ipv4Addr::LOCALHOST.octets());
    }
    attribute(&mut out, 4, &interface::INDEX.to_ne_bytes());
    out
}

fn routes(wanted: u8) -> Vec<Vec<u8>> {
    ROUTES
        .iter()
        .filter(|route| wanted == 0 || wanted == family_of(route.to))
        .map(|route| route_body(route, route.to, route.bits, 0))
        .collect()
}

impl Route {
    fn covers(&self, ip: IpAddr) -> bool {
        let (mine, ip) = (octets(self.to), octets(ip));
        let bits = usize::from(self.bits);
        mine.len() == ip.len()
            && (0..bits).all(|bit| {
                let at = |bytes: &[u8]| bytes.get(bit / 8).map(|byte| byte >> (7 - bit % 8) & 1);
                at(&mine) == at(&ip)
            })
    }
}

/// `ip route get`: the route that a destination takes.
fn one_route(family: u8, body: &[u8]) -> Result<Bodies> {
    /// Bytes of `struct rtmsg`.
    const FIXED: usize = 12;
    const RTA_DST: u16 = 1;
    /// RTM_F_CLONED: not in the table as it is.
    const CLONED: u32 = 0x200;
    let attributes = body.get(FIXED..).unwrap_or_default();
    let to = find_attribute(attributes, RTA_DST).unwrap_or_default();
    let to = match (
        u16::from(family),
        to.first_chunk::<4>(),
        to.first_chunk::<16>(),
    ) {
        (family::INET, Some(ip), _) => IpAddr::V4(Ipv4Addr::from(*ip)),
        (family::INET6, _, Some(ip)) => IpAddr::V6(Ipv6Addr::from(*ip)),
        _ => return Err(Errno::EINVAL),
    };
    let to = inet::route(to)?;
    let route = ROUTES
        .iter()
        .filter(|route| route.covers(to))
        .max_by_key(|route| (route.bits, route.table))
        .ok_or(Errno::ENETUNREACH)?;
    let mut bytes = route_body(route, to, octets(to).len() as u8 * 8, CLONED);
    if route.kind == RouteKind::Unicast || to.is_ipv6() {
        attribute(&mut bytes, 7, &octets(inet::source_for(to)));
    }
    Ok(alloc::vec![(rtm::NEWROUTE, bytes)])
}

/// The three rules there always are: look in the tables `local`, `main`, `default`.
fn rules(wanted: u8) -> Vec<Vec<u8>> {
    const TABLE_DEFAULT: u8 = 253;
    const TO_TABLE: u8 = 1;
    let tables = [
        (TABLE_LOCAL, 0u32),
        (TABLE_MAIN, 32_766),
        (TABLE_DEFAULT, 32_767),
    ];
    let families = [family::INET as u8, family::INET6 as u8];
    let mut all = Vec::new();
    for family in families
        .into_iter()
        .filter(|one| wanted == 0 || wanted == *one)
    {
        for (table, priority) in tables {
            if family == family::INET6 as u8 && table == TABLE_DEFAULT {
                continue;
            }
            let mut out = alloc::vec![family, 0, 0, 0, table, 0, 0, TO_TABLE, 0, 0, 0, 0];
            attribute(&mut out, 15, &u32::from(table).to_ne_bytes());
            attribute(&mut out, 14, &u32::MAX.to_ne_bytes());
            if priority != 0 {
                attribute(&mut out, 6, &priority.to_ne_bytes());
            }
            all.push(out);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_says_what_route_does() {
        for text in ["127.0.0.1", "127.9.9.9", "239.1.2.3", "::1", "ff02::1"] {
            let ip: IpAddr = text.parse().unwrap();
            assert!(inet::route(ip).is_ok());
            assert!(ROUTES.iter().any(|route| route.covers(ip)), "{text}");
        }
        for text in ["10.0.0.1", "255.255.255.255", "fe80::1", "2001:db8::1"] {
            let ip: IpAddr = text.parse().unwrap();
            assert!(inet::route(ip).is_err());
            assert!(!ROUTES.iter().any(|route| route.covers(ip)), "{text}");
        }
    }
}

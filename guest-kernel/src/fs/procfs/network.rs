//! The texts of `/proc/net`: what sockets, interfaces and routes there are, in Linux's columns.

use super::fixed::Content::{self, Text};
use crate::errno::Result;
use crate::net::address::{Address, UnixAddress, family};
use crate::net::counters;
use crate::net::inet::interface::{self, INDEX};
use crate::net::inet::multicast;
use crate::net::netlink::diag::{ends, is_hashed, queues};
use crate::net::netlink::route::{ROUTES, RouteKind, TABLE_LOCAL, TABLE_MAIN};
use crate::net::options::Kind;
use crate::net::registry;
use crate::net::socket::{ConnectionState, Socket, SocketType};
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt::Write;
use core::net::{IpAddr, SocketAddr};

/// The files, by name.
pub(super) static FILES: &[(&str, Content)] = &[
    ("arp", Text(|| done(String::from(ARP)))),
    ("dev", Text(|| done(dev()))),
    ("dev_mcast", Text(|| done(String::new()))),
    ("icmp", Text(|| done(String::from(NO_ICMP)))),
    ("icmp6", Text(|| done(String::from(NO_RAW6)))),
    ("if_inet6", Text(|| done(String::from(IF_INET6)))),
    ("igmp", Text(|| done(igmp()))),
    ("igmp6", Text(|| done(igmp6()))),
    ("ipv6_route", Text(|| done(ipv6_route()))),
    ("netlink", Text(|| done(netlink()))),
    ("netstat", Text(|| done(netstat()))),
    ("packet", Text(|| done(String::from(PACKET)))),
    ("protocols", Text(|| done(protocols()))),
    ("ptype", Text(|| done(String::from(PTYPE)))),
    ("raw", Text(|| done(String::from(NO_RAW)))),
    ("raw6", Text(|| done(String::from(NO_RAW6)))),
    ("route", Text(|| done(route()))),
    ("rt_cache", Text(|| done(padded(RT_CACHE, 127)))),
    ("snmp", Text(|| done(snmp()))),
    ("snmp6", Text(|| done(snmp6()))),
    ("sockstat", Text(|| done(sockstat()))),
    ("sockstat6", Text(|| done(sockstat6()))),
    ("tcp", Text(|| done(tcp(family::INET)))),
    ("tcp6", Text(|| done(tcp(family::INET6)))),
    ("udp", Text(|| done(udp(family::INET)))),
    ("udp6", Text(|| done(udp(family::INET6)))),
    ("udplite", Text(|| done(padded(UDP_HEAD, 127)))),
    ("udplite6", Text(|| done(String::from(NO_RAW6)))),
    ("unix", Text(unix)),
];

const ARP: &str =
    "IP address       HW type     Flags       HW address            Mask     Device\n";
const IF_INET6: &str = "00000000000000000000000000000001 01 80 10 80       lo\n";
const PACKET: &str = "sk               RefCnt Type Proto  Iface R Rmem   User   Inode\n";
const PTYPE: &str = "Type Device      Function\n0800          ip_rcv\n86dd          ipv6_rcv\n";
const RT_CACHE: &str = "Iface\tDestination\tGateway \tFlags\t\tRefCnt\tUse\tMetric\tSource\t\tMTU\tWindow\tIRTT\tTOS\tHHRef\tHHUptod\tSpecDst";
const TCP_HEAD: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode";
const TCP6_HEAD: &str = "  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";
const UDP_HEAD: &str = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops";
/// There are no raw sockets, nor those for pings.
const NO_RAW: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n";
const NO_ICMP: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops            \n";
const NO_RAW6: &str = "  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n";

fn done(text: String) -> Result<Vec<u8>> {
    Ok(text.into_bytes())
}

/// Linux pads the lines of old files to one width.
fn padded(line: &str, width: usize) -> String {
    format!("{line:<width$}\n")
}

fn dev() -> String {
    let (bytes, packets) = (counters::BYTES.get(), counters::PACKETS.get());
    format!(
        "Inter-|   Receive                                                |  Transmit\n \
         face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n\
         {:>6}: {bytes:7} {packets:7}    0    0    0     0          0         0 {bytes:8} {packets:7}    0    0    0     0       0          0\n",
        "lo"
    )
}

/// An address as its words look in memory.
fn hex(domain: u16, ip: IpAddr) -> String {
    let ip6 = match (domain, ip) {
        (family::INET6, IpAddr::V4(ip)) => ip.to_ipv6_mapped(),
        (_, IpAddr::V4(ip)) => return format!("{:08X}", u32::from_ne_bytes(ip.octets())),
        (_, IpAddr::V6(ip)) => ip,
    };
    ip6.octets()
        .as_chunks::<4>()
        .0
        .iter()
        .fold(String::new(), |mut text, word| {
            let _ = write!(text, "{:08X}", u32::from_ne_bytes(*word));
            text
        })
}

fn end(domain: u16, addr: SocketAddr) -> String {
    format!("{}:{:04X}", hex(domain, addr.ip()), addr.port())
}

/// Listed sockets of a domain and protocol.
fn sockets(domain: u16, protocol: u32) -> impl Iterator<Item = Arc<dyn Socket>> {
    registry::all().into_iter().filter(move |socket| {
        socket.domain() == domain && socket.protocol() == protocol && is_hashed(&**socket)
    })
}

/// The columns that TCP's and UDP's lines have in common.
fn columns(socket: &dyn Socket) -> String {
    let domain = socket.domain();
    let (local, remote) = ends(socket);
    let (receive, send) = match socket.backlog() {
        // A listener's own limit is not shown here.
        Some((waiting, _)) => (waiting, 0),
        None => queues(socket),
    };
    let (uid, inode) = {
        let options = socket.options().lock();
        (options.owner.uid, options.inode)
    };
    format!(
        "{} {} {:02X} {send:08X}:{receive:08X} 00:00000000 00000000 {uid:5}        0 {inode}",
        end(domain, local),
        end(domain, remote),
        socket.connection_state() as u8,
    )
}

fn tcp(domain: u16) -> String {
    const WIDTH: usize = 149;
    let mut out = match domain {
        family::INET => padded(TCP_HEAD, WIDTH),
        _ => String::from(TCP6_HEAD),
    };
    // Listeners come first, as in Linux's tables.
    let listening = |socket: &Arc<dyn Socket>| socket.listening();
    let all: Vec<_> = sockets(domain, 6).collect();
    let first = all.iter().filter(|one| listening(one));
    let rest = all.iter().filter(|one| !listening(one));
    for (index, socket) in first.chain(rest).enumerate() {
        let columns = columns(&**socket);
        let id = socket.entry().id();
        let tail = match socket.listening() {
            true => "100 0 0 10 0",
            false => "20 4 30 10 -1",
        };
        let line = format!("{index:4}: {columns} 1 {id:016x} {tail}");
        match domain {
            family::INET => out += &padded(&line, WIDTH),
            _ => out += &(line + "\n"),
        }
    }
    out
}

fn udp(domain: u16) -> String {
    const WIDTH: usize = 127;
    let mut out = match domain {
        family::INET => padded(UDP_HEAD, WIDTH),
        _ => String::from(NO_RAW6),
    };
    for (index, socket) in sockets(domain, 17).enumerate() {
        let columns = columns(&*socket);
        let (id, drops) = (socket.entry().id(), socket.drops());
        let line = format!("{index:5}: {columns} 2 {id:016x} {drops}");
        match domain {
            family::INET => out += &padded(&line, WIDTH),
            _ => out += &(line + "\n"),
        }
    }
    out
}

fn unix() -> Result<Vec<u8>> {
    /// __SO_ACCEPTCON.
    const ACCEPTS: u32 = 0x10000;
    const UNCONNECTED: u8 = 1;
    const CONNECTED: u8 = 3;
    let mut out = b"Num       RefCount Protocol Flags    Type St Inode Path\n".to_vec();
    for socket in registry::all() {
        let (kind, inode) = {
            let options = socket.options().lock();
            (options.kind(), options.inode)
        };
        if kind != Kind::Unix {
            continue;
        }
        let state = match socket.connection_state() {
            ConnectionState::Established => CONNECTED,
            _ => UNCONNECTED,
        };
        let flags = if socket.listening() { ACCEPTS } else { 0 };
        let references = if state == CONNECTED { 3 } else { 2 };
        let (id, kind) = (socket.entry().id(), socket.socket_type() as u8);
        let line = format!(
            "{id:016x}: {references:08X} 00000000 {flags:08X} {kind:04X} {state:02X} {inode:5}"
        );
        out.extend(line.bytes());
        match socket.local_address() {
            Address::Unix(UnixAddress::Path { path, .. }) => {
                out.push(b' ');
                out.extend(path);
            }
            Address::Unix(UnixAddress::Abstract(name)) => {
                out.extend(b" @");
                out.extend(
                    name.iter()
                        .map(|byte| if *byte == 0 { b'@' } else { *byte }),
                );
            }
            _ => {}
        }
        out.push(b'\n');
    }
    Ok(out)
}

fn netlink() -> String {
    let mut out = String::from(
        "sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode\n",
    );
    for socket in registry::all() {
        let Address::Netlink { port, groups } = socket.local_address() else {
            continue;
        };
        let (id, protocol) = (socket.entry().id(), socket.protocol());
        let (waiting, inode) = (socket.queued().0, socket.options().lock().inode);
        let _ = writeln!(
            out,
            "{id:016x} {protocol:<3} {port:<10} {groups:08x} {waiting:<8} {:<8} {:<5} {:<8} {:<8} {inode:<8}",
            0, 0, 2, 0
        );
    }
    out
}

fn route() -> String {
    const WIDTH: usize = 127;
    let mut out = padded(
        "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT",
        WIDTH,
    );
    for route in ROUTES.iter().filter(|route| route.table == TABLE_MAIN) {
        if route.to.is_ipv6() {
            continue;
        }
        let mask = u32::MAX
            .checked_shl(32 - u32::from(route.bits))
            .unwrap_or(0);
        let line = format!(
            "lo\t{}\t00000000\t0001\t0\t0\t{}\t{:08X}\t0\t0\t0",
            hex(family::INET, route.to),
            route.metric,
            mask.to_be(),
        );
        out += &padded(&line, WIDTH);
    }
    out
}

fn ipv6_route() -> String {
    /// RTF_UP, RTF_NONEXTHOP, RTF_LOCAL.
    const UP: u32 = 1;
    const DIRECT: u32 = 0x20_0000;
    const LOCAL: u32 = 0x8000_0000;
    let none = "00000000000000000000000000000000";
    let mut out = String::new();
    for route in &ROUTES {
        let IpAddr::V6(to) = route.to else { continue };
        let flags = match (route.kind, route.table) {
            (RouteKind::Local, TABLE_LOCAL) => UP | DIRECT | LOCAL,
            _ => UP,
        };
        let to = to.octets().iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        });
        let _ = writeln!(
            out,
            "{to} {:02x} {none} 00 {none} {:08x} {:08x} {:08x} {flags:08x} {:>8}",
            route.bits, route.metric, 1, 0, "lo"
        );
    }
    out
}

fn igmp() -> String {
    let groups: Vec<_> = multicast::memberships()
        .into_iter()
        .filter(|(group, _)| group.is_ipv4())
        .collect();
    let mut out = String::from("Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n");
    let _ = writeln!(out, "{INDEX}\t{:<10}: {:5}      V3", "lo", groups.len());
    // The newest first, as Linux lists them.
    for (group, users) in groups.iter().rev() {
        let group = hex(family::INET, *group);
        let _ = writeln!(out, "\t\t\t\t{group} {users:5} 0:00000000\t\t0");
    }
    out
}

fn igmp6() -> String {
    let mut out = String::new();
    for (group, users) in multicast::memberships().iter().rev() {
        let IpAddr::V6(group) = group else { continue };
        let _ = write!(out, "{INDEX:<4} {:<15} ", "lo");
        for byte in group.octets() {
            let _ = write!(out, "{byte:02x}");
        }
        let _ = writeln!(out, " {users:5} 00000004 0");
    }
    out
}

fn count(domain: u16, protocol: u32) -> usize {
    sockets(domain, protocol).count()
}

fn sockstat() -> String {
    let tcp = count(family::INET, 6);
    let made = registry::all()
        .iter()
        .filter(|socket| socket.protocol() == 6)
        .count();
    let pages: usize = registry::all()
        .iter()
        .filter(|socket| socket.protocol() == 6)
        .map(|socket| socket.queued().0.div_ceil(4096))
        .sum();
    format!(
        "sockets: used {}\nTCP: inuse {tcp} orphan 0 tw 0 alloc {made} mem {pages}\nUDP: inuse {} mem 0\n\
         UDPLITE: inuse 0\nRAW: inuse 0\nFRAG: inuse 0 memory 0\n",
        registry::all().len(),
        count(family::INET, 17),
    )
}

fn sockstat6() -> String {
    format!(
        "TCP6: inuse {}\nUDP6: inuse {}\nUDPLITE6: inuse 0\nRAW6: inuse 0\nFRAG6: inuse 0 memory 0\n",
        count(family::INET6, 6),
        count(family::INET6, 17),
    )
}

/// Two lines of names and numbers with the same word in front.
fn table(out: &mut String, title: &str, columns: &[(&str, i64)]) {
    let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
    let numbers: Vec<String> = columns.iter().map(|(_, n)| format!("{n}")).collect();
    let _ = writeln!(out, "{title}: {}", names.join(" "));
    let _ = writeln!(out, "{title}: {}", numbers.join(" "));
}

/// Those of `names` that are counted here, and 0 for what never happens inside one VM.
fn row<'a>(names: &'a str, counted: &[(&str, i64)]) -> Vec<(&'a str, i64)> {
    let value = |name: &str| counted.iter().find(|(known, _)| *known == name);
    names
        .split(' ')
        .map(|name| (name, value(name).map_or(0, |(_, n)| *n)))
        .collect()
}

fn established() -> i64 {
    let all = registry::all();
    let open = all.iter().filter(|socket| {
        let state = socket.connection_state();
        socket.protocol() == 6
            && matches!(
                state,
                ConnectionState::Established | ConnectionState::CloseWait
            )
    });
    open.count() as i64
}

fn snmp() -> String {
    let mut out = String::new();
    let get = |counter: &counters::Counter| counter.get() as i64;
    let packets = get(&counters::PACKETS) - get(&counters::PACKETS6);
    table(
        &mut out,
        "Ip",
        &row(
            "Forwarding DefaultTTL InReceives InHdrErrors InAddrErrors ForwDatagrams InUnknownProtos InDiscards InDelivers OutRequests OutDiscards OutNoRoutes ReasmTimeout ReasmReqds ReasmOKs ReasmFails FragOKs FragFails FragCreates OutTransmits",
            &[
                ("Forwarding", 2),
                ("DefaultTTL", 64),
                ("InReceives", packets),
                ("InDelivers", packets),
                ("OutRequests", packets),
                ("OutNoRoutes", get(&counters::NO_ROUTES)),
                ("OutTransmits", packets),
            ],
        ),
    );
    table(
        &mut out,
        "Icmp",
        &row(
            "InMsgs InErrors InCsumErrors InDestUnreachs InTimeExcds InParmProbs InSrcQuenchs InRedirects InEchos InEchoReps InTimestamps InTimestampReps InAddrMasks InAddrMaskReps OutMsgs OutErrors OutRateLimitGlobal OutRateLimitHost OutDestUnreachs OutTimeExcds OutParmProbs OutSrcQuenchs OutRedirects OutEchos OutEchoReps OutTimestamps OutTimestampReps OutAddrMasks OutAddrMaskReps",
            &[
                ("InMsgs", get(&counters::UDP_NO_PORT)),
                ("InDestUnreachs", get(&counters::UDP_NO_PORT)),
                ("OutMsgs", get(&counters::UDP_NO_PORT)),
                ("OutDestUnreachs", get(&counters::UDP_NO_PORT)),
            ],
        ),
    );
    let segments = get(&counters::TCP_SEGMENTS);
    table(
        &mut out,
        "Tcp",
        &row(
            "RtoAlgorithm RtoMin RtoMax MaxConn ActiveOpens PassiveOpens AttemptFails EstabResets CurrEstab InSegs OutSegs RetransSegs InErrs OutRsts InCsumErrors",
            &[
                ("RtoAlgorithm", 1),
                ("RtoMin", 200),
                ("RtoMax", 120_000),
                ("MaxConn", -1),
                ("ActiveOpens", get(&counters::TCP_ACTIVE)),
                ("PassiveOpens", get(&counters::TCP_PASSIVE)),
                ("AttemptFails", get(&counters::TCP_FAILS)),
                ("EstabResets", get(&counters::TCP_RESETS)),
                ("CurrEstab", established()),
                ("InSegs", segments),
                ("OutSegs", segments),
                ("OutRsts", get(&counters::TCP_RST)),
            ],
        ),
    );
    let full = get(&counters::UDP_FULL);
    let names = "InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors InCsumErrors IgnoredMulti MemErrors";
    table(
        &mut out,
        "Udp",
        &row(
            names,
            &[
                ("InDatagrams", get(&counters::UDP_IN)),
                ("NoPorts", get(&counters::UDP_NO_PORT)),
                ("InErrors", full),
                ("OutDatagrams", get(&counters::UDP_OUT)),
                ("RcvbufErrors", full),
            ],
        ),
    );
    table(&mut out, "UdpLite", &row(names, &[]));
    out
}

fn snmp6() -> String {
    let (packets, bytes) = (counters::PACKETS6.get(), counters::BYTES6.get());
    [
        ("Ip6InReceives", packets),
        ("Ip6InDelivers", packets),
        ("Ip6OutRequests", packets),
        ("Ip6InOctets", bytes),
        ("Ip6OutOctets", bytes),
    ]
    .iter()
    .fold(String::new(), |mut out, (name, value)| {
        let _ = writeln!(out, "{name:<32}\t{value}");
        out
    })
}

fn netstat() -> String {
    let get = |counter: &counters::Counter| counter.get() as i64;
    let bytes = get(&counters::BYTES) - get(&counters::BYTES6);
    let mut out = String::new();
    let resets = get(&counters::TCP_RST);
    table(
        &mut out,
        "TcpExt",
        &row(
            "SyncookiesSent EmbryonicRsts PruneCalled TW DelayedACKs ListenOverflows ListenDrops TCPAbortOnData TCPAbortOnClose",
            &[("TCPAbortOnClose", resets)],
        ),
    );
    let groups = get(&counters::MULTICAST);
    table(
        &mut out,
        "IpExt",
        &row(
            "InNoRoutes InTruncatedPkts InMcastPkts OutMcastPkts InBcastPkts OutBcastPkts InOctets OutOctets",
            &[
                ("InMcastPkts", groups),
                ("OutMcastPkts", groups),
                ("InOctets", bytes),
                ("OutOctets", bytes),
            ],
        ),
    );
    out
}

fn protocols() -> String {
    let mut out = String::from(
        "protocol  size sockets  memory press maxhdr  slab module     cl co di ac io in de sh ss gs se re bi br ha uh gp em\n",
    );
    let all = registry::all();
    let of = |domain: u16, kind: Kind, stream: Option<bool>| {
        let these = all.iter().filter(|socket| {
            socket.domain() == domain
                && socket.options().lock().kind() == kind
                && stream
                    .is_none_or(|stream| (socket.socket_type() == SocketType::Stream) == stream)
        });
        these.count()
    };
    let rows = [
        (
            "UDPv6",
            1472,
            of(family::INET6, Kind::Udp, None),
            0,
            "NI",
            0,
            "y  y  y  n  y  y  y  n  y  y  y  y  n  n  y  y  y  n",
        ),
        (
            "TCPv6",
            2432,
            of(family::INET6, Kind::Tcp, None),
            0,
            "no",
            192,
            "y  y  y  y  y  y  y  y  y  y  y  y  n  y  y  y  y  y",
        ),
        (
            "UNIX-STREAM",
            1152,
            of(family::UNIX, Kind::Unix, Some(true)),
            -1,
            "NI",
            0,
            "y  n  n  n  n  n  n  n  n  n  n  n  n  n  n  n  n  n",
        ),
        (
            "UNIX",
            1152,
            of(family::UNIX, Kind::Unix, Some(false)),
            -1,
            "NI",
            0,
            "y  n  n  n  n  n  n  n  n  n  n  n  n  n  n  n  n  n",
        ),
        (
            "UDP",
            1344,
            of(family::INET, Kind::Udp, None),
            0,
            "NI",
            0,
            "y  y  y  n  y  y  y  n  y  y  y  y  n  n  y  y  y  n",
        ),
        (
            "TCP",
            2304,
            of(family::INET, Kind::Tcp, None),
            0,
            "no",
            192,
            "y  y  y  y  y  y  y  y  y  y  y  y  n  y  y  y  y  y",
        ),
        (
            "NETLINK",
            1080,
            of(family::NETLINK, Kind::Netlink, None),
            -1,
            "NI",
            0,
            "n  n  n  n  n  n  n  n  n  n  n  n  n  n  n  n  n  n",
        ),
    ];
    for (name, size, sockets, memory, press, header, calls) in rows {
        let _ = writeln!(
            out,
            "{name:<9} {size:4} {sockets:6}  {memory:6}   {press:<3} {header:6}   {:<4} {:<10} {calls}",
            "yes", "kernel"
        );
    }
    out
}

fn line(value: impl core::fmt::Display) -> Result<Vec<u8>> {
    Ok(format!("{value}\n").into_bytes())
}

macro_rules! statistics {
    ($($name:literal = $value:expr,)*) => {
        &[
            $((concat!("devices/virtual/net/lo/statistics/", $name), Text(|| line($value))),)*
        ]
    };
}

/// `/sys/class/net` and what it links to.
pub(super) static SYS_FILES: &[(&str, Content)] = &[
    (
        "class/net/lo",
        Content::Link(|| Ok(b"../../devices/virtual/net/lo".to_vec())),
    ),
    ("devices/virtual/net/lo/addr_assign_type", Text(|| line(0))),
    ("devices/virtual/net/lo/addr_len", Text(|| line(6))),
    (
        "devices/virtual/net/lo/address",
        Text(|| line("00:00:00:00:00:00")),
    ),
    (
        "devices/virtual/net/lo/broadcast",
        Text(|| line("00:00:00:00:00:00")),
    ),
    ("devices/virtual/net/lo/carrier", Text(|| line(1))),
    ("devices/virtual/net/lo/carrier_changes", Text(|| line(0))),
    ("devices/virtual/net/lo/dev_id", Text(|| line("0x0"))),
    ("devices/virtual/net/lo/dev_port", Text(|| line(0))),
    ("devices/virtual/net/lo/dormant", Text(|| line(0))),
    (
        "devices/virtual/net/lo/flags",
        Text(|| line(format!("{:#x}", interface::FLAGS & !interface::RUNNING))),
    ),
    ("devices/virtual/net/lo/ifalias", Text(|| Ok(Vec::new()))),
    ("devices/virtual/net/lo/ifindex", Text(|| line(INDEX))),
    ("devices/virtual/net/lo/iflink", Text(|| line(INDEX))),
    ("devices/virtual/net/lo/link_mode", Text(|| line(0))),
    ("devices/virtual/net/lo/mtu", Text(|| line(interface::MTU))),
    ("devices/virtual/net/lo/name_assign_type", Text(|| line(2))),
    ("devices/virtual/net/lo/netdev_group", Text(|| line(0))),
    ("devices/virtual/net/lo/operstate", Text(|| line("unknown"))),
    ("devices/virtual/net/lo/proto_down", Text(|| line(0))),
    (
        "devices/virtual/net/lo/subsystem",
        Content::Link(|| Ok(b"../../../../class/net".to_vec())),
    ),
    (
        "devices/virtual/net/lo/tx_queue_len",
        Text(|| line(interface::QUEUE)),
    ),
    (
        "devices/virtual/net/lo/type",
        Text(|| line(interface::HARDWARE)),
    ),
    (
        "devices/virtual/net/lo/uevent",
        Text(|| line("INTERFACE=lo\nIFINDEX=1")),
    ),
];

/// Its counters: nothing here is ever lost or broken, so most never change.
pub(super) static STATISTICS: &[(&str, Content)] = statistics! {
    "collisions" = 0,
    "multicast" = 0,
    "rx_bytes" = counters::BYTES.get(),
    "rx_compressed" = 0,
    "rx_crc_errors" = 0,
    "rx_dropped" = 0,
    "rx_errors" = 0,
    "rx_fifo_errors" = 0,
    "rx_frame_errors" = 0,
    "rx_length_errors" = 0,
    "rx_missed_errors" = 0,
    "rx_nohandler" = 0,
    "rx_over_errors" = 0,
    "rx_packets" = counters::PACKETS.get(),
    "tx_aborted_errors" = 0,
    "tx_bytes" = counters::BYTES.get(),
    "tx_carrier_errors" = 0,
    "tx_compressed" = 0,
    "tx_dropped" = 0,
    "tx_errors" = 0,
    "tx_fifo_errors" = 0,
    "tx_heartbeat_errors" = 0,
    "tx_packets" = counters::PACKETS.get(),
    "tx_window_errors" = 0,
};

//! Socket options.
//!
//! Most options of Linux are a number that a program sets and reads back: those are rows of
//! [`KNOWN`], with the sockets they apply to, their default and their range. Few of them change how
//! sockets inside one VM behave; these have accessors. What is computed (SO_ERROR, SO_TYPE, ...) or
//! is not a number is in [`get`] and [`set`].

use crate::errno::{Errno, Result};
use crate::net::address::family;
use crate::net::inet::multicast::{self, Multicast};
use crate::net::inet::udp::UdpSocket;
use crate::net::socket::{Credentials, Socket};
use crate::time::{NSEC_PER_SEC, monotonic_ns};
use alloc::vec::Vec;

/// Option levels.
#[allow(missing_docs)]
pub mod level {
    pub const IP: i32 = 0;
    pub const SOCKET: i32 = 1;
    pub const TCP: i32 = 6;
    pub const UDP: i32 = 17;
    pub const IPV6: i32 = 41;
    pub const NETLINK: i32 = 270;
}

/// Options of SOL_SOCKET that mean something here.
#[allow(missing_docs)]
mod so {
    pub const REUSEADDR: i32 = 2;
    pub const TYPE: i32 = 3;
    pub const ERROR: i32 = 4;
    pub const BROADCAST: i32 = 6;
    pub const SNDBUF: i32 = 7;
    pub const RCVBUF: i32 = 8;
    pub const OOBINLINE: i32 = 10;
    pub const LINGER: i32 = 13;
    pub const REUSEPORT: i32 = 15;
    pub const PASSCRED: i32 = 16;
    pub const PEERCRED: i32 = 17;
    pub const RCVTIMEO: i32 = 20;
    pub const SNDTIMEO: i32 = 21;
    pub const ACCEPTCONN: i32 = 30;
    pub const SNDBUFFORCE: i32 = 32;
    pub const RCVBUFFORCE: i32 = 33;
    pub const PROTOCOL: i32 = 38;
    pub const DOMAIN: i32 = 39;
    pub const RCVTIMEO_NEW: i32 = 66;
    pub const SNDTIMEO_NEW: i32 = 67;
}

/// IPV6_V6ONLY.
const V6ONLY: i32 = 26;
/// IP_MULTICAST_ALL and IPV6_MULTICAST_ALL.
const MULTICAST_ALL: i32 = 49;
const MULTICAST_ALL6: i32 = 29;
/// UDP_CORK.
const UDP_CORK: i32 = 1;
/// TCP_INFO.
const TCP_INFO: i32 = 11;
/// TCP_CONGESTION.
const TCP_CONGESTION: i32 = 13;

/// What options tell sockets apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// AF_UNIX.
    Unix = 1,
    /// TCP.
    Tcp = 2,
    /// UDP.
    Udp = 4,
    /// AF_NETLINK.
    Netlink = 8,
}

/// Sockets an option applies to, as bits.
const ANY: u8 = UNIX | TCP | UDP | NETLINK;
const UNIX: u8 = Kind::Unix as u8;
const TCP: u8 = Kind::Tcp as u8;
const UDP: u8 = Kind::Udp as u8;
const NETLINK: u8 = Kind::Netlink as u8;
const INET: u8 = TCP | UDP;

/// How a value is kept.
#[derive(Clone, Copy)]
enum Rule {
    /// As 0 or 1.
    Bool,
    /// As it is, if in the range; else EINVAL.
    Range(i32, i32),
    /// Like Range, and -1 means the default.
    RangeOrDefault(i32, i32),
    /// Only read.
    ReadOnly,
    /// A buffer size: doubled, and clamped from below.
    Size(i32),
}
use Rule::{Bool, Range, RangeOrDefault, ReadOnly, Size};

struct Known {
    level: i32,
    name: i32,
    sockets: u8,
    default: i32,
    rule: Rule,
}

const fn row(level: i32, name: i32, sockets: u8, default: i32, rule: Rule) -> Known {
    Known {
        level,
        name,
        sockets,
        default,
        rule,
    }
}

const ANY_INT: Rule = Range(i32::MIN, i32::MAX);
/// Default of SO_SNDBUF and SO_RCVBUF (`net.core.wmem_default`).
const BUFFER: i32 = 212_992;
/// What a TCP buffer grows to by itself.
const ADAPTED: usize = 512 << 10;
/// Largest value SO_SNDBUF takes, before doubling (`net.core.wmem_max`).
const BUFFER_MAX: i32 = 212_992;

/// Options that are a number (include/uapi/asm-generic/socket.h, linux/{tcp,in,in6,netlink}.h).
static KNOWN: &[Known] = &[
    row(level::SOCKET, 1, ANY, 0, Bool), // DEBUG
    row(level::SOCKET, so::REUSEADDR, ANY, 0, Bool),
    row(level::SOCKET, 5, ANY, 0, Bool), // DONTROUTE
    row(level::SOCKET, so::BROADCAST, ANY, 0, Bool),
    row(
        level::SOCKET,
        so::SNDBUF,
        UNIX | UDP | NETLINK,
        BUFFER,
        Size(4608),
    ),
    row(
        level::SOCKET,
        so::RCVBUF,
        UNIX | UDP | NETLINK,
        BUFFER,
        Size(2304),
    ),
    row(level::SOCKET, so::SNDBUF, TCP, 16_384, Size(4608)),
    row(level::SOCKET, so::RCVBUF, TCP, 131_072, Size(2304)),
    row(level::SOCKET, 9, ANY, 0, Bool), // KEEPALIVE
    row(level::SOCKET, so::OOBINLINE, ANY, 0, Bool),
    row(level::SOCKET, 11, ANY, 0, Bool),    // NO_CHECK
    row(level::SOCKET, 12, ANY, 0, ANY_INT), // PRIORITY
    row(level::SOCKET, so::REUSEPORT, ANY, 0, Bool),
    row(level::SOCKET, so::PASSCRED, UNIX | NETLINK, 0, Bool),
    row(level::SOCKET, 18, ANY, 1, Range(0, i32::MAX)), // RCVLOWAT
    row(level::SOCKET, 19, ANY, 1, ReadOnly),           // SNDLOWAT
    row(level::SOCKET, 29, ANY, 0, Bool),               // TIMESTAMP
    row(level::SOCKET, 35, ANY, 0, Bool),               // TIMESTAMPNS
    row(level::SOCKET, 36, ANY, 0, ANY_INT),            // MARK
    row(level::SOCKET, 40, ANY, 0, Bool),               // RXQ_OVFL
    row(level::SOCKET, 46, ANY, 0, Range(0, i32::MAX)), // BUSY_POLL
    row(level::SOCKET, 49, ANY, 0, ANY_INT),            // INCOMING_CPU
    row(level::TCP, 1, TCP, 0, Bool),                   // NODELAY
    row(level::TCP, 2, TCP, 536, Range(88, 32_767)),    // MAXSEG
    row(level::TCP, 3, TCP, 0, Bool),                   // CORK
    row(level::TCP, 4, TCP, 7200, Range(1, 32_767)),    // KEEPIDLE
    row(level::TCP, 5, TCP, 75, Range(1, 32_767)),      // KEEPINTVL
    row(level::TCP, 6, TCP, 9, Range(1, 127)),          // KEEPCNT
    row(level::TCP, 7, TCP, 6, Range(1, 127)),          // SYNCNT
    row(level::TCP, 8, TCP, 60, Range(-1, 120)),        // LINGER2
    row(level::TCP, 9, TCP, 0, ANY_INT),                // DEFER_ACCEPT
    row(level::TCP, 10, TCP, 0, ANY_INT),               // WINDOW_CLAMP
    row(level::TCP, 12, TCP, 1, Bool),                  // QUICKACK
    row(level::TCP, 18, TCP, 0, Range(0, i32::MAX)),    // USER_TIMEOUT
    row(level::TCP, 23, TCP, 0, Range(0, i32::MAX)),    // FASTOPEN
    row(level::TCP, 25, TCP, -1, ANY_INT),              // NOTSENT_LOWAT
    row(level::TCP, 30, TCP, 0, Bool),                  // FASTOPEN_CONNECT
    row(level::UDP, UDP_CORK, UDP, 0, Bool),
    row(level::IP, 1, INET, 0, Range(0, 255)), // TOS
    row(level::IP, 2, INET, 64, RangeOrDefault(1, 255)), // TTL
    row(level::IP, 8, INET, 0, Bool),          // PKTINFO
    row(level::IP, 10, INET, 1, Range(0, 5)),  // MTU_DISCOVER
    row(level::IP, 11, INET, 0, Bool),         // RECVERR
    row(level::IP, 12, INET, 0, Bool),         // RECVTTL
    row(level::IP, 13, INET, 0, Bool),         // RECVTOS
    row(level::IP, 14, INET, 65_536, ReadOnly), // MTU
    row(level::IP, 15, INET, 0, Bool),         // FREEBIND
    row(level::IP, 24, INET, 0, Bool),         // BIND_ADDRESS_NO_PORT
    row(level::IP, 33, INET, 1, RangeOrDefault(0, 255)), // MULTICAST_TTL
    row(level::IP, 34, INET, 1, Bool),         // MULTICAST_LOOP
    row(level::IP, MULTICAST_ALL, INET, 1, Range(0, 1)),
    row(level::IPV6, 16, INET, 64, RangeOrDefault(0, 255)), // UNICAST_HOPS
    row(level::IPV6, 18, INET, 1, RangeOrDefault(0, 255)),  // MULTICAST_HOPS
    row(level::IPV6, 19, INET, 1, Range(0, 1)),             // MULTICAST_LOOP
    row(level::IPV6, MULTICAST_ALL6, INET, 1, Bool),
    row(level::IPV6, 23, INET, 1, Range(0, 5)), // MTU_DISCOVER
    row(level::IPV6, 24, INET, 65_536, ReadOnly), // MTU
    row(level::IPV6, 25, INET, 0, Bool),        // RECVERR
    row(level::IPV6, V6ONLY, INET, 0, Bool),
    row(level::IPV6, 49, INET, 0, Bool), // RECVPKTINFO
    row(level::IPV6, 51, INET, 0, Bool), // RECVHOPLIMIT
    row(level::IPV6, 66, INET, 0, Bool), // RECVTCLASS
    row(level::IPV6, 67, INET, 0, RangeOrDefault(0, 255)), // TCLASS
    row(level::NETLINK, 3, NETLINK, 0, Bool), // PKTINFO
    row(level::NETLINK, 10, NETLINK, 0, Bool), // CAP_ACK
    row(level::NETLINK, 11, NETLINK, 0, Bool), // EXT_ACK
    row(level::NETLINK, 12, NETLINK, 0, Bool), // GET_STRICT_CHK
];

/// Option values of one socket.
#[derive(Clone)]
pub struct Options {
    kind: Kind,
    /// Those that differ from their default.
    set: Vec<(i32, i32, i32)>,
    /// SO_RCVTIMEO in ns.
    receive_timeout: Option<u64>,
    /// SO_SNDTIMEO in ns.
    send_timeout: Option<u64>,
    /// SO_LINGER: seconds.
    linger: Option<u32>,
    /// Who made the socket.
    pub owner: Credentials,
    /// Inode number of the file it is behind; 0: none yet.
    pub inode: u64,
    /// Groups and interfaces of multicast.
    pub multicast: Multicast,
}

impl Options {
    /// All at their default.
    pub fn new(kind: Kind, owner: Credentials) -> Options {
        Options {
            kind,
            set: Vec::new(),
            receive_timeout: None,
            send_timeout: None,
            linger: None,
            owner,
            inode: 0,
            multicast: Multicast::default(),
        }
    }

    /// What kind of socket they are of.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    fn explicit(&self, level: i32, name: i32) -> Option<i32> {
        self.set
            .iter()
            .find(|(l, n, _)| (*l, *n) == (level, name))
            .map(|(_, _, value)| *value)
    }

    fn value(&self, level: i32, name: i32) -> i32 {
        let default = || row_of(self.kind, level, name).map(|known| known.default);
        self.explicit(level, name)
            .or_else(default)
            .unwrap_or_default()
    }

    fn store(&mut self, level: i32, name: i32, value: i32) {
        match self
            .set
            .iter_mut()
            .find(|(l, n, _)| (*l, *n) == (level, name))
        {
            Some(found) => found.2 = value,
            None => self.set.push((level, name, value)),
        }
    }

    fn flag(&self, name: i32) -> bool {
        self.value(level::SOCKET, name) != 0
    }

    /// SO_REUSEADDR.
    pub fn reuse_address(&self) -> bool {
        self.flag(so::REUSEADDR)
    }

    /// SO_REUSEPORT.
    pub fn reuse_port(&self) -> bool {
        self.flag(so::REUSEPORT)
    }

    /// SO_BROADCAST.
    pub fn broadcast(&self) -> bool {
        self.flag(so::BROADCAST)
    }

    /// SO_OOBINLINE.
    pub fn urgent_inline(&self) -> bool {
        self.flag(so::OOBINLINE)
    }

    /// SO_PASSCRED.
    pub fn pass_credentials(&self) -> bool {
        self.flag(so::PASSCRED)
    }

    /// IPV6_V6ONLY.
    pub fn v6_only(&self) -> bool {
        self.value(level::IPV6, V6ONLY) != 0
    }

    /// IP_MULTICAST_ALL, or IPV6_MULTICAST_ALL.
    pub fn multicast_all(&self, ipv6: bool) -> bool {
        match ipv6 {
            false => self.value(level::IP, MULTICAST_ALL) != 0,
            true => self.value(level::IPV6, MULTICAST_ALL6) != 0,
        }
    }

    /// UDP_CORK.
    pub fn corked(&self) -> bool {
        self.value(level::UDP, UDP_CORK) != 0
    }

    /// What a connection that a listener makes has of the listener's options.
    pub fn inherited(&self) -> Options {
        Options {
            inode: 0,
            multicast: Multicast::default(),
            ..self.clone()
        }
    }

    /// SO_LINGER of 0 seconds: closing resets.
    pub fn reset_on_close(&self) -> bool {
        self.linger == Some(0)
    }

    /// SO_SNDBUF.
    pub fn send_buffer(&self) -> usize {
        self.value(level::SOCKET, so::SNDBUF) as usize
    }

    /// SO_RCVBUF.
    pub fn receive_buffer(&self) -> usize {
        self.value(level::SOCKET, so::RCVBUF) as usize
    }

    /// Bytes a TCP connection may have on their way for its sender: Linux adapts a buffer's size to
    /// the connection unless it was set.
    pub fn send_window(&self) -> usize {
        self.explicit(level::SOCKET, so::SNDBUF)
            .map_or(ADAPTED, |size| size as usize)
    }

    /// The same for its receiver.
    pub fn receive_window(&self) -> usize {
        self.explicit(level::SOCKET, so::RCVBUF)
            .map_or(ADAPTED, |size| size as usize)
    }

    /// When a receive that starts now times out.
    pub fn receive_deadline(&self) -> Option<u64> {
        self.receive_timeout
            .map(|ns| monotonic_ns().saturating_add(ns))
    }

    /// When a send (or connect) that starts now times out.
    pub fn send_deadline(&self) -> Option<u64> {
        self.send_timeout
            .map(|ns| monotonic_ns().saturating_add(ns))
    }
}

fn row_of(kind: Kind, level: i32, name: i32) -> Option<&'static Known> {
    KNOWN
        .iter()
        .find(|known| (known.level, known.name) == (level, name) && known.sockets & kind as u8 != 0)
}

/// The row of an option, or the error that Linux's layers of protocols answer for want of one:
/// `foreign` for a level that is none of the socket's.
fn known(
    socket: &dyn Socket,
    kind: Kind,
    level: i32,
    name: i32,
    foreign: Errno,
) -> Result<&'static Known> {
    let ipv6 = socket.domain() == family::INET6;
    let own = match (kind, level) {
        (_, level::SOCKET) => true,
        (Kind::Unix, _) => return Err(Errno::EOPNOTSUPP),
        (Kind::Tcp, level::TCP) | (Kind::Udp, level::UDP) => true,
        (Kind::Tcp | Kind::Udp, level::IP) => true,
        (Kind::Tcp | Kind::Udp, _) => ipv6,
        (Kind::Netlink, _) => true,
    };
    if !own {
        return Err(foreign);
    }
    row_of(kind, level, name).ok_or(Errno::ENOPROTOOPT)
}

fn int(bytes: &[u8]) -> Result<i32> {
    bytes
        .first_chunk()
        .map(|bytes| i32::from_ne_bytes(*bytes))
        .ok_or(Errno::EINVAL)
}

/// A `struct timeval` as a timeout; zero: none.
fn timeout(bytes: &[u8]) -> Result<Option<u64>> {
    let (sec, usec) = match bytes.first_chunk::<16>() {
        Some([s @ .., _, _, _, _, _, _, _, _]) => (*s, bytes.get(8..16)),
        None => return Err(Errno::EINVAL),
    };
    let sec = i64::from_ne_bytes(sec);
    let usec = usec
        .and_then(|usec| usec.first_chunk())
        .map_or(0, |usec| i64::from_ne_bytes(*usec));
    if !(0..1_000_000).contains(&usec) {
        return Err(Errno::EDOM);
    }
    match u64::try_from(sec) {
        // Negative: Linux takes it as a timeout that is over at once.
        Err(_) => Ok(Some(0)),
        Ok(sec) => {
            let ns = sec
                .saturating_mul(NSEC_PER_SEC)
                .saturating_add(usec as u64 * 1000);
            Ok((ns > 0).then_some(ns))
        }
    }
}

fn timeval(timeout: Option<u64>) -> Vec<u8> {
    let ns = timeout.unwrap_or(0);
    let words = [ns / NSEC_PER_SEC, ns % NSEC_PER_SEC / 1000];
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

/// setsockopt.
pub fn set(socket: &dyn Socket, level: i32, name: i32, value: &[u8]) -> Result<()> {
    // Asked first: the socket's state is locked before its options.
    let bound = (level, name) == (level::IPV6, V6ONLY) && is_bound(socket);
    let kind = socket.options().lock().kind;
    if let Some(done) = multicast::set(socket, kind, level, name, value) {
        return done;
    }
    if level == level::SOCKET {
        // Looked at before the name.
        int(value)?;
    }
    let mut options = socket.options().lock();
    match (level, name) {
        (level::SOCKET, so::LINGER) => {
            let on = int(value)?;
            let seconds = int(value.get(4..).unwrap_or_default())?;
            options.linger = (on != 0).then_some(seconds as u32);
            return Ok(());
        }
        (level::SOCKET, so::RCVTIMEO | so::RCVTIMEO_NEW) => {
            options.receive_timeout = timeout(value)?;
            return Ok(());
        }
        (level::SOCKET, so::SNDTIMEO | so::SNDTIMEO_NEW) => {
            options.send_timeout = timeout(value)?;
            return Ok(());
        }
        (level::SOCKET, so::REUSEPORT) if kind == Kind::Unix => return Err(Errno::EOPNOTSUPP),
        (level::SOCKET, so::SNDBUFFORCE | so::RCVBUFFORCE) => {
            let name = if name == so::SNDBUFFORCE {
                so::SNDBUF
            } else {
                so::RCVBUF
            };
            let size = int(value)?.clamp(2304, BUFFER_MAX * 16);
            options.store(level, name, size * 2);
            return Ok(());
        }
        (
            level::SOCKET,
            so::TYPE | so::ERROR | so::ACCEPTCONN | so::PROTOCOL | so::DOMAIN | so::PEERCRED,
        ) => return Err(Errno::ENOPROTOOPT),
        (level::TCP, TCP_CONGESTION) if kind == Kind::Tcp => {
            // The one algorithm there is to name.
            return if value.starts_with(b"cubic") {
                Ok(())
            } else {
                Err(Errno::ENOENT)
            };
        }
        _ => {}
    }
    let known = known(socket, kind, level, name, Errno::ENOPROTOOPT)?;
    // Options of IP also come as a single byte.
    let value = match (level, value) {
        (level::IP, [byte, rest @ ..]) if rest.len() < 3 => i32::from(*byte),
        _ => int(value)?,
    };
    let value = match known.rule {
        Bool => i32::from(value != 0),
        Range(low, high) | RangeOrDefault(low, high) if (low..=high).contains(&value) => value,
        RangeOrDefault(..) if value == -1 => known.default,
        Size(least) => value.clamp(0, BUFFER_MAX).saturating_mul(2).max(least),
        Range(..) | RangeOrDefault(..) => return Err(Errno::EINVAL),
        ReadOnly => return Err(Errno::ENOPROTOOPT),
    };
    if bound {
        return Err(Errno::EINVAL);
    }
    options.store(level, name, value);
    drop(options);
    if (level, name) == (level::UDP, UDP_CORK)
        && value == 0
        && let Some(udp) = socket.as_any().downcast_ref::<UdpSocket>()
    {
        return udp.uncork();
    }
    Ok(())
}

fn is_bound(socket: &dyn Socket) -> bool {
    match socket.local_address() {
        crate::net::address::Address::Inet(addr) => addr.port() != 0,
        _ => false,
    }
}

/// Whether getsockopt reads the program's buffer first.
pub fn asks(level: i32, name: i32) -> bool {
    multicast::asks(level, name)
}

/// getsockopt: the value's bytes, for the caller to cut to the program's length. `input`: what the
/// program's buffer has, which some options are a question in.
pub fn get(socket: &dyn Socket, level: i32, name: i32, input: &[u8]) -> Result<Vec<u8>> {
    let number = |value: i32| Ok(value.to_ne_bytes().to_vec());
    let options = || socket.options().lock();
    let kind = options().kind;
    if let Some(answer) = multicast::get(socket, kind, level, name, input) {
        return answer;
    }
    match (level, name) {
        (level::SOCKET, so::TYPE) => number(socket.socket_type() as i32),
        (level::SOCKET, so::ERROR) => number(socket.take_error().map_or(0, Errno::code)),
        (level::SOCKET, so::ACCEPTCONN) => number(socket.listening().into()),
        (level::SOCKET, so::PROTOCOL) => number(socket.protocol() as i32),
        (level::SOCKET, so::DOMAIN) => number(socket.domain().into()),
        (level::SOCKET, so::LINGER) => {
            let linger = options().linger;
            let words = [u32::from(linger.is_some()), linger.unwrap_or(0)];
            Ok(words.iter().flat_map(|word| word.to_ne_bytes()).collect())
        }
        (level::SOCKET, so::RCVTIMEO | so::RCVTIMEO_NEW) => Ok(timeval(options().receive_timeout)),
        (level::SOCKET, so::SNDTIMEO | so::SNDTIMEO_NEW) => Ok(timeval(options().send_timeout)),
        (level::SOCKET, so::PEERCRED) => {
            let nobody = Credentials {
                pid: 0,
                uid: u32::MAX,
                gid: u32::MAX,
            };
            let peer = socket.peer_credentials().unwrap_or(nobody);
            Ok([peer.pid, peer.uid, peer.gid]
                .iter()
                .flat_map(|word| word.to_ne_bytes())
                .collect())
        }
        (level::TCP, TCP_CONGESTION) if kind == Kind::Tcp => {
            let mut name = b"cubic".to_vec();
            name.resize(16, 0);
            Ok(name)
        }
        (level::TCP, TCP_INFO) if kind == Kind::Tcp => Ok(tcp_info(socket)),
        _ => {
            let known = known(socket, kind, level, name, Errno::EOPNOTSUPP)?;
            number(options().value(known.level, known.name))
        }
    }
}

/// `struct tcp_info`, of which only the state means something on a loopback without packets.
pub fn tcp_info(socket: &dyn Socket) -> Vec<u8> {
    let mut info = alloc::vec![0; 232];
    if let Some(state) = info.first_mut() {
        *state = socket.connection_state() as u8;
    }
    info
}

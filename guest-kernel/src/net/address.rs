//! Socket addresses: `struct sockaddr` and what it means.

use crate::errno::{Errno, Result};
use crate::fs::inode::Inode;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Address families.
#[allow(missing_docs)]
pub mod family {
    pub const UNSPEC: u16 = 0;
    pub const UNIX: u16 = 1;
    pub const INET: u16 = 2;
    pub const INET6: u16 = 10;
    pub const NETLINK: u16 = 16;
}

/// Largest address there is (`struct sockaddr_storage`).
pub const MAX_LEN: usize = 128;
/// `sizeof(struct sockaddr_un)`.
const UNIX_LEN: usize = 110;

/// The name of an AF_UNIX socket.
#[derive(Clone, Default)]
pub enum UnixAddress {
    /// None.
    #[default]
    Unnamed,
    /// A socket inode. Parsing leaves the inode out: resolving the path is the caller's.
    Path {
        /// As the program gave it.
        path: Vec<u8>,
        /// What it leads to.
        inode: Option<Arc<dyn Inode>>,
    },
    /// A name outside the file system, without its leading NUL.
    Abstract(Vec<u8>),
}

/// A socket address.
#[derive(Clone)]
pub enum Address {
    /// AF_UNSPEC: undoes a connect.
    Unspecified,
    /// AF_UNIX.
    Unix(UnixAddress),
    /// AF_INET, and AF_INET6 unless it is a mapped IPv4 address, which becomes that.
    Inet(SocketAddr),
    /// AF_NETLINK.
    Netlink {
        /// Port id.
        port: u32,
        /// Multicast groups.
        groups: u32,
    },
    /// A family there are no sockets of.
    Other(u16),
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N]> {
    bytes
        .get(at..)
        .and_then(|rest| rest.first_chunk())
        .copied()
        .ok_or(Errno::EINVAL)
}

impl Address {
    /// From a `struct sockaddr` of exactly these bytes.
    pub fn parse(bytes: &[u8]) -> Result<Address> {
        let family = u16::from_ne_bytes(array(bytes, 0)?);
        Ok(match family {
            family::UNSPEC => Address::Unspecified,
            family::UNIX => Address::Unix(parse_unix(bytes)?),
            family::INET => {
                array::<16>(bytes, 0)?;
                let ip = Ipv4Addr::from(array::<4>(bytes, 4)?);
                let port = u16::from_be_bytes(array(bytes, 2)?);
                Address::Inet(SocketAddr::new(ip.into(), port))
            }
            family::INET6 => {
                let ip = Ipv6Addr::from(array::<16>(bytes, 8)?);
                let port = u16::from_be_bytes(array(bytes, 2)?);
                Address::Inet(SocketAddr::new(IpAddr::V6(ip).to_canonical(), port))
            }
            family::NETLINK => Address::Netlink {
                port: u32::from_ne_bytes(array(bytes, 4)?),
                groups: u32::from_ne_bytes(array(bytes, 8)?),
            },
            other => Address::Other(other),
        })
    }

    /// As a `struct sockaddr`, for a socket of `domain`: an AF_INET6 one sees IPv4 mapped.
    pub fn encode(&self, domain: u16) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Address::Unspecified => out.extend(family::UNSPEC.to_ne_bytes()),
            Address::Other(family) => out.extend(family.to_ne_bytes()),
            Address::Unix(name) => {
                out.extend(family::UNIX.to_ne_bytes());
                match name {
                    UnixAddress::Unnamed => {}
                    UnixAddress::Path { path, .. } => {
                        out.extend(path);
                        out.push(0);
                    }
                    UnixAddress::Abstract(name) => {
                        out.push(0);
                        out.extend(name);
                    }
                }
            }
            Address::Inet(addr) => match (domain, addr.ip()) {
                (family::INET6, ip) => {
                    let ip = match ip {
                        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
                        IpAddr::V6(ip) => ip,
                    };
                    out.extend(family::INET6.to_ne_bytes());
                    out.extend(addr.port().to_be_bytes());
                    out.extend([0; 4]);
                    out.extend(ip.octets());
                    out.extend([0; 4]);
                }
                (_, ip) => {
                    let ip = match ip {
                        IpAddr::V4(ip) => ip,
                        IpAddr::V6(_) => Ipv4Addr::UNSPECIFIED,
                    };
                    out.extend(family::INET.to_ne_bytes());
                    out.extend(addr.port().to_be_bytes());
                    out.extend(ip.octets());
                    out.extend([0; 8]);
                }
            },
            Address::Netlink { port, groups } => {
                out.extend(family::NETLINK.to_ne_bytes());
                out.extend([0; 2]);
                out.extend(port.to_ne_bytes());
                out.extend(groups.to_ne_bytes());
            }
        }
        out
    }
}

fn parse_unix(bytes: &[u8]) -> Result<UnixAddress> {
    if bytes.len() > UNIX_LEN {
        return Err(Errno::EINVAL);
    }
    Ok(match bytes.get(2..) {
        None | Some([]) => UnixAddress::Unnamed,
        Some([0, name @ ..]) => UnixAddress::Abstract(name.to_vec()),
        Some(path) => {
            let len = path
                .iter()
                .position(|byte| *byte == 0)
                .unwrap_or(path.len());
            UnixAddress::Path {
                path: path.iter().take(len).copied().collect(),
                inode: None,
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inet(bytes: &[u8]) -> SocketAddr {
        match Address::parse(bytes).unwrap() {
            Address::Inet(addr) => addr,
            _ => panic!("not inet"),
        }
    }

    #[test]
    fn inet_addresses_survive_encoding() {
        for text in ["127.0.0.1:80", "[::1]:65535", "0.0.0.0:0"] {
            let addr: SocketAddr = text.parse().unwrap();
            let family = if addr.is_ipv4() {
                family::INET
            } else {
                family::INET6
            };
            let bytes = Address::Inet(addr).encode(family);
            assert_eq!(bytes.len(), if addr.is_ipv4() { 16 } else { 28 });
            assert_eq!(inet(&bytes), addr);
        }
    }

    #[test]
    fn ipv4_is_mapped_on_ipv6_sockets() {
        let addr: SocketAddr = "127.0.0.1:5".parse().unwrap();
        let bytes = Address::Inet(addr).encode(family::INET6);
        assert_eq!(bytes[18..24], [0xff, 0xff, 127, 0, 0, 1]);
        assert_eq!(inet(&bytes), addr);
    }

    #[test]
    fn unix_names_are_paths_or_abstract() {
        let parse = |tail: &[u8]| Address::parse(&[&[1, 0], tail].concat());
        let Ok(Address::Unix(UnixAddress::Path { path, .. })) = parse(b"/tmp/s\0junk") else {
            panic!("not a path")
        };
        assert_eq!(path, b"/tmp/s");
        let Ok(Address::Unix(UnixAddress::Abstract(name))) = parse(b"\0a\0b") else {
            panic!("not abstract")
        };
        assert_eq!(name, b"a\0b");
        assert!(matches!(
            parse(b""),
            Ok(Address::Unix(UnixAddress::Unnamed))
        ));
        assert!(parse(&[b'x'; 109]).is_err());
    }

    #[test]
    fn short_addresses_are_refused() {
        assert!(Address::parse(&[2]).is_err());
        assert!(Address::parse(&[2, 0, 0, 80, 127, 0, 0, 1]).is_err());
        assert!(Address::parse(&[10, 0, 0, 80, 0, 0, 0, 0, 1]).is_err());
    }
}

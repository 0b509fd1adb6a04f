//! The one network interface, `lo`, as the SIOCGIF* ioctls tell of it.

use crate::errno::{Errno, Result};
use crate::mm::AddressSpace;
use crate::net::address::{Address, family};
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Its index.
pub const INDEX: u32 = 1;
/// Its name.
pub const NAME: &[u8] = b"lo";
/// Its largest packet.
pub const MTU: u32 = 65_536;
/// IFF_UP, IFF_LOOPBACK, IFF_RUNNING.
pub const FLAGS: u32 = 0x9 | RUNNING;
/// IFF_RUNNING.
pub const RUNNING: u32 = 0x40;
/// Transmit queue length.
pub const QUEUE: u32 = 1000;
/// ARPHRD_LOOPBACK.
pub const HARDWARE: u16 = 772;

/// Bytes of a name in `struct ifreq`, and of all of it.
const NAME_SIZE: usize = 16;
const IFREQ: usize = 40;

/// The class of requests to sockets.
const CLASS: u32 = 0x89;

/// Requests (include/uapi/linux/sockios.h).
mod sioc {
    pub const ADDRT: u32 = 0x890b;
    pub const RTMSG: u32 = 0x890d;
    pub const GIFNAME: u32 = 0x8910;
    pub const GIFCONF: u32 = 0x8912;
    pub const GIFFLAGS: u32 = 0x8913;
    pub const GIFADDR: u32 = 0x8915;
    pub const GIFDSTADDR: u32 = 0x8917;
    pub const GIFBRDADDR: u32 = 0x8919;
    pub const GIFNETMASK: u32 = 0x891b;
    pub const GIFMETRIC: u32 = 0x891d;
    pub const GIFMTU: u32 = 0x8921;
    pub const GIFHWADDR: u32 = 0x8927;
    pub const GIFSLAVE: u32 = 0x8929;
    pub const ADDMULTI: u32 = 0x8931;
    pub const DELMULTI: u32 = 0x8932;
    pub const GIFINDEX: u32 = 0x8933;
    pub const GIFTXQLEN: u32 = 0x8942;
    pub const SIFTXQLEN: u32 = 0x8943;
    pub const ETHTOOL: u32 = 0x8946;
    pub const DARP: u32 = 0x8953;
    pub const GARP: u32 = 0x8954;
    pub const SARP: u32 = 0x8955;
    pub const GIFMAP: u32 = 0x8970;
    pub const SIFMAP: u32 = 0x8971;
    /// Those that would change an interface, its addresses, or a route.
    pub const CHANGES: [u32; 17] = [
        ADDRT, 0x890c, 0x8914, 0x8916, 0x8918, 0x891a, 0x891c, 0x891e, 0x8922, 0x8923, 0x8924,
        0x8937, ADDMULTI, DELMULTI, 0x8930, SIFTXQLEN, SIFMAP,
    ];
}

/// Whether `ip` is an address of this host.
pub fn is_local(ip: IpAddr) -> bool {
    ip.is_loopback() && !crate::net::inet::is_group(ip)
}

fn sockaddr(ip: Ipv4Addr) -> Vec<u8> {
    Address::Inet(SocketAddr::new(IpAddr::V4(ip), 0)).encode(family::INET)
}

fn put(space: &AddressSpace, addr: u64, bytes: &[u8]) -> Result<()> {
    if space.write_some(addr, bytes) < bytes.len() {
        Err(Errno::EFAULT)
    } else {
        Ok(())
    }
}

/// An ioctl on any socket; ENOTTY if it is none of these.
pub fn ioctl(space: &AddressSpace, command: u32, arg: u64) -> Result<u64> {
    match command {
        sioc::GIFCONF => return list(space, arg),
        sioc::GIFNAME => return name(space, arg),
        sioc::RTMSG => return Err(Errno::EINVAL),
        sioc::SARP | sioc::DARP => return Err(Errno::EPERM),
        // There are no neighbours.
        sioc::GARP => return Err(Errno::ENXIO),
        // The interface is as it is: nobody here has the capability to change it.
        _ if sioc::CHANGES.contains(&command) => return change(space, arg),
        sioc::GIFFLAGS
        | sioc::GIFADDR
        | sioc::GIFDSTADDR
        | sioc::GIFBRDADDR
        | sioc::GIFNETMASK
        | sioc::GIFMETRIC
        | sioc::GIFMTU
        | sioc::GIFHWADDR
        | sioc::GIFSLAVE
        | sioc::GIFINDEX
        | sioc::GIFTXQLEN
        | sioc::ETHTOOL
        | sioc::GIFMAP => {}
        // Linux reads a request of this class before it finds that it does not know it.
        _ if command >> 8 == CLASS => return request(space, arg).and(Err(Errno::ENOTTY)),
        _ => return Err(Errno::ENOTTY),
    }
    let request = request(space, arg)?;
    let (name, _) = request.split_at(NAME_SIZE);
    check_name(name)?;
    let answer = match command {
        sioc::GIFFLAGS => (FLAGS as u16).to_ne_bytes().to_vec(),
        sioc::GIFADDR | sioc::GIFDSTADDR => sockaddr(Ipv4Addr::LOCALHOST),
        sioc::GIFNETMASK => sockaddr(Ipv4Addr::new(255, 0, 0, 0)),
        sioc::GIFBRDADDR => sockaddr(Ipv4Addr::UNSPECIFIED),
        sioc::GIFMTU => MTU.to_ne_bytes().to_vec(),
        sioc::GIFINDEX => INDEX.to_ne_bytes().to_vec(),
        sioc::GIFTXQLEN => QUEUE.to_ne_bytes().to_vec(),
        sioc::GIFMETRIC => 0u32.to_ne_bytes().to_vec(),
        // `struct ifmap`: no memory, ports or interrupts.
        sioc::GIFMAP => alloc::vec![0; 24],
        sioc::GIFHWADDR => {
            let mut bytes = HARDWARE.to_ne_bytes().to_vec();
            bytes.resize(16, 0);
            bytes
        }
        sioc::ETHTOOL => return Err(Errno::EOPNOTSUPP),
        _ => return Err(Errno::EINVAL),
    };
    put(space, arg.wrapping_add(NAME_SIZE as u64), &answer)?;
    Ok(0)
}

fn request(space: &AddressSpace, arg: u64) -> Result<[u8; IFREQ]> {
    let mut request = [0; IFREQ];
    if space.read_some(arg, &mut request) < IFREQ {
        return Err(Errno::EFAULT);
    }
    Ok(request)
}

/// ENODEV unless it is `lo`, of which `lo:LABEL` is another name.
fn check_name(name: &[u8]) -> Result<()> {
    let named = name.split(|byte| matches!(byte, 0 | b':')).next();
    if named == Some(NAME) {
        Ok(())
    } else {
        Err(Errno::ENODEV)
    }
}

fn change(space: &AddressSpace, arg: u64) -> Result<u64> {
    request(space, arg)?;
    Err(Errno::EPERM)
}

/// SIOCGIFNAME.
fn name(space: &AddressSpace, arg: u64) -> Result<u64> {
    let request = request(space, arg)?;
    let (_, value) = request.split_at(NAME_SIZE);
    let index = value
        .first_chunk()
        .map_or(0, |bytes| u32::from_ne_bytes(*bytes));
    if index != INDEX {
        return Err(Errno::ENODEV);
    }
    let mut full = [0; NAME_SIZE];
    full.iter_mut().zip(NAME).for_each(|(to, from)| *to = *from);
    put(space, arg, &full)?;
    Ok(0)
}

/// SIOCGIFCONF: `struct ifconf` is a length and the address of as many bytes.
fn list(space: &AddressSpace, arg: u64) -> Result<u64> {
    let mut conf = [0; 16];
    if space.read_some(arg, &mut conf) < conf.len() {
        return Err(Errno::EFAULT);
    }
    let room = conf
        .first_chunk()
        .map_or(0, |bytes| i32::from_ne_bytes(*bytes));
    let buffer = conf
        .last_chunk()
        .map_or(0, |bytes| u64::from_ne_bytes(*bytes));
    let mut entry = NAME.to_vec();
    entry.resize(NAME_SIZE, 0);
    entry.extend(sockaddr(Ipv4Addr::LOCALHOST));
    entry.resize(IFREQ, 0);
    let fits = buffer == 0 || usize::try_from(room).is_ok_and(|room| room >= IFREQ);
    if buffer != 0 && fits {
        put(space, buffer, &entry)?;
    }
    let length = if fits { IFREQ as i32 } else { 0 };
    put(space, arg, &length.to_ne_bytes())?;
    Ok(0)
}

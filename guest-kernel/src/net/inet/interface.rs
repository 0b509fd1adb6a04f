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
pub const FLAGS: u32 = 0x49;
/// Transmit queue length.
pub const QUEUE: u32 = 1000;
/// ARPHRD_LOOPBACK.
pub const HARDWARE: u16 = 772;

/// Bytes of a name in `struct ifreq`, and of all of it.
const NAME_SIZE: usize = 16;
const IFREQ: usize = 40;

const SIOCGIFNAME: u32 = 0x8910;
const SIOCGIFCONF: u32 = 0x8912;
const SIOCGIFFLAGS: u32 = 0x8913;
const SIOCGIFADDR: u32 = 0x8915;
const SIOCGIFBRDADDR: u32 = 0x8919;
const SIOCGIFNETMASK: u32 = 0x891b;
const SIOCGIFMETRIC: u32 = 0x891d;
const SIOCGIFMTU: u32 = 0x8921;
const SIOCGIFHWADDR: u32 = 0x8927;
const SIOCGIFINDEX: u32 = 0x8933;
const SIOCGIFTXQLEN: u32 = 0x8942;

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
    if command == SIOCGIFCONF {
        return list(space, arg);
    }
    let known = [
        SIOCGIFNAME,
        SIOCGIFFLAGS,
        SIOCGIFADDR,
        SIOCGIFBRDADDR,
        SIOCGIFNETMASK,
    ]
    .into_iter()
    .chain([
        SIOCGIFMETRIC,
        SIOCGIFMTU,
        SIOCGIFHWADDR,
        SIOCGIFINDEX,
        SIOCGIFTXQLEN,
    ]);
    if !known.into_iter().any(|one| one == command) {
        return Err(Errno::ENOTTY);
    }
    let mut request = [0; IFREQ];
    if space.read_some(arg, &mut request) < IFREQ {
        return Err(Errno::EFAULT);
    }
    let (name, value) = request.split_at(NAME_SIZE);
    if command == SIOCGIFNAME {
        let index = value
            .first_chunk()
            .map_or(0, |bytes| u32::from_ne_bytes(*bytes));
        if index != INDEX {
            return Err(Errno::ENODEV);
        }
        let mut full = [0; NAME_SIZE];
        full.iter_mut().zip(NAME).for_each(|(to, from)| *to = *from);
        put(space, arg, &full)?;
        return Ok(0);
    }
    let len = name.iter().position(|byte| *byte == 0).unwrap_or(NAME_SIZE);
    if name.get(..len) != Some(NAME) {
        return Err(Errno::ENODEV);
    }
    let answer = match command {
        SIOCGIFFLAGS => (FLAGS as u16).to_ne_bytes().to_vec(),
        SIOCGIFADDR => sockaddr(Ipv4Addr::LOCALHOST),
        SIOCGIFNETMASK => sockaddr(Ipv4Addr::new(255, 0, 0, 0)),
        SIOCGIFBRDADDR => sockaddr(Ipv4Addr::UNSPECIFIED),
        SIOCGIFMTU => MTU.to_ne_bytes().to_vec(),
        SIOCGIFINDEX => INDEX.to_ne_bytes().to_vec(),
        SIOCGIFTXQLEN => QUEUE.to_ne_bytes().to_vec(),
        SIOCGIFHWADDR => {
            let mut bytes = HARDWARE.to_ne_bytes().to_vec();
            bytes.resize(16, 0);
            bytes
        }
        _ => 0u32.to_ne_bytes().to_vec(),
    };
    put(space, arg.wrapping_add(NAME_SIZE as u64), &answer)?;
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

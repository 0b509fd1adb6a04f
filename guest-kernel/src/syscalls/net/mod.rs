//! Socket calls.
//!
//! | file | calls |
//! |---|---|
//! | here | socket, socketpair, bind, listen, accept, connect, names, shutdown, options |
//! | `message` | `struct msghdr`, and control messages |
//! | `transfer` | send and receive calls |

mod message;
mod transfer;

pub use message::MsgHdr;
pub use transfer::{MmsgHdr, recvfrom, recvmmsg, recvmsg, sendmmsg, sendmsg, sendto};

use crate::errno::{Errno, Result};
use crate::fs::file::{OpenFile, OpenFlags};
use crate::fs::inode::{FileKind, Inode, Mode, NewInode};
use crate::fs::path::{self, Context, Follow};
use crate::net::address::{Address, MAX_LEN, UnixAddress, family};
use crate::net::inet::tcp::TcpSocket;
use crate::net::inet::udp::UdpSocket;
use crate::net::netlink::{self, NetlinkSocket};
use crate::net::options;
use crate::net::socket::{Credentials, Shutdown, Socket, SocketFile, SocketType};
use crate::net::unix::UnixSocket;
use crate::syscalls::args::{Fd, Flags, UserAddr, UserPtr};
use crate::syscalls::ipc::{install, install_pair};
use crate::task::Ctx;
use crate::wait::PollEvents;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// SOCK_CLOEXEC and SOCK_NONBLOCK, which are the O_ flags.
const SOCKET_FLAGS: u32 = OpenFlags::CLOEXEC.bits() | OpenFlags::NONBLOCK.bits();

/// Most that a backlog can be (`net.core.somaxconn`).
const MAX_BACKLOG: usize = 4096;

/// The socket of a descriptor, with its open file.
struct Target {
    open: Arc<OpenFile>,
    socket: Arc<dyn Socket>,
}

impl Target {
    fn of(ctx: &Ctx, fd: Fd) -> Result<Target> {
        let open = ctx.files().lock().get_usable(fd.0)?;
        Target::of_file(open)
    }

    fn of_file(open: Arc<OpenFile>) -> Result<Target> {
        let socket = open
            .downcast::<SocketFile>()
            .ok_or(Errno::ENOTSOCK)?
            .socket()
            .clone();
        Ok(Target { open, socket })
    }

    fn nonblocking(&self) -> bool {
        self.open.flags().contains(OpenFlags::NONBLOCK)
    }
}

/// Who the caller is, for SO_PEERCRED and SCM_CREDENTIALS. Everything in the VM is root's.
fn credentials(ctx: &Ctx) -> Credentials {
    Credentials {
        pid: ctx.process().pid(),
        uid: 0,
        gid: 0,
    }
}

/// Splits the type argument of socket(2) into type and flags.
fn split_type(kind: i32) -> Result<(u32, OpenFlags)> {
    let (kind, flags) = (kind as u32 & 0xf, kind as u32 & !0xf);
    if flags & !SOCKET_FLAGS != 0 {
        return Err(Errno::EINVAL);
    }
    Ok((kind, OpenFlags::from_bits_retain(flags)))
}

fn socket_type(domain: i32, kind: u32) -> Result<SocketType> {
    const SOCK_PACKET: u32 = 10;
    const AF_PACKET: i32 = 17;
    let known = [family::UNIX, family::INET, family::INET6, family::NETLINK];
    match kind {
        SOCK_PACKET.. if kind > SOCK_PACKET => Err(Errno::EINVAL),
        // For who may look at packets; SOCK_PACKET is their old name.
        _ if domain == AF_PACKET => Err(Errno::EPERM),
        SOCK_PACKET if domain == i32::from(family::INET) => Err(Errno::EPERM),
        _ if !known.iter().any(|family| i32::from(*family) == domain) => Err(Errno::EAFNOSUPPORT),
        1 => Ok(SocketType::Stream),
        2 => Ok(SocketType::Datagram),
        3 => Ok(SocketType::Raw),
        5 => Ok(SocketType::SeqPacket),
        _ => Err(Errno::ESOCKTNOSUPPORT),
    }
}

fn create(ctx: &Ctx, domain: i32, kind: u32, protocol: i32) -> Result<Arc<dyn Socket>> {
    let kind = socket_type(domain, kind)?;
    const IPPROTO_TCP: i32 = 6;
    const IPPROTO_UDP: i32 = 17;
    /// IPPROTO_MAX.
    const PROTOCOLS: i32 = 263;
    let inet = [family::INET, family::INET6].map(i32::from);
    if inet.contains(&domain) && !(0..PROTOCOLS).contains(&protocol) {
        return Err(Errno::EINVAL);
    }
    let owner = credentials(ctx);
    Ok(match (u16::try_from(domain).unwrap_or(u16::MAX), kind) {
        (family::UNIX, _) if protocol == 0 || protocol == i32::from(family::UNIX) => {
            UnixSocket::new(kind, owner)
        }
        (family::UNIX, _) => return Err(Errno::EPROTONOSUPPORT),
        (family @ (family::INET | family::INET6), SocketType::Stream) => match protocol {
            0 | IPPROTO_TCP => TcpSocket::new(family, owner),
            _ => return Err(Errno::EPROTONOSUPPORT),
        },
        (family @ (family::INET | family::INET6), SocketType::Datagram) => match protocol {
            0 | IPPROTO_UDP => UdpSocket::new(family, owner),
            _ => return Err(Errno::EPROTONOSUPPORT),
        },
        (family::INET | family::INET6, SocketType::Raw) if protocol == 0 => {
            return Err(Errno::EPROTONOSUPPORT);
        }
        // Raw packets would need a network; the program is told it may not have them.
        (family::INET | family::INET6, SocketType::Raw) => return Err(Errno::EPERM),
        (family::INET | family::INET6, _) => return Err(Errno::ESOCKTNOSUPPORT),
        (family::NETLINK, SocketType::Raw | SocketType::Datagram) => match protocol {
            netlink::ROUTE | netlink::SOCK_DIAG => NetlinkSocket::new(kind, protocol, owner),
            _ => return Err(Errno::EPROTONOSUPPORT),
        },
        (family::NETLINK, _) => return Err(Errno::ESOCKTNOSUPPORT),
        _ => return Err(Errno::EAFNOSUPPORT),
    })
}

/// socket(2).
pub fn socket(ctx: &Ctx, domain: i32, kind: i32, protocol: i32) -> Result<u64> {
    let (kind, flags) = split_type(kind)?;
    let socket = create(ctx, domain, kind, protocol)?;
    Ok(install(ctx, SocketFile::new(socket), OpenFlags::RDWR, flags)? as u64)
}

/// socketpair(2).
pub fn socketpair(
    ctx: &Ctx,
    domain: i32,
    kind: i32,
    protocol: i32,
    fds: UserPtr<[i32; 2]>,
) -> Result<u64> {
    let (kind, flags) = split_type(kind)?;
    // Linux stores the numbers before it makes the sockets.
    ctx.write(fds, &ctx.read(fds)?)?;
    if domain != i32::from(family::UNIX) {
        // Checks the rest first: a family that exists cannot do pairs.
        create(ctx, domain, kind, protocol)?;
        return Err(Errno::EOPNOTSUPP);
    }
    if protocol != 0 && protocol != domain {
        return Err(Errno::EPROTONOSUPPORT);
    }
    let kind = socket_type(domain, kind)?;
    let (a, b) = UnixSocket::pair(kind, credentials(ctx));
    let (a, b) = (SocketFile::new(a), SocketFile::new(b));
    install_pair(ctx, (a, OpenFlags::RDWR), (b, OpenFlags::RDWR), flags, fds)
}

/// Reads an address for `target`. `strict`: an AF_INET6 socket wants an AF_INET6 address, not also
/// an AF_INET one.
fn address_for(
    ctx: &Ctx,
    target: &Target,
    addr: UserAddr,
    len: u32,
    strict: bool,
) -> Result<Address> {
    parse_address(target, &read_address(ctx, addr, len)?, strict)
}

fn read_address(ctx: &Ctx, addr: UserAddr, len: u32) -> Result<Vec<u8>> {
    if len as usize > MAX_LEN {
        return Err(Errno::EINVAL);
    }
    let mut bytes = alloc::vec![0; len as usize];
    ctx.read_bytes(addr.0, &mut bytes)?;
    Ok(bytes)
}

fn parse_address(target: &Target, bytes: &[u8], strict: bool) -> Result<Address> {
    let family = bytes
        .first_chunk()
        .map_or(family::UNSPEC, |bytes| u16::from_ne_bytes(*bytes));
    match (target.socket.domain(), family) {
        // Mapped or not, it is of the wrong family.
        (family::INET, family::INET6) => return Err(Errno::EAFNOSUPPORT),
        (family::INET6, family::INET) if strict && bytes.len() < 24 => return Err(Errno::EINVAL),
        (family::INET6, family::INET) if strict => return Err(Errno::EAFNOSUPPORT),
        _ => {}
    }
    Address::parse(bytes)
}

/// Stores an address, cut to the `*len` bytes there are, and its whole length in `*len`.
fn write_address(
    ctx: &Ctx,
    address: &Address,
    domain: u16,
    addr: UserAddr,
    len: UserPtr<u32>,
) -> Result<()> {
    let bytes = address.encode(domain);
    let room = i32::try_from(ctx.read(len)?).map_err(|_| Errno::EINVAL)? as usize;
    ctx.write_bytes(addr.0, bytes.get(..room).unwrap_or(&bytes))?;
    ctx.write(len, &(bytes.len() as u32))
}

/// The root and working directory, where paths begin.
fn places(ctx: &Ctx) -> (Arc<dyn Inode>, Arc<dyn Inode>) {
    let fs = ctx.fs().lock();
    (fs.root.clone(), fs.cwd.clone())
}

/// Completes an address that is a path with the inode it leads to, which must be a socket.
fn resolve(ctx: &Ctx, address: Address) -> Result<Address> {
    let Address::Unix(UnixAddress::Path { path, .. }) = address else {
        return Ok(address);
    };
    let (root, start) = places(ctx);
    let found = path::resolve(
        &Context {
            root: &root,
            start: &start,
        },
        &path,
        Follow::Always,
    )?;
    if found.inode.kind() != FileKind::Socket {
        return Err(Errno::ECONNREFUSED);
    }
    Ok(Address::Unix(UnixAddress::Path {
        path,
        inode: Some(found.inode),
    }))
}

/// bind(2). A path gets a socket inode, which must not exist yet.
pub fn bind(ctx: &Ctx, fd: Fd, addr: UserAddr, len: u32) -> Result<u64> {
    let target = Target::of(ctx, fd)?;
    let address = address_for(ctx, &target, addr, len, true)?;
    let Address::Unix(UnixAddress::Path { path, .. }) = address else {
        target.socket.bind(address)?;
        return Ok(0);
    };
    let bound = match target.socket.local_address() {
        Address::Unix(name) => !matches!(name, UnixAddress::Unnamed),
        _ => return Err(Errno::EAFNOSUPPORT),
    };
    if bound {
        return Err(Errno::EINVAL);
    }
    let (root, start) = places(ctx);
    let context = Context {
        root: &root,
        start: &start,
    };
    let entry = path::resolve_entry(&context, &path, Errno::EADDRINUSE)?;
    if entry.inode.is_some() {
        return Err(Errno::EADDRINUSE);
    }
    if entry.slash {
        return Err(Errno::ENOENT);
    }
    let mode = Mode::new(0o777).masked(ctx.fs().lock().umask);
    let new = NewInode::of(FileKind::Socket, mode);
    let inode = entry
        .dir
        .create(&entry.name, &new)
        .map_err(|error| match error {
            Errno::EEXIST => Errno::EADDRINUSE,
            other => other,
        })?;
    target.socket.bind(Address::Unix(UnixAddress::Path {
        path,
        inode: Some(inode),
    }))?;
    Ok(0)
}

/// listen(2).
pub fn listen(ctx: &Ctx, fd: Fd, backlog: i32) -> Result<u64> {
    let target = Target::of(ctx, fd)?;
    // Negative ones are very large, as on Linux.
    target
        .socket
        .listen((backlog as u32 as usize).min(MAX_BACKLOG))?;
    Ok(0)
}

/// accept(2).
pub fn accept(ctx: &Ctx, fd: Fd, addr: UserAddr, len: UserPtr<u32>) -> Result<u64> {
    accept4(ctx, fd, addr, len, Flags(0))
}

/// accept4(2).
pub fn accept4(ctx: &Ctx, fd: Fd, addr: UserAddr, len: UserPtr<u32>, flags: Flags) -> Result<u64> {
    let open = ctx.files().lock().get_usable(fd.0)?;
    if flags.0 & !SOCKET_FLAGS != 0 {
        return Err(Errno::EINVAL);
    }
    let target = Target::of_file(open)?;
    ctx.files().lock().check_room()?;
    let deadline = target.socket.options().lock().receive_deadline();
    let queue = Some(target.socket.queue());
    let accepted = ctx.retry(
        queue,
        PollEvents::IN,
        target.nonblocking(),
        deadline,
        || target.socket.accept(),
    )?;
    if !addr.is_null() {
        let domain = accepted.domain();
        let peer = accepted.peer_address().unwrap_or(Address::Unspecified);
        write_address(ctx, &peer, domain, addr, len)?;
    }
    let flags = OpenFlags::from_bits_retain(flags.0);
    Ok(install(ctx, SocketFile::new(accepted), OpenFlags::RDWR, flags)? as u64)
}

/// connect(2).
pub fn connect(ctx: &Ctx, fd: Fd, addr: UserAddr, len: u32) -> Result<u64> {
    let open = ctx.files().lock().get_usable(fd.0)?;
    // Unlike bind, which looks at the descriptor first.
    let bytes = read_address(ctx, addr, len)?;
    let target = Target::of_file(open)?;
    let strict = target.socket.socket_type().is_stream();
    let address = resolve(ctx, parse_address(&target, &bytes, strict)?)?;
    let socket = &target.socket;
    if target.nonblocking() {
        socket.connect(address)?;
        return Ok(0);
    }
    let deadline = socket.options().lock().send_deadline();
    let connected = ctx.retry(
        Some(socket.queue()),
        PollEvents::OUT,
        false,
        deadline,
        || {
            match socket.connect(address.clone()) {
                // Under way: being tried again tells what came of it.
                Err(Errno::EINPROGRESS | Errno::EALREADY) => Err(Errno::EAGAIN),
                other => other,
            }
        },
    );
    match connected {
        // SO_SNDTIMEO passed.
        Err(Errno::EAGAIN) if socket.domain() != family::UNIX => Err(Errno::EINPROGRESS),
        other => other.map(|()| 0),
    }
}

/// getsockname(2).
pub fn getsockname(ctx: &Ctx, fd: Fd, addr: UserAddr, len: UserPtr<u32>) -> Result<u64> {
    let socket = Target::of(ctx, fd)?.socket;
    write_address(ctx, &socket.local_address(), socket.domain(), addr, len)?;
    Ok(0)
}

/// getpeername(2).
pub fn getpeername(ctx: &Ctx, fd: Fd, addr: UserAddr, len: UserPtr<u32>) -> Result<u64> {
    let socket = Target::of(ctx, fd)?.socket;
    write_address(ctx, &socket.peer_address()?, socket.domain(), addr, len)?;
    Ok(0)
}

/// shutdown(2).
pub fn shutdown(ctx: &Ctx, fd: Fd, how: i32) -> Result<u64> {
    let socket = Target::of(ctx, fd)?.socket;
    let how = match how {
        0 => Shutdown {
            read: true,
            write: false,
        },
        1 => Shutdown {
            read: false,
            write: true,
        },
        2 => Shutdown {
            read: true,
            write: true,
        },
        _ => return Err(Errno::EINVAL),
    };
    socket.shutdown(how)?;
    Ok(0)
}

/// Longest option value that is looked at.
const MAX_OPTION: usize = 16 << 10;

/// setsockopt(2).
pub fn setsockopt(
    ctx: &Ctx,
    fd: Fd,
    level: i32,
    name: i32,
    value: UserAddr,
    len: i32,
) -> Result<u64> {
    let socket = Target::of(ctx, fd)?.socket;
    let len = usize::try_from(len).map_err(|_| Errno::EINVAL)?;
    let mut bytes: Vec<u8> = alloc::vec![0; len.min(MAX_OPTION)];
    ctx.read_bytes(value.0, &mut bytes)?;
    options::set(&*socket, level, name, &bytes)?;
    Ok(0)
}

/// getsockopt(2).
pub fn getsockopt(
    ctx: &Ctx,
    fd: Fd,
    level: i32,
    name: i32,
    value: UserAddr,
    len: UserPtr<i32>,
) -> Result<u64> {
    let socket = Target::of(ctx, fd)?.socket;
    let room = usize::try_from(ctx.read(len)?).map_err(|_| Errno::EINVAL)?;
    let mut input: Vec<u8> = alloc::vec![0; room.min(MAX_OPTION)];
    if options::asks(level, name) {
        ctx.read_bytes(value.0, &mut input)?;
    }
    let bytes = options::get(&*socket, level, name, &input)?;
    // IP tells small numbers in one byte to who has no room for four.
    let room = match (level, bytes.as_slice()) {
        (options::level::IP, [_, 0, 0, 0]) if (1..4).contains(&room) => 1,
        _ => room,
    };
    let bytes = bytes.get(..room).unwrap_or(&bytes);
    ctx.write_bytes(value.0, bytes)?;
    ctx.write(len, &(bytes.len() as i32))?;
    Ok(0)
}

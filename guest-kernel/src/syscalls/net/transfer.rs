//! Send and receive calls.

use super::message::{MsgHdr, read_control, read_header, write_control};
use super::{Target, address_for, credentials, read_address, resolve, write_address};
use crate::errno::{Errno, Result};
use crate::io::{Destination, MAX_TRANSFER, Source, UserRange};
use crate::net::address::{Address, MAX_LEN, family};
use crate::net::socket::{Ancillary, MessageFlags, Outgoing, Received};
use crate::syscalls::args::{Fd, Flags, UserAddr, UserPtr};
use crate::syscalls::io::read_iovecs;
use crate::syscalls::time::TimeSpec;
use crate::task::Ctx;
use crate::task::signal::number::SIGPIPE;
use crate::time::monotonic_ns;
use crate::wait::PollEvents;
use alloc::vec::Vec;
use sprout_abi::layout::USER_END;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Most buffers of one message, and messages of one call (UIO_MAXIOV).
const MAX_COUNT: u64 = 1024;

/// `struct mmsghdr`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct MmsgHdr {
    /// The message.
    pub header: MsgHdr,
    /// Bytes sent or received.
    pub length: u32,
    pad: u32,
}

/// MSG_CMSG_COMPAT: a 32-bit program's control messages; only the kernel itself may say so.
const CMSG_COMPAT: u32 = 0x8000_0000;

fn check_flags(flags: Flags) -> Result<()> {
    match flags.0 & CMSG_COMPAT {
        0 => Ok(()),
        _ => Err(Errno::EINVAL),
    }
}

fn one(addr: UserAddr, len: usize) -> Result<Vec<UserRange>> {
    let range = UserRange {
        addr: addr.0,
        len: len as u64,
    };
    let range = UserRange {
        len: range.len.min(MAX_TRANSFER),
        ..range
    };
    match range.addr.checked_add(range.len) {
        Some(end) if end <= USER_END => Ok(Vec::from([range])),
        _ => Err(Errno::EFAULT),
    }
}

fn buffers(ctx: &Ctx, header: &MsgHdr) -> Result<Vec<UserRange>> {
    if header.iov_len > MAX_COUNT {
        return Err(Errno::EMSGSIZE);
    }
    read_iovecs(ctx, UserAddr(header.iov), header.iov_len as usize)
}

/// Sends everything, waiting for room unless told not to.
fn send(
    ctx: &Ctx,
    target: &Target,
    ranges: Vec<UserRange>,
    mut message: Outgoing,
    flags: MessageFlags,
) -> Result<u64> {
    let socket = &target.socket;
    let mut src = Source::user(ctx.space(), ranges);
    let nonblocking = target.nonblocking() || flags.contains(MessageFlags::DONTWAIT);
    let deadline = socket.options().lock().send_deadline();
    let stream = socket.socket_type().is_stream();
    let mut sent = 0;
    loop {
        let queue = Some(socket.queue());
        let result = ctx.retry(queue, PollEvents::OUT, nonblocking, deadline, || {
            socket.send(&mut src, &mut message, flags)
        });
        match result {
            Ok(n) => {
                sent += n as u64;
                if n == 0 || !stream || nonblocking || src.remaining() == 0 {
                    return Ok(sent);
                }
            }
            Err(_) if sent > 0 => return Ok(sent),
            Err(error) => {
                if error == Errno::EPIPE && stream && !flags.contains(MessageFlags::NOSIGNAL) {
                    ctx.send_signal_self(SIGPIPE);
                }
                return Err(error);
            }
        }
    }
}

/// Receives one message; with MSG_WAITALL, of a stream as much as was asked for.
fn receive(
    ctx: &Ctx,
    target: &Target,
    ranges: Vec<UserRange>,
    flags: MessageFlags,
) -> Result<Received> {
    let socket = &target.socket;
    let mut dst = Destination::user(ctx.space(), ranges);
    // Nobody waits for an error to be queued.
    let errors = flags.contains(MessageFlags::ERRQUEUE) && socket.domain() != family::UNIX;
    let nonblocking = target.nonblocking() || flags.contains(MessageFlags::DONTWAIT) || errors;
    let deadline = socket.options().lock().receive_deadline();
    let all = flags.contains(MessageFlags::WAITALL)
        && socket.socket_type().is_stream()
        && !flags.contains(MessageFlags::PEEK);
    let flags = if nonblocking {
        flags | MessageFlags::DONTWAIT
    } else {
        flags
    };
    let mut total: Option<Received> = None;
    loop {
        let queue = Some(socket.queue());
        let result = ctx.retry(queue, PollEvents::IN, nonblocking, deadline, || {
            // What was received so far ends before urgent data.
            if total.is_some() && socket.at_mark() == Ok(true) {
                return Ok(Received::default());
            }
            socket.receive(&mut dst, flags)
        });
        let got = match (result, total.take()) {
            (Ok(got), None) => got,
            (Ok(got), Some(before)) => {
                let bytes = before.bytes + got.bytes;
                let ended = got.bytes == 0;
                let sum = Received {
                    bytes,
                    length: bytes,
                    ..before
                };
                if ended {
                    return Ok(sum);
                }
                sum
            }
            (Err(_), Some(before)) => return Ok(before),
            (Err(error), None) => return Err(error),
        };
        let done = !all
            || got.bytes == 0
            || dst.remaining() == 0
            || !got.ancillary.rights.is_empty()
            || nonblocking;
        if done {
            return Ok(got);
        }
        total = Some(got);
    }
}

/// What a receive call returns: with MSG_TRUNC the whole length of a message that was cut.
fn received_length(received: &Received, flags: MessageFlags) -> u64 {
    let whole = flags.contains(MessageFlags::TRUNC);
    (if whole {
        received.length
    } else {
        received.bytes
    }) as u64
}

/// The destination of a send call; streams read it but make nothing of it.
fn destination(ctx: &Ctx, target: &Target, addr: UserAddr, len: u32) -> Result<Address> {
    if target.socket.socket_type().is_stream() {
        read_address(ctx, addr, len)?;
        return Ok(Address::Unspecified);
    }
    resolve(ctx, address_for(ctx, target, addr, len, false)?)
}

/// sendto(2).
pub fn sendto(
    ctx: &Ctx,
    fd: Fd,
    buffer: UserAddr,
    len: usize,
    flags: Flags,
    addr: UserAddr,
    addr_len: u32,
) -> Result<u64> {
    let ranges = one(buffer, len)?;
    let target = Target::of(ctx, fd)?;
    let to = match addr.is_null() {
        true => None,
        false => Some(destination(ctx, &target, addr, addr_len)?),
    };
    let ancillary = Ancillary {
        credentials: Some(credentials(ctx)),
        ..Ancillary::default()
    };
    let flags = MessageFlags::from_bits_retain(flags.0);
    send(ctx, &target, ranges, Outgoing { to, ancillary }, flags)
}

/// recvfrom(2).
pub fn recvfrom(
    ctx: &Ctx,
    fd: Fd,
    buffer: UserAddr,
    len: usize,
    flags: Flags,
    addr: UserAddr,
    addr_len: UserPtr<u32>,
) -> Result<u64> {
    let ranges = one(buffer, len)?;
    let target = Target::of(ctx, fd)?;
    let flags = MessageFlags::from_bits_retain(flags.0);
    let received = receive(ctx, &target, ranges, flags)?;
    if !addr.is_null() {
        match &received.from {
            Some(from) => write_address(ctx, from, target.socket.domain(), addr, addr_len)?,
            None => ctx.write(addr_len, &0)?,
        }
    }
    Ok(received_length(&received, flags))
}

fn send_message(ctx: &Ctx, target: &Target, header: &MsgHdr, flags: Flags) -> Result<u64> {
    let to = match header.name == 0 || header.name_len == 0 {
        true => None,
        false => {
            let len = header.name_len.min(MAX_LEN as u32);
            Some(destination(ctx, target, UserAddr(header.name), len)?)
        }
    };
    let ranges = buffers(ctx, header)?;
    let ancillary = read_control(ctx, header, target.socket.domain())?;
    let flags = MessageFlags::from_bits_retain(flags.0);
    send(ctx, target, ranges, Outgoing { to, ancillary }, flags)
}

/// sendmsg(2).
pub fn sendmsg(ctx: &Ctx, fd: Fd, message: UserPtr<MsgHdr>, flags: Flags) -> Result<u64> {
    check_flags(flags)?;
    let target = Target::of(ctx, fd)?;
    let header = read_header(ctx, message)?;
    send_message(ctx, &target, &header, flags)
}

/// sendmmsg(2).
pub fn sendmmsg(
    ctx: &Ctx,
    fd: Fd,
    messages: UserPtr<MmsgHdr>,
    count: u32,
    flags: Flags,
) -> Result<u64> {
    check_flags(flags)?;
    let target = Target::of(ctx, fd)?;
    let count = u64::from(count).min(MAX_COUNT) as usize;
    for index in 0..count {
        let at = messages.at(index);
        let sent = ctx.read(at).and_then(|message| {
            let length = send_message(ctx, &target, &message.header, flags)? as u32;
            ctx.write(at, &MmsgHdr { length, ..message })
        });
        match sent {
            Ok(()) => {}
            Err(error) if index == 0 => return Err(error),
            Err(_) => return Ok(index as u64),
        }
    }
    Ok(count as u64)
}

/// Receives into `header`, which is stored back by the caller.
fn receive_message(
    ctx: &Ctx,
    target: &Target,
    header: &mut MsgHdr,
    flags: MessageFlags,
) -> Result<u64> {
    let ranges = buffers(ctx, header)?;
    let received = receive(ctx, target, ranges, flags)?;
    let result = received_length(&received, flags);
    header.flags = (flags & MessageFlags::CMSG_CLOEXEC).bits();
    if received.length > received.bytes {
        header.flags |= MessageFlags::TRUNC.bits();
    }
    if received.urgent {
        header.flags |= MessageFlags::OOB.bits();
    }
    if header.name != 0 {
        let bytes = received
            .from
            .as_ref()
            .map(|from: &Address| from.encode(target.socket.domain()));
        let bytes = bytes.unwrap_or_default();
        let room = header.name_len as usize;
        ctx.write_bytes(header.name, bytes.get(..room).unwrap_or(&bytes))?;
        header.name_len = bytes.len() as u32;
    }
    write_control(ctx, header, received.ancillary, flags)?;
    Ok(result)
}

/// recvmsg(2).
pub fn recvmsg(ctx: &Ctx, fd: Fd, message: UserPtr<MsgHdr>, flags: Flags) -> Result<u64> {
    check_flags(flags)?;
    let target = Target::of(ctx, fd)?;
    let mut header = read_header(ctx, message)?;
    let flags = MessageFlags::from_bits_retain(flags.0);
    let length = receive_message(ctx, &target, &mut header, flags)?;
    ctx.write(message, &header)?;
    Ok(length)
}

/// recvmmsg(2). As on Linux, the timeout is looked at after each message, and does not end a wait.
pub fn recvmmsg(
    ctx: &Ctx,
    fd: Fd,
    messages: UserPtr<MmsgHdr>,
    count: u32,
    flags: Flags,
    timeout: UserPtr<TimeSpec>,
) -> Result<u64> {
    check_flags(flags)?;
    let deadline = match timeout.non_null() {
        Some(timeout) => Some(monotonic_ns().saturating_add(ctx.read(timeout)?.to_ns()?)),
        None => None,
    };
    let target = Target::of(ctx, fd)?;
    if let Some(error) = target.socket.take_error() {
        return Err(error);
    }
    let mut flags = MessageFlags::from_bits_retain(flags.0);
    let count = u64::from(count).min(MAX_COUNT) as usize;
    let mut done = 0;
    while done < count {
        let at = messages.at(done);
        let received = ctx.read(at).and_then(|mut message| {
            let length = receive_message(
                ctx,
                &target,
                &mut message.header,
                flags - MessageFlags::WAITFORONE,
            )?;
            ctx.write(
                at,
                &MmsgHdr {
                    length: length as u32,
                    ..message
                },
            )
        });
        match received {
            Ok(()) => done += 1,
            Err(error) if done == 0 => return Err(error),
            Err(_) => break,
        }
        if flags.contains(MessageFlags::WAITFORONE) {
            flags |= MessageFlags::DONTWAIT;
        }
        if deadline.is_some_and(|deadline| monotonic_ns() >= deadline) {
            break;
        }
    }
    if let (Some(timeout), Some(deadline)) = (timeout.non_null(), deadline) {
        let left = deadline.saturating_sub(monotonic_ns());
        ctx.write(timeout, &TimeSpec::from_ns(left))?;
    }
    Ok(done as u64)
}

//! `struct msghdr`, and the control messages it points to (`cmsg(3)`).

use super::credentials;
use crate::errno::{Errno, Result};
use crate::fs::file::OpenFlags;
use crate::net::address::family;
use crate::net::options::level;
use crate::net::socket::{Ancillary, Credentials, MessageFlags};
use crate::syscalls::args::UserPtr;
use crate::task::Ctx;
use alloc::vec::Vec;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// `struct msghdr`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct MsgHdr {
    /// Address of the socket address.
    pub name: u64,
    /// Its length.
    pub name_len: u32,
    pad1: u32,
    /// Address of the iovecs.
    pub iov: u64,
    /// How many.
    pub iov_len: u64,
    /// Address of the control messages.
    pub control: u64,
    /// Their length.
    pub control_len: u64,
    /// Flags of what was received.
    pub flags: u32,
    pad2: u32,
}

/// SCM_RIGHTS and SCM_CREDENTIALS.
const RIGHTS: i32 = 1;
const CREDENTIALS: i32 = 2;

/// Bytes of `struct cmsghdr`: length, level, type.
const HEADER: usize = 16;
/// Most descriptors of one message (SCM_MAX_FD).
const MAX_RIGHTS: usize = 253;
/// Longest control data that is looked at (`net.core.optmem_max` is less).
const MAX_CONTROL: u64 = 64 << 10;

fn number<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N]> {
    bytes
        .get(at..)
        .and_then(|rest| rest.first_chunk())
        .copied()
        .ok_or(Errno::EINVAL)
}

/// Reads the control messages of a send call on a socket of `domain`.
pub fn read_control(ctx: &Ctx, header: &MsgHdr, domain: u16) -> Result<Ancillary> {
    let mut ancillary = Ancillary {
        credentials: Some(credentials(ctx)),
        ..Ancillary::default()
    };
    if header.control_len == 0 {
        return Ok(ancillary);
    }
    if header.control_len > MAX_CONTROL {
        return Err(Errno::ENOBUFS);
    }
    let mut bytes = alloc::vec![0; header.control_len as usize];
    ctx.read_bytes(header.control, &mut bytes)?;
    let mut rest = bytes.as_slice();
    while rest.len() >= HEADER {
        let length = u64::from_ne_bytes(number(rest, 0)?);
        let length = usize::try_from(length).map_err(|_| Errno::EINVAL)?;
        let (level, kind) = (
            i32::from_ne_bytes(number(rest, 8)?),
            i32::from_ne_bytes(number(rest, 12)?),
        );
        let data = rest.get(HEADER..length).ok_or(Errno::EINVAL)?;
        match (level, kind) {
            (level::SOCKET, RIGHTS) if domain == family::UNIX => {
                for fd in data.chunks_exact(4) {
                    let fd = i32::from_ne_bytes(number(fd, 0)?);
                    let file = ctx.files().lock().get(fd)?;
                    if file.flags().contains(OpenFlags::PATH) {
                        return Err(Errno::EBADF);
                    }
                    ancillary.rights.push(file);
                }
                if ancillary.rights.len() > MAX_RIGHTS {
                    return Err(Errno::EINVAL);
                }
            }
            (level::SOCKET, CREDENTIALS) if domain == family::UNIX => {
                if data.len() != 12 {
                    return Err(Errno::EINVAL);
                }
                let word = |at| number(data, at).map(u32::from_ne_bytes);
                // Root may claim to be anybody, as long as the process exists.
                let claim = Credentials {
                    pid: word(0)?,
                    uid: word(4)?,
                    gid: word(8)?,
                };
                if !ctx.process().is_called(claim.pid)
                    && crate::task::process::find(claim.pid).is_none()
                {
                    return Err(Errno::ESRCH);
                }
                ancillary.credentials = Some(claim);
            }
            (level::SOCKET, _) => return Err(Errno::EINVAL),
            // Hints about the route or packet (IP_PKTINFO, IP_TOS, ...) change nothing here.
            _ => {}
        }
        rest = rest
            .get(length.max(HEADER).next_multiple_of(8)..)
            .unwrap_or_default();
    }
    Ok(ancillary)
}

/// Space for control messages in the program's memory.
struct Space<'a> {
    ctx: &'a Ctx,
    at: u64,
    left: usize,
    used: u64,
}

impl Space<'_> {
    /// Stores one message, of which as much as fits. Whether that was all.
    fn put(&mut self, kind: i32, data: &[u8]) -> Result<bool> {
        if self.left < HEADER {
            return Ok(false);
        }
        let fits = data.len().min(self.left - HEADER);
        let mut bytes = Vec::new();
        bytes.extend((HEADER as u64 + fits as u64).to_ne_bytes());
        bytes.extend(level::SOCKET.to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(data.iter().take(fits));
        self.ctx
            .write_bytes(self.at.wrapping_add(self.used), &bytes)?;
        let step = bytes.len().next_multiple_of(8).min(self.left);
        self.left -= step;
        self.used += step as u64;
        Ok(fits == data.len())
    }
}

/// Stores what came beside a message: descriptors are opened for the receiver. Sets the length, and
/// MSG_CTRUNC if not all fitted, in `header`.
pub fn write_control(
    ctx: &Ctx,
    header: &mut MsgHdr,
    ancillary: Ancillary,
    flags: MessageFlags,
) -> Result<()> {
    let left = usize::try_from(header.control_len).unwrap_or(usize::MAX);
    let left = if header.control == 0 { 0 } else { left };
    let mut space = Space {
        ctx,
        at: header.control,
        left,
        used: 0,
    };
    let mut whole = true;
    if let Some(who) = ancillary.credentials {
        let bytes: Vec<u8> = [who.pid, who.uid, who.gid]
            .iter()
            .flat_map(|word| word.to_ne_bytes())
            .collect();
        whole &= space.put(CREDENTIALS, &bytes)?;
    }
    if !ancillary.rights.is_empty() {
        // Only as many as there is room for are opened; the others are closed.
        let room = space.left.saturating_sub(HEADER) / 4;
        let close_on_exec = flags.contains(MessageFlags::CMSG_CLOEXEC);
        let mut fds = Vec::new();
        for file in ancillary.rights.iter().take(room) {
            match ctx.files().lock().insert(file.clone(), close_on_exec) {
                Ok(fd) => fds.extend(fd.to_ne_bytes()),
                Err(_) => break,
            }
        }
        whole &= fds.len() / 4 == ancillary.rights.len();
        if !fds.is_empty() {
            space.put(RIGHTS, &fds)?;
        }
    }
    header.control_len = space.used;
    if !whole {
        header.flags |= MessageFlags::CTRUNC.bits();
    }
    Ok(())
}

/// The header at `ptr`.
pub fn read_header(ctx: &Ctx, ptr: UserPtr<MsgHdr>) -> Result<MsgHdr> {
    let header = ctx.read(ptr)?;
    if i32::try_from(header.name_len).is_err() {
        return Err(Errno::EINVAL);
    }
    Ok(header)
}

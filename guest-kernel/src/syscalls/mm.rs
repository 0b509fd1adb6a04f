//! System calls about memory: arguments checked and translated, the work is [`crate::mm`]'s.

use super::args::{Fd, Flags, UserAddr};
use crate::errno::{Errno, Result};
use crate::fs::file::OpenFlags;
use crate::mm::{FutureLock, MapFile, MapFlags, MapRequest, Prot, RemapFlags, reclaim};
use crate::smp;
use crate::task::Ctx;
use crate::task::attributes::READ_IMPLIES_EXEC;
use core::sync::atomic::{Ordering, fence};
use sprout_abi::layout::PAGE_SIZE;

/// `PROT_SEM`: means nothing on x86.
const PROT_SEM: u32 = 8;
/// `PROT_GROWSDOWN`.
const PROT_GROWSDOWN: u32 = 0x0100_0000;
/// `PROT_GROWSUP`: no area does on x86 and arm64.
const PROT_GROWSUP: u32 = 0x0200_0000;

/// `MAP_TYPE`: of these bits three values are kinds, 1 to 3 (MAP_SHARED_VALIDATE).
const MAP_TYPE: u32 = 0xf;

/// mmap(2).
pub fn mmap(
    ctx: &Ctx,
    addr: UserAddr,
    length: u64,
    prot: Flags,
    flags: Flags,
    fd: Fd,
    offset: u64,
) -> Result<u64> {
    if !offset.is_multiple_of(PAGE_SIZE) {
        return Err(Errno::EINVAL);
    }
    let is_kind = (1..=3).contains(&(flags.0 & MAP_TYPE));
    let flags = MapFlags::from_bits_retain(flags.0);
    let file = if flags.contains(MapFlags::ANONYMOUS) {
        None
    } else {
        let open = ctx.files().lock().get(fd.0)?;
        let access = open.flags();
        if access.contains(OpenFlags::PATH) {
            return Err(Errno::EBADF);
        }
        // What is wrong with the request itself comes before what the file can't do.
        if length == 0 {
            return Err(Errno::EINVAL);
        }
        if length > sprout_abi::layout::USER_END {
            return Err(Errno::ENOMEM);
        }
        if !is_kind {
            return Err(Errno::EINVAL);
        }
        let (readable, writable) = (access.readable(), access.writable());
        if !readable {
            return Err(Errno::EACCES);
        }
        Some(MapFile {
            file: open.file().mapping()?,
            offset,
            readable,
            writable,
        })
    };
    if !is_kind {
        return Err(Errno::EINVAL);
    }
    let prot = as_personality_has_it(ctx, Prot::from_bits_truncate(prot.0));
    ctx.space().mmap(&MapRequest {
        addr: addr.0,
        len: length,
        prot,
        flags,
        file,
    })
}

/// READ_IMPLIES_EXEC.
fn as_personality_has_it(ctx: &Ctx, prot: Prot) -> Prot {
    let personality = ctx.task().attributes.lock().personality;
    if prot.contains(Prot::READ) && personality & READ_IMPLIES_EXEC != 0 {
        prot | Prot::EXEC
    } else {
        prot
    }
}

/// Whether a range, rounded up to pages, goes around the end of all addresses.
fn wraps(addr: UserAddr, length: u64) -> bool {
    let end = length
        .checked_next_multiple_of(PAGE_SIZE)
        .and_then(|length| addr.0.checked_add(length));
    end.is_none()
}

/// munmap(2).
pub fn munmap(ctx: &Ctx, addr: UserAddr, length: u64) -> Result<u64> {
    ctx.space().munmap(addr.0, length)?;
    // A program that only computes from now on looks nowhere else.
    reclaim::consider();
    Ok(0)
}

/// mprotect(2).
pub fn mprotect(ctx: &Ctx, addr: UserAddr, length: u64, prot: Flags) -> Result<u64> {
    let grows_down = prot.0 & PROT_GROWSDOWN != 0;
    if grows_down && prot.0 & PROT_GROWSUP != 0 {
        return Err(Errno::EINVAL);
    }
    let bits = prot.0 & !(PROT_SEM | PROT_GROWSDOWN);
    // Linux looks at the range before the protection.
    if addr.0.is_multiple_of(PAGE_SIZE) && length != 0 && wraps(addr, length) {
        return Err(Errno::ENOMEM);
    }
    let prot = Prot::from_bits(bits).ok_or(Errno::EINVAL)?;
    let prot = as_personality_has_it(ctx, prot);
    ctx.space().mprotect(addr.0, length, prot, grows_down)?;
    Ok(0)
}

/// mremap(2).
pub fn mremap(
    ctx: &Ctx,
    addr: UserAddr,
    old_length: u64,
    new_length: u64,
    flags: Flags,
    new_addr: UserAddr,
) -> Result<u64> {
    let flags = RemapFlags::from_bits_retain(flags.0);
    ctx.space()
        .mremap(addr.0, old_length, new_length, flags, new_addr.0)
}

/// brk(2): the end of the heap, moved or not.
pub fn brk(ctx: &Ctx, addr: UserAddr) -> Result<u64> {
    Ok(ctx.space().brk(addr.0))
}

/// madvise(2).
pub fn madvise(ctx: &Ctx, addr: UserAddr, length: u64, advice: i32) -> Result<u64> {
    let advice = u32::try_from(advice).map_err(|_| Errno::EINVAL)?;
    ctx.space().madvise(addr.0, length, advice)?;
    Ok(0)
}

/// msync(2).
pub fn msync(ctx: &Ctx, addr: UserAddr, length: u64, flags: Flags) -> Result<u64> {
    ctx.space().msync(addr.0, length, flags.0)?;
    Ok(0)
}

/// mincore(2).
pub fn mincore(ctx: &Ctx, addr: UserAddr, length: u64, out: UserAddr) -> Result<u64> {
    /// Pages asked about at a time.
    const CHUNK: u64 = 512;
    if !addr.0.is_multiple_of(PAGE_SIZE) {
        return Err(Errno::EINVAL);
    }
    let pages = length.div_ceil(PAGE_SIZE);
    let mut done = 0;
    while done < pages {
        let n = CHUNK.min(pages - done);
        let start = addr.0.checked_add(done * PAGE_SIZE).ok_or(Errno::ENOMEM)?;
        let bytes = ctx.space().mincore(start, n * PAGE_SIZE)?;
        ctx.write_bytes(out.offset(done).0, &bytes)?;
        done += n;
    }
    Ok(0)
}

/// mlock(2): faults the range in; nothing is ever paged out.
pub fn mlock(ctx: &Ctx, addr: UserAddr, length: u64) -> Result<u64> {
    mlock2(ctx, addr, length, Flags(0))
}

/// mlock2(2).
pub fn mlock2(ctx: &Ctx, addr: UserAddr, length: u64, flags: Flags) -> Result<u64> {
    const ONFAULT: u32 = 1;
    if flags.0 & !ONFAULT != 0 {
        return Err(Errno::EINVAL);
    }
    let (start, length) = pages_of(addr, length)?;
    ctx.space().mlock(start, length, flags.0 & ONFAULT != 0)?;
    Ok(0)
}

/// The whole pages of a range, as Linux reckons: a length that wraps when it is rounded up is none
/// at all, an end that wraps is EINVAL.
fn pages_of(addr: UserAddr, length: u64) -> Result<(u64, u64)> {
    let start = addr.0 & !(PAGE_SIZE - 1);
    let up = length
        .wrapping_add(addr.0 - start)
        .wrapping_add(PAGE_SIZE - 1);
    let length = up & !(PAGE_SIZE - 1);
    match start.checked_add(length) {
        Some(_) => Ok((start, length)),
        None => Err(Errno::EINVAL),
    }
}

/// munlock(2).
pub fn munlock(ctx: &Ctx, addr: UserAddr, length: u64) -> Result<u64> {
    let (start, length) = pages_of(addr, length)?;
    ctx.space().munlock(start, length)?;
    Ok(0)
}

/// mlockall(2).
pub fn mlockall(ctx: &Ctx, flags: Flags) -> Result<u64> {
    const CURRENT: u32 = 1;
    const FUTURE: u32 = 2;
    const ONFAULT: u32 = 4;
    if flags.0 == 0 || flags.0 == ONFAULT || flags.0 & !(CURRENT | FUTURE | ONFAULT) != 0 {
        return Err(Errno::EINVAL);
    }
    let on_fault = flags.0 & ONFAULT != 0;
    let future = match (flags.0 & FUTURE != 0, on_fault) {
        (false, _) => FutureLock::None,
        (true, false) => FutureLock::AtOnce,
        (true, true) => FutureLock::OnFault,
    };
    ctx.space()
        .mlockall(flags.0 & CURRENT != 0, on_fault, future);
    Ok(0)
}

/// munlockall(2).
pub fn munlockall(ctx: &Ctx) -> Result<u64> {
    ctx.space().munlockall();
    Ok(0)
}

/// membarrier(2). A switch between threads orders memory, so this is about those that run on other
/// vCPUs now.
pub fn membarrier(ctx: &Ctx, command: i32, flags: Flags, _cpu: i32) -> Result<u64> {
    const REGISTER_GLOBAL_EXPEDITED: i32 = 1 << 2;
    const REGISTER_PRIVATE_EXPEDITED: i32 = 1 << 4;
    const REGISTER_PRIVATE_EXPEDITED_SYNC_CORE: i32 = 1 << 6;
    const GET_REGISTRATIONS: i32 = 1 << 9;
    const QUERY: i32 = 0;
    const GLOBAL: i32 = 1;
    const GLOBAL_EXPEDITED: i32 = 1 << 1;
    const PRIVATE_EXPEDITED: i32 = 1 << 3;
    const PRIVATE_EXPEDITED_SYNC_CORE: i32 = 1 << 5;
    /// All but RSEQ.
    const SUPPORTED: i32 = 0x7f | GET_REGISTRATIONS;
    if flags.0 != 0 {
        return Err(Errno::EINVAL);
    }
    let registered = &ctx.space().barriers;
    match command {
        QUERY => Ok(SUPPORTED as u64),
        GET_REGISTRATIONS => Ok(registered.load(Ordering::Relaxed).into()),
        GLOBAL | GLOBAL_EXPEDITED => {
            fence(Ordering::SeqCst);
            smp::synchronise(None);
            Ok(0)
        }
        PRIVATE_EXPEDITED | PRIVATE_EXPEDITED_SYNC_CORE => {
            // The registration is the next bit.
            if registered.load(Ordering::Relaxed) & (command << 1) as u32 == 0 {
                return Err(Errno::EPERM);
            }
            fence(Ordering::SeqCst);
            smp::synchronise(Some(ctx.space().id()));
            Ok(0)
        }
        REGISTER_GLOBAL_EXPEDITED
        | REGISTER_PRIVATE_EXPEDITED
        | REGISTER_PRIVATE_EXPEDITED_SYNC_CORE => {
            // Nothing has to be prepared; but who did not ask is told so.
            registered.fetch_or(command as u32, Ordering::Relaxed);
            Ok(0)
        }
        _ => Err(Errno::EINVAL),
    }
}

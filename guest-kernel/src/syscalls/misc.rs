//! The system as a whole: name, memory, random numbers.

use crate::errno::{Errno, Result};
use crate::io::Destination;
use crate::io::UserRange;
use crate::syscalls::args::{Flags, UserAddr, UserPtr};
use crate::task::{Ctx, process};
use crate::time::NSEC_PER_SEC;
use alloc::vec;
use alloc::vec::Vec;

/// Kernel release the sentry reports: the Linux whose ABI it follows.
pub const RELEASE: &str = "6.1.0-sprout";
/// uname's version field.
pub const VERSION: &str = "#1 SMP Sprout";

static HOST_NAME: crate::sync::Lock<Vec<u8>> =
    crate::sync::Lock::new(crate::sync::Rank::Leaf, Vec::new());

/// The domain name; empty: never set.
static DOMAIN_NAME: crate::sync::Lock<Vec<u8>> =
    crate::sync::Lock::new(crate::sync::Rank::Leaf, Vec::new());

/// The host name.
pub fn host_name() -> Vec<u8> {
    HOST_NAME.lock().clone()
}

/// Sets the host name (boot, sethostname).
pub fn set_host_name(name: &[u8]) {
    *HOST_NAME.lock() = name.to_vec();
}

/// `struct new_utsname`: six fields of 65 bytes.
type UtsName = [[u8; 65]; 6];

/// uname(2).
pub fn uname(ctx: &Ctx, out: UserPtr<UtsName>) -> Result<u64> {
    let host = host_name();
    let domain = DOMAIN_NAME.lock().clone();
    let domain = match domain.is_empty() {
        true => b"(none)",
        false => &domain[..],
    };
    let machine = crate::arch::MACHINE;
    let fields = [
        b"Linux",
        &host[..],
        RELEASE.as_bytes(),
        VERSION.as_bytes(),
        machine,
        domain,
    ];
    let mut value: UtsName = [[0; 65]; 6];
    for (field, text) in value.iter_mut().zip(fields) {
        let n = text.len().min(64);
        field[..n].copy_from_slice(&text[..n]);
    }
    ctx.write(out, &value)?;
    Ok(0)
}

fn read_name(ctx: &Ctx, name: UserAddr, len: i32) -> Result<Vec<u8>> {
    let len = usize::try_from(len).ok().filter(|len| *len <= 64);
    let mut bytes = vec![0; len.ok_or(Errno::EINVAL)?];
    ctx.read_bytes(name.0, &mut bytes)?;
    Ok(bytes)
}

/// sethostname(2).
pub fn sethostname(ctx: &Ctx, name: UserAddr, len: i32) -> Result<u64> {
    set_host_name(&read_name(ctx, name, len)?);
    Ok(0)
}

/// setdomainname(2).
pub fn setdomainname(ctx: &Ctx, name: UserAddr, len: i32) -> Result<u64> {
    *DOMAIN_NAME.lock() = read_name(ctx, name, len)?;
    Ok(0)
}

/// `struct sysinfo`, 112 bytes as words.
pub fn sysinfo(ctx: &Ctx, out: UserPtr<[u64; 14]>) -> Result<u64> {
    let memory = crate::mm::frame::stats();
    let mut words = [0u64; 14];
    words[0] = crate::time::monotonic_ns() / NSEC_PER_SEC;
    words[4] = memory.total * 4096;
    words[5] = memory.free * 4096;
    // Word 10 packs procs (16 bits); word 13 starts with mem_unit.
    words[10] = process::task_count() as u64 & 0xffff;
    words[13] = 1;
    ctx.write(out, &words)?;
    Ok(0)
}

const GRND_NONBLOCK: u32 = 1;
const GRND_RANDOM: u32 = 2;
const GRND_INSECURE: u32 = 4;

/// getrandom(2).
pub fn getrandom(ctx: &Ctx, buffer: UserAddr, len: usize, flags: Flags) -> Result<u64> {
    let both = GRND_RANDOM | GRND_INSECURE;
    if flags.0 & !(GRND_NONBLOCK | both) != 0 || flags.0 & both == both {
        return Err(Errno::EINVAL);
    }
    let range = UserRange {
        addr: buffer.0,
        len: len as u64,
    };
    let mut out = Destination::user(ctx.space(), Vec::from([range]));
    let mut chunk = [0u8; 1024];
    while out.remaining() > 0 {
        let n = out.remaining().min(chunk.len());
        crate::random::fill(&mut chunk[..n]);
        match out.put(&chunk[..n]) {
            Ok(put) if put == n => {}
            Ok(_) => break,
            Err(error) if out.done() == 0 => return Err(error),
            Err(_) => break,
        }
    }
    Ok(out.done() as u64)
}

/// syslog(2): the kernel log is the operator's.
pub fn syslog(_: &Ctx, _kind: i32, _buffer: UserAddr, _len: i32) -> Result<u64> {
    Err(Errno::EPERM)
}

/// reboot(2): the VM ends when its program does.
pub fn reboot(_: &Ctx) -> Result<u64> {
    Err(Errno::EPERM)
}

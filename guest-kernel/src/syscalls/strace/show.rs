//! Typed arguments that say how they are shown: flags by name, strings, structures behind pointers.
//! A row of the table uses them in place of the plain type its handler takes; they convert.

use super::names::{self, Names, SIGNALS};
use crate::fs::file::OpenFlags;
use crate::syscalls::args::{Arg, Call, Flags, Kind, UserAddr, UserCStr, UserPtr};
use alloc::string::String;
use core::fmt::Write;
use core::marker::PhantomData;

/// Most bytes of a string shown, as strace.
const STRING: usize = 32;
/// Most elements of an array shown.
const ELEMENTS: u64 = 32;

/// Appends bits by name, the rest in hexadecimal.
pub fn bits<N: Names>(value: u64, out: &mut String) {
    let start = out.len();
    let mut rest = value;
    let separated = |out: &mut String, text: &str| {
        if out.len() > start {
            out.push('|');
        }
        out.push_str(text);
    };
    let chosen = value & N::CHOSEN;
    if N::CHOSEN != 0
        && let Some((_, name)) = N::NAMES
            .iter()
            .find(|(value, _)| *value == chosen && value & !N::CHOSEN == 0)
    {
        rest &= !N::CHOSEN;
        separated(out, name);
    }
    for (mask, name) in N::NAMES {
        let is_bits = *mask & N::CHOSEN == 0 && *mask != 0;
        if is_bits && rest & mask == *mask {
            rest &= !mask;
            separated(out, name);
        }
    }
    if rest != 0 {
        separated(out, &alloc::format!("{rest:#x}"));
    }
    if out.len() == start {
        out.push_str(N::NONE);
    }
}

/// Appends a signal's name.
pub fn signal_name(signal: u64, out: &mut String) {
    match SIGNALS.get(signal as usize) {
        Some(name) => out.push_str(name),
        None if signal <= 64 => {
            let _ = write!(out, "SIGRT_{}", signal - 32);
        }
        None => {
            let _ = write!(out, "{signal}");
        }
    }
}

/// Appends bytes as a C string, cut off after some.
pub fn quoted(bytes: &[u8], total: u64, out: &mut String) {
    let shown = &bytes[..bytes.len().min(STRING)];
    out.push('"');
    for (index, byte) in shown.iter().enumerate() {
        let _ = match byte {
            b'"' | b'\\' => write!(out, "\\{}", *byte as char),
            b'\n' => write!(out, "\\n"),
            b'\t' => write!(out, "\\t"),
            b'\r' => write!(out, "\\r"),
            0x0b => write!(out, "\\v"),
            0x0c => write!(out, "\\f"),
            b' '..=b'~' => write!(out, "{}", *byte as char),
            // Shortest octal, unless a digit follows.
            _ if shown.get(index + 1).is_some_and(u8::is_ascii_digit) => {
                write!(out, "\\{byte:03o}")
            }
            _ => write!(out, "\\{byte:o}"),
        };
    }
    out.push('"');
    if total > shown.len() as u64 {
        out.push_str("...");
    }
}

fn address(value: u64, out: &mut String) {
    let _ = match value {
        0 => write!(out, "NULL"),
        _ => write!(out, "{value:#x}"),
    };
}

/// Bits or a choice of `N`.
#[derive(Clone, Copy, Debug)]
pub struct Named<N>(u64, PhantomData<N>);

impl<N: Names> Arg for Named<N> {
    fn from_raw(raw: u64) -> Self {
        Named(raw, PhantomData)
    }
    fn trace(&self, _: &Call<'_>, out: &mut String) {
        // Registers carry 32-bit arguments with anything above them.
        bits::<N>(self.0 & 0xffff_ffff, out);
    }
}

macro_rules! from_named {
    ($($t:ty),*) => {$(
        impl<N> From<Named<N>> for $t {
            fn from(value: Named<N>) -> $t {
                value.0 as $t
            }
        }
    )*};
}
from_named!(i32, u32, i64, u64, usize);

impl<N> From<Named<N>> for Flags {
    fn from(value: Named<N>) -> Flags {
        Flags(value.0 as u32)
    }
}

/// A signal number.
#[derive(Clone, Copy, Debug)]
pub struct Signal(i32);

impl Arg for Signal {
    fn from_raw(raw: u64) -> Self {
        Signal(raw as i32)
    }
    fn trace(&self, _: &Call<'_>, out: &mut String) {
        signal_name(self.0 as u32 as u64, out);
    }
}

impl From<Signal> for i32 {
    fn from(signal: Signal) -> i32 {
        signal.0
    }
}

/// An address that is shown as what lies there.
macro_rules! pointers {
    ($($(#[$doc:meta])* $name:ident $(<$($param:ident: $bound:path),+>)? out $is_out:literal: |$raw:ident, $call:ident, $text:ident| $show:block)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub struct $name$(<$($param),+>)?(u64, PhantomData<fn($($($param),+)?)>);

        impl$(<$($param: $bound),+>)? Arg for $name$(<$($param),+>)? {
            const OUT: bool = $is_out;
            fn from_raw(raw: u64) -> Self {
                $name(raw, PhantomData)
            }
            fn trace(&self, $call: &Call<'_>, $text: &mut String) {
                let $raw = self.0;
                // What a failed call would have written is not there.
                let unwritten = $is_out && !matches!($call.result, Some(Ok(_)));
                if $raw == 0 || unwritten {
                    return address($raw, $text);
                }
                $show
            }
        }

        impl$(<$($param),+>)? From<$name$(<$($param),+>)?> for UserAddr {
            fn from(value: $name$(<$($param),+>)?) -> UserAddr {
                UserAddr(value.0)
            }
        }
    )*};
}

impl<S, T> From<In<S>> for UserPtr<T> {
    fn from(value: In<S>) -> UserPtr<T> {
        UserPtr::new(value.0)
    }
}
impl<S, T> From<Out<S>> for UserPtr<T> {
    fn from(value: Out<S>) -> UserPtr<T> {
        UserPtr::new(value.0)
    }
}

macro_rules! to_user_ptr {
    ($($name:ident),*) => {$(
        impl<T> From<$name> for UserPtr<T> {
            fn from(value: $name) -> UserPtr<T> {
                UserPtr::new(value.0)
            }
        }
    )*};
}
to_user_ptr!(Strings, Environment, PollIn, EventsOut);

/// A structure that can be shown.
pub trait Show {
    /// Its bytes.
    const SIZE: usize;
    /// Appends it; `bytes` has that many.
    fn show(bytes: &[u8], out: &mut String);
}

fn word(bytes: &[u8], at: usize) -> u64 {
    bytes
        .get(at..at + 8)
        .and_then(|eight| eight.try_into().ok())
        .map_or(0, u64::from_le_bytes)
}

fn half(bytes: &[u8], at: usize) -> u32 {
    bytes
        .get(at..at + 4)
        .and_then(|four| four.try_into().ok())
        .map_or(0, u32::from_le_bytes)
}

fn structure<T: Show>(raw: u64, call: &Call<'_>, out: &mut String) {
    let mut bytes = alloc::vec![0; T::SIZE];
    if call.ctx.space().read_some(raw, &mut bytes) == T::SIZE {
        T::show(&bytes, out);
    } else {
        address(raw, out);
    }
}

/// Shows up to [`STRING`] of the `len` bytes at `raw`.
fn string(raw: u64, len: u64, call: &Call<'_>, out: &mut String) {
    let mut bytes = [0; STRING];
    let wanted = (len as usize).min(STRING);
    if call.ctx.space().read_some(raw, &mut bytes[..wanted]) == wanted {
        quoted(&bytes[..wanted], len, out);
    } else {
        address(raw, out);
    }
}

fn vectors(raw: u64, count: u64, mut left: u64, call: &Call<'_>, out: &mut String) {
    out.push('[');
    for index in 0..count.min(ELEMENTS) {
        let mut pair = [0; 16];
        if call
            .ctx
            .space()
            .read_some(raw.wrapping_add(16 * index), &mut pair)
            != 16
        {
            break;
        }
        if index > 0 {
            out.push_str(", ");
        }
        let (base, len) = (word(&pair, 0), word(&pair, 8));
        out.push_str("{iov_base=");
        let there = len.min(left);
        left -= there;
        string(base, there, call, out);
        let _ = write!(out, ", iov_len={len}}}");
    }
    if count > ELEMENTS {
        out.push_str(", ...");
    }
    out.push(']');
}

fn socket_address(raw: u64, len: u64, call: &Call<'_>, out: &mut String) {
    let mut bytes = [0; 128];
    let len = (len as usize).min(bytes.len());
    if len < 2 || call.ctx.space().read_some(raw, &mut bytes[..len]) != len {
        return address(raw, out);
    }
    let port = u16::from_be_bytes([bytes[2], bytes[3]]);
    let _ = match (u16::from_le_bytes([bytes[0], bytes[1]]), len) {
        (1, _) if len == 2 => write!(out, "{{sa_family=AF_UNIX}}"),
        (1, _) => {
            out.push_str("{sa_family=AF_UNIX, sun_path=");
            let path = &bytes[2..len];
            if path[0] == 0 {
                out.push('@');
                quoted(&path[1..], path.len() as u64 - 1, out);
            } else {
                let end = path
                    .iter()
                    .position(|byte| *byte == 0)
                    .unwrap_or(path.len());
                quoted(&path[..end], end as u64, out);
            }
            write!(out, "}}")
        }
        (2, 8..) => write!(
            out,
            "{{sa_family=AF_INET, sin_port=htons({port}), sin_addr=inet_addr(\"{}.{}.{}.{}\")}}",
            bytes[4], bytes[5], bytes[6], bytes[7]
        ),
        (10, 24..) => {
            let octets: [u8; 16] = bytes[8..24].try_into().unwrap_or_default();
            write!(
                out,
                "{{sa_family=AF_INET6, sin6_port=htons({port}), sin6_addr=\"{}\"}}",
                core::net::Ipv6Addr::from(octets)
            )
        }
        (family, _) => write!(out, "{{sa_family={family:#x}, ...}}"),
    };
}

fn poll_fds(raw: u64, count: u64, results: bool, call: &Call<'_>, out: &mut String) {
    out.push('[');
    let mut first = true;
    for index in 0..count.min(ELEMENTS) {
        let mut entry = [0; 8];
        if call
            .ctx
            .space()
            .read_some(raw.wrapping_add(8 * index), &mut entry)
            != 8
        {
            break;
        }
        let fd = half(&entry, 0) as i32;
        let masks = half(&entry, 4);
        let (events, name) = match results {
            false => (masks & 0xffff, "events"),
            true => (masks >> 16, "revents"),
        };
        if results && events == 0 {
            continue;
        }
        let _ = write!(out, "{}{{fd={fd}, {name}=", if first { "" } else { ", " });
        bits::<names::PollBits>(events.into(), out);
        out.push('}');
        first = false;
    }
    out.push(']');
}

pointers! {
    /// Bytes the call reads; their number is the next argument.
    InBytes out false: |raw, call, out| { string(raw, call.argument(1), call, out) }
    /// Bytes the call wrote; their number is its result.
    OutBytes out true: |raw, call, out| { string(raw, call.value(), call, out) }
    /// A string the call wrote.
    OutString out true: |raw, call, out| { UserCStr(UserAddr(raw)).trace(call, out) }
    /// A structure the call reads.
    In<T: Show> out false: |raw, call, out| { structure::<T>(raw, call, out) }
    /// A structure the call wrote.
    Out<T: Show> out true: |raw, call, out| { structure::<T>(raw, call, out) }
    /// Buffers that are written from; their number is the next argument.
    InVectors out false: |raw, call, out| { vectors(raw, call.argument(1), u64::MAX, call, out) }
    /// Buffers that were read into.
    OutVectors out true: |raw, call, out| { vectors(raw, call.argument(1), call.value(), call, out) }
    /// A socket address the call reads; its length is the next argument.
    InSocket out false: |raw, call, out| { socket_address(raw, call.argument(1), call, out) }
    /// A socket address the call wrote; its length is behind the next argument.
    OutSocket out true: |raw, call, out| {
        let mut len = [0; 4];
        call.ctx.space().read_some(call.argument(1), &mut len);
        socket_address(raw, u32::from_le_bytes(len).into(), call, out);
    }
    /// The descriptors of poll; their number is the next argument.
    PollIn out false: |raw, call, out| { poll_fds(raw, call.argument(1), false, call, out) }
    /// The events of epoll_wait; their number is its result.
    EventsOut out true: |raw, call, out| {
        out.push('[');
        for index in 0..call.value().min(ELEMENTS) {
            if index > 0 {
                out.push_str(", ");
            }
            structure::<EpollEvent>(raw.wrapping_add(12 * index), call, out);
        }
        out.push(']');
    }
    /// An array of strings that ends with NULL.
    Strings out false: |raw, call, out| {
        out.push('[');
        for index in 0..ELEMENTS {
            let mut pointer = [0; 8];
            let at = raw.wrapping_add(8 * index);
            if call.ctx.space().read_some(at, &mut pointer) != 8 {
                break;
            }
            let pointer = u64::from_le_bytes(pointer);
            if pointer == 0 {
                break;
            }
            if index > 0 {
                out.push_str(", ");
            }
            UserCStr(UserAddr(pointer)).trace(call, out);
        }
        out.push(']');
    }
    /// The same, of which only the number is interesting.
    Environment out false: |raw, call, out| {
        let mut count = 0;
        let mut pointer = [0; 8];
        while count < 10_000
            && call.ctx.space().read_some(raw.wrapping_add(8 * count), &mut pointer) == 8
            && pointer != [0; 8]
        {
            count += 1;
        }
        let _ = write!(out, "{raw:#x} /* {count} vars */");
    }
}

/// The mode of open: there only if the flags before it create a file.
#[derive(Clone, Copy, Debug)]
pub struct CreateMode(u32);

impl Arg for CreateMode {
    fn from_raw(raw: u64) -> Self {
        CreateMode(raw as u32)
    }
    fn trace(&self, call: &Call<'_>, out: &mut String) {
        let flags = OpenFlags::from_bits_retain(call.before() as u32);
        if flags.intersects(OpenFlags::CREAT | OpenFlags::TMPFILE) {
            let _ = write!(out, "0{:02o}", self.0);
        }
    }
}

impl From<CreateMode> for crate::syscalls::args::ModeArg {
    fn from(mode: CreateMode) -> Self {
        crate::syscalls::args::ModeArg(mode.0)
    }
}

/// An argument that is an address only for some commands, else a number.
#[derive(Clone, Copy, Debug)]
pub struct Opaque(u64);

impl Arg for Opaque {
    const KIND: Kind = Kind::Plain;
    fn from_raw(raw: u64) -> Self {
        Opaque(raw)
    }
    fn trace(&self, _: &Call<'_>, out: &mut String) {
        let _ = match self.0 {
            small @ 0..4096 => write!(out, "{small}"),
            other => write!(out, "{other:#x}"),
        };
    }
}

impl From<Opaque> for u64 {
    fn from(value: Opaque) -> u64 {
        value.0
    }
}

macro_rules! shown {
    ($($(#[$doc:meta])* $name:ident[$size:expr]: |$bytes:ident, $out:ident| $show:block)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub struct $name;

        impl Show for $name {
            const SIZE: usize = $size;
            fn show($bytes: &[u8], $out: &mut String) {
                $show
            }
        }
    )*};
}

fn timespec(bytes: &[u8], out: &mut String) {
    let (sec, nsec) = (word(bytes, 0) as i64, word(bytes, 8) as i64);
    let _ = write!(out, "{{tv_sec={sec}, tv_nsec={nsec}}}");
}

fn timeval(bytes: &[u8], out: &mut String) {
    let (sec, usec) = (word(bytes, 0) as i64, word(bytes, 8) as i64);
    let _ = write!(out, "{{tv_sec={sec}, tv_usec={usec}}}");
}

fn signal_set(set: u64, out: &mut String) {
    // The shorter way round, as strace.
    let (shown, inverted) = if set.count_ones() > 32 {
        (!set, true)
    } else {
        (set, false)
    };
    out.push_str(if inverted { "~[" } else { "[" });
    let mut first = true;
    for signal in 1..=64 {
        if shown & 1 << (signal - 1) != 0 {
            if !core::mem::take(&mut first) {
                out.push(' ');
            }
            let mut name = String::new();
            signal_name(signal, &mut name);
            out.push_str(name.strip_prefix("SIG").unwrap_or(&name));
        }
    }
    out.push(']');
}

fn limit(value: u64, out: &mut String) {
    let _ = match value {
        u64::MAX => write!(out, "RLIM64_INFINITY"),
        value if value >= 1024 && value % 1024 == 0 => write!(out, "{}*1024", value / 1024),
        value => write!(out, "{value}"),
    };
}

shown! {
    /// `struct timespec`.
    TimeSpec[16]: |bytes, out| { timespec(bytes, out) }
    /// `struct timeval`.
    TimeVal[16]: |bytes, out| { timeval(bytes, out) }
    /// `struct itimerspec`.
    ItimerSpec[32]: |bytes, out| {
        out.push_str("{it_interval=");
        timespec(bytes, out);
        out.push_str(", it_value=");
        timespec(&bytes[16..], out);
        out.push('}');
    }
    /// `struct itimerval`.
    ItimerVal[32]: |bytes, out| {
        out.push_str("{it_interval=");
        timeval(bytes, out);
        out.push_str(", it_value=");
        timeval(&bytes[16..], out);
        out.push('}');
    }
    /// A set of signals.
    SignalSet[8]: |bytes, out| { signal_set(word(bytes, 0), out) }
    /// `struct sigaction`.
    Action[32]: |bytes, out| {
        out.push_str("{sa_handler=");
        let _ = match word(bytes, 0) {
            0 => write!(out, "SIG_DFL"),
            1 => write!(out, "SIG_IGN"),
            handler => write!(out, "{handler:#x}"),
        };
        out.push_str(", sa_mask=");
        signal_set(word(bytes, 24), out);
        out.push_str(", sa_flags=");
        let flags = word(bytes, 8);
        bits::<names::ActionFlags>(flags, out);
        if flags & 0x0400_0000 != 0 {
            let _ = write!(out, ", sa_restorer={:#x}", word(bytes, 16));
        }
        out.push('}');
    }
    /// Two descriptors.
    TwoFds[8]: |bytes, out| {
        let _ = write!(out, "[{}, {}]", half(bytes, 0) as i32, half(bytes, 4) as i32);
    }
    /// A 32-bit number.
    Number[4]: |bytes, out| { let _ = write!(out, "[{}]", half(bytes, 0) as i32); }
    /// A 64-bit number.
    Number64[8]: |bytes, out| { let _ = write!(out, "[{}]", word(bytes, 0) as i64); }
    /// `struct rlimit`.
    Limits[16]: |bytes, out| {
        out.push_str("{rlim_cur=");
        limit(word(bytes, 0), out);
        out.push_str(", rlim_max=");
        limit(word(bytes, 8), out);
        out.push('}');
    }
    /// `struct stat`.
    Stat[144]: |bytes, out| {
        let mode = half(bytes, 24);
        let kind = match mode & 0o170000 {
            0o100000 => "S_IFREG",
            0o040000 => "S_IFDIR",
            0o120000 => "S_IFLNK",
            0o020000 => "S_IFCHR",
            0o060000 => "S_IFBLK",
            0o010000 => "S_IFIFO",
            0o140000 => "S_IFSOCK",
            _ => "0",
        };
        let _ = write!(out, "{{st_mode={kind}|0{:02o}, ", mode & 0o7777);
        let device = crate::fs::inode::DeviceNumber::decode(word(bytes, 40));
        let _ = match mode & 0o170000 {
            0o020000 | 0o060000 => write!(
                out, "st_rdev=makedev({:#x}, {:#x}), ...}}", device.major, device.minor
            ),
            _ => write!(out, "st_size={}, ...}}", word(bytes, 48)),
        };
    }
    /// `struct epoll_event`.
    EpollEvent[12]: |bytes, out| {
        out.push_str("{events=");
        bits::<names::EpollBits>(half(bytes, 0).into(), out);
        let data = u64::from(half(bytes, 4)) | u64::from(half(bytes, 8)) << 32;
        let _ = write!(out, ", data={{u32={}, u64={data:#x}}}}}", data as u32);
    }
    /// The status word of wait4.
    WaitStatus[4]: |bytes, out| {
        let status = half(bytes, 0);
        let mut name = String::new();
        match status & 0x7f {
            0 => {
                let code = status >> 8 & 0xff;
                let _ = write!(out, "[{{WIFEXITED(s) && WEXITSTATUS(s) == {code}}}]");
            }
            0x7f if status == 0xffff => out.push_str("[{WIFCONTINUED(s)}]"),
            0x7f => {
                signal_name((status >> 8).into(), &mut name);
                let _ = write!(out, "[{{WIFSTOPPED(s) && WSTOPSIG(s) == {name}}}]");
            }
            signal => {
                signal_name(signal.into(), &mut name);
                let core = if status & 0x80 != 0 { " && WCOREDUMP(s)" } else { "" };
                let _ = write!(out, "[{{WIFSIGNALED(s) && WTERMSIG(s) == {name}{core}}}]");
            }
        }
    }
    /// `struct utsname`.
    Uname[390]: |bytes, out| {
        let field = |at: usize| {
            let text = &bytes[at * 65..][..65];
            text.split(|byte| *byte == 0).next().unwrap_or(&[])
        };
        out.push_str("{sysname=");
        quoted(field(0), field(0).len() as u64, out);
        out.push_str(", nodename=");
        quoted(field(1), field(1).len() as u64, out);
        out.push_str(", ...}");
    }
    /// `struct clone_args`.
    CloneArgs[64]: |bytes, out| {
        out.push_str("{flags=");
        bits::<names::CloneFlags>(word(bytes, 0) & !0xff, out);
        out.push_str(", exit_signal=");
        signal_name(word(bytes, 32), out);
        let _ = write!(
            out, ", stack={:#x}, stack_size={:#x}, tls={:#x}}}",
            word(bytes, 40), word(bytes, 48), word(bytes, 56)
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(show: impl FnOnce(&mut String)) -> String {
        let mut out = String::new();
        show(&mut out);
        out
    }

    #[test]
    fn bits_and_choices_are_named() {
        assert_eq!(
            text(|out| bits::<names::Prot>(3, out)),
            "PROT_READ|PROT_WRITE"
        );
        assert_eq!(text(|out| bits::<names::Prot>(0, out)), "PROT_NONE");
        assert_eq!(
            text(|out| bits::<names::MapFlags>(0x22, out)),
            "MAP_PRIVATE|MAP_ANONYMOUS"
        );
        assert_eq!(text(|out| bits::<names::Whence>(2, out)), "SEEK_END");
        assert_eq!(text(|out| bits::<names::Whence>(99, out)), "0x63");
        assert_eq!(
            text(|out| bits::<names::FutexOperation>(0x80, out)),
            "FUTEX_WAIT|FUTEX_PRIVATE_FLAG"
        );
        assert_eq!(
            text(|out| bits::<names::CloneFlags>(0x111, out)),
            "SIGCHLD|CLONE_VM"
        );
    }

    #[test]
    fn strings_are_quoted_and_cut_off() {
        assert_eq!(text(|out| quoted(b"a\n\"\x01", 4, out)), r#""a\n\"\1""#);
        assert_eq!(text(|out| quoted(b"\x017", 2, out)), r#""\0017""#);
        assert_eq!(
            text(|out| quoted(&[b'x'; 40], 40, out)),
            alloc::format!("\"{}\"...", "x".repeat(32))
        );
    }

    #[test]
    fn structures_show_what_matters() {
        let mut stat = [0; 144];
        stat[24..28].copy_from_slice(&0o100644u32.to_le_bytes());
        stat[48] = 7;
        assert_eq!(
            text(|out| Stat::show(&stat, out)),
            "{st_mode=S_IFREG|0644, st_size=7, ...}"
        );
        let set = (1u64 << 1 | 1 << 14).to_le_bytes();
        assert_eq!(text(|out| SignalSet::show(&set, out)), "[INT TERM]");
        let all = (!0u64 - 1).to_le_bytes();
        assert_eq!(text(|out| SignalSet::show(&all, out)), "~[HUP]");
        assert_eq!(
            text(|out| WaitStatus::show(&0x0300u32.to_le_bytes(), out)),
            "[{WIFEXITED(s) && WEXITSTATUS(s) == 3}]"
        );
    }
}

//! `--strace`: system calls, signals and ends of threads as strace(1) shows them.
//!
//! A call's line begins when it is entered, with the arguments up to the first that the call will
//! write; it is finished at its end. What happens in other threads meanwhile breaks the line:
//! `<unfinished ...>`, and later `<... read resumed>`. A line goes out in one piece where it can,
//! since each piece is an exit to the VMM; before the guest idles, what is unfinished is shown.

pub mod names;
pub mod show;

use crate::errno::{Errno, Result};
use crate::platform;
use crate::sync::{Lock, Rank};
use crate::syscalls::args::{Call, Kind};
use crate::syscalls::table::{self, Returns, Row};
use crate::task::process::ExitStatus;
use crate::task::signal::{SigInfo, code, number::*};
use crate::task::{Ctx, Task, process};
use alloc::format;
use alloc::string::String;
use core::fmt::Write;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use sprout_abi::hypercall::stream;

static ON: AtomicBool = AtomicBool::new(false);

/// One bit for each system call that is shown.
type Set = [u64; 8];
static SHOWN: [AtomicU64; 8] = [const { AtomicU64::new(0) }; 8];

/// The line that is being written.
struct Open {
    tid: u32,
    text: String,
    /// Written already, without its end.
    written: bool,
}

struct Lines {
    open: Option<Open>,
}

static LINES: Lock<Lines> = Lock::new(Rank::Leaf, Lines { open: None });

/// Shows what `filter` says (strace's `-e trace=`); what is wrong with it otherwise.
pub fn start(filter: &str) -> Result<(), String> {
    let set = parse(filter)?;
    for (word, bits) in SHOWN.iter().zip(set) {
        word.store(bits, Ordering::Relaxed);
    }
    ON.store(true, Ordering::Relaxed);
    Ok(())
}

/// Shows nothing (more).
pub fn stop() {
    ON.store(false, Ordering::Relaxed);
}

/// Whether anything is shown.
pub fn is_on() -> bool {
    ON.load(Ordering::Relaxed)
}

fn is_shown(number: u64) -> bool {
    match SHOWN.get(number as usize / 64) {
        Some(word) => word.load(Ordering::Relaxed) & 1 << (number % 64) != 0,
        // Numbers beyond the table are mistakes worth seeing.
        None => true,
    }
}

/// Calls that begin and end processes: strace's `%process`.
const PROCESS: [&str; 13] = [
    "fork",
    "vfork",
    "clone",
    "clone3",
    "execve",
    "execveat",
    "exit",
    "exit_group",
    "wait4",
    "waitid",
    "kill",
    "tkill",
    "tgkill",
];

fn in_class(row: &Row, class: &str) -> Option<bool> {
    let has = |kind| row.arguments.iter().any(|argument| argument.kind == kind);
    let of = |module| row.handler.starts_with(module);
    Some(match class {
        "file" => has(Kind::Path),
        "desc" => has(Kind::Descriptor),
        "network" | "net" => of("net::"),
        "memory" => of("mm::") && row.name != "membarrier",
        "signal" => of("signal::") || row.name == "signalfd" || row.name == "signalfd4",
        "process" => PROCESS.contains(&row.name),
        "clock" => row.name.starts_with("clock_") || row.name.ends_with("timeofday"),
        "creds" => {
            row.handler.starts_with("task::get_id") || row.handler.starts_with("task::set_id")
        }
        _ => return None,
    })
}

/// Parses `open,read`, `trace=%file`, `!futex,poll`, `all`, `none`.
fn parse(filter: &str) -> Result<Set, String> {
    let list = filter
        .strip_prefix("trace=")
        .or_else(|| filter.strip_prefix("t="))
        .unwrap_or(filter);
    let (list, inverted) = match list.strip_prefix('!') {
        Some(rest) => (rest, true),
        None => (list, false),
    };
    let mut set: Set = [0; 8];
    for item in list.split(',') {
        let before = set;
        let mut add = |row: &Row| set[row.x86_64 as usize / 64] |= 1 << (row.x86_64 % 64);
        match (item, item.strip_prefix('%')) {
            ("all", _) => set = [!0; 8],
            ("none", _) => {}
            (_, Some(class)) => {
                for row in table::ROWS {
                    match in_class(row, class) {
                        Some(true) => add(row),
                        Some(false) => {}
                        None => {
                            return Err(format!(
                                "unknown class {item:?}: there are %file, %desc, %network, \
                                 %memory, %process, %signal, %clock and %creds"
                            ));
                        }
                    }
                }
            }
            _ => {
                table::ROWS
                    .iter()
                    .filter(|row| row.name == item)
                    .for_each(add);
                if set == before {
                    return Err(format!("no system call is named {item:?}"));
                }
            }
        }
    }
    if inverted {
        set.iter_mut().for_each(|word| *word = !*word);
    }
    Ok(set)
}

/// A call that was entered, if it is shown.
pub struct Entered {
    name: &'static str,
    /// The first argument that was not shown yet.
    next: usize,
}

/// Says which thread speaks, when there are several.
fn speaker(tid: u32) -> String {
    match process::task_count() {
        0 | 1 => String::new(),
        _ => format!("[pid {tid:5}] "),
    }
}

fn write(text: &str) {
    let _ = platform::console_write(stream::LOG, text.as_bytes());
}

impl Lines {
    /// Ends the open line of another thread.
    fn interrupt(&mut self, tid: u32, out: &mut String) {
        if let Some(open) = self.open.take_if(|open| open.tid != tid) {
            if !open.written {
                out.push_str(&open.text);
            }
            out.push_str(" <unfinished ...>\n");
        }
    }
}

/// A call begins.
pub fn enter(ctx: &Ctx, number: u64, args: [u64; 6]) -> Option<Entered> {
    if !is_shown(number) {
        return None;
    }
    let tid = ctx.task().tid();
    let mut text = speaker(tid);
    let call = Call {
        ctx,
        args,
        index: 0,
        result: None,
    };
    let entered = match table::row(number) {
        Some(row) => {
            let _ = write!(text, "{}(", row.name);
            let next = row.show(&call, 0, &mut text);
            Entered {
                name: row.name,
                next,
            }
        }
        None => {
            let [a, b, c, d, e, f] = args;
            let _ = write!(
                text,
                "syscall_{number:#x}({a:#x}, {b:#x}, {c:#x}, {d:#x}, {e:#x}, {f:#x}"
            );
            Entered {
                name: "syscall",
                next: usize::MAX,
            }
        }
    };
    let mut out = String::new();
    {
        let mut lines = LINES.lock();
        lines.interrupt(tid, &mut out);
        lines.open = Some(Open {
            tid,
            text,
            written: false,
        });
    }
    if !out.is_empty() {
        write(&out);
    }
    Some(entered)
}

/// The call ends.
pub fn leave(ctx: &Ctx, number: u64, args: [u64; 6], entered: &Entered, result: Result<u64>) {
    let tid = ctx.task().tid();
    let call = Call {
        ctx,
        args,
        index: 0,
        result: Some(result),
    };
    let mut rest = String::new();
    let row = table::row(number);
    if let Some(row) = row {
        row.show(&call, entered.next, &mut rest);
    }
    rest.push(')');
    let returns = row.map_or(Returns::Number, |row| row.returns);
    let _ = match (result, returns) {
        (_, Returns::Never) => writeln!(rest, " = ?"),
        (Ok(value), Returns::Address) => writeln!(rest, " = {value:#x}"),
        (Ok(value), _) => writeln!(rest, " = {}", value as i64),
        (Err(errno), _) if errno.code() >= Errno::ERESTARTSYS.code() => writeln!(
            rest,
            " = ? {} ({})",
            errno.name(),
            names::error_text(errno.code())
        ),
        (Err(errno), _) => match names::error_text(errno.code()) {
            "" => writeln!(rest, " = -1 {}", errno.name()),
            text => writeln!(rest, " = -1 {} ({text})", errno.name()),
        },
    };
    let mut out = String::new();
    {
        let mut lines = LINES.lock();
        match lines.open.take_if(|open| open.tid == tid) {
            Some(open) if open.written => {}
            Some(open) => out.push_str(&open.text),
            None => {
                lines.interrupt(tid, &mut out);
                let _ = write!(out, "{}<... {} resumed>", speaker(tid), entered.name);
            }
        }
    }
    out.push_str(&rest);
    write(&out);
}

/// The guest is about to idle: what is unfinished is shown as far as it goes.
pub fn before_idle() {
    if !is_on() {
        return;
    }
    let text = {
        let mut lines = LINES.lock();
        match &mut lines.open {
            Some(open) if !open.written => {
                open.written = true;
                Some(core::mem::take(&mut open.text))
            }
            _ => None,
        }
    };
    if let Some(text) = text {
        write(&text);
    }
}

/// Writes a line of a thread that is no call.
fn note(tid: u32, line: &str) {
    let mut out = String::new();
    {
        let mut lines = LINES.lock();
        lines.interrupt(tid, &mut out);
        // Its own call does not come back.
        if let Some(open) = lines.open.take() {
            if !open.written {
                out.push_str(&open.text);
            }
            out.push_str(" <unfinished ...>) = ?\n");
        }
    }
    let _ = writeln!(out, "{}{line}", speaker(tid));
    write(&out);
}

fn named(signal: u32) -> String {
    let mut name = String::new();
    show::signal_name(signal.into(), &mut name);
    name
}

/// A signal is about to take effect.
pub fn signal(task: &Task, info: &SigInfo) {
    if !is_on() {
        return;
    }
    let name = named(info.signal());
    let mut text = format!("--- {name} {{si_signo={name}, si_code=");
    let (low, high) = (info.fields[0] as u32, (info.fields[0] >> 32) as u32);
    let known = match (info.signal(), info.code) {
        (_, code::SI_USER) => "SI_USER",
        (_, code::SI_KERNEL) => "SI_KERNEL",
        (_, code::SI_QUEUE) => "SI_QUEUE",
        (_, code::SI_TIMER) => "SI_TIMER",
        (_, code::SI_TKILL) => "SI_TKILL",
        (SIGSEGV, 1) => "SEGV_MAPERR",
        (SIGSEGV, 2) => "SEGV_ACCERR",
        (SIGBUS, 1) => "BUS_ADRALN",
        (SIGBUS, 2) => "BUS_ADRERR",
        (SIGFPE, 1) => "FPE_INTDIV",
        (SIGFPE, 3) => "FPE_FLTDIV",
        (SIGFPE, 7) => "FPE_FLTINV",
        (SIGILL, 2) => "ILL_ILLOPN",
        (SIGTRAP, 1) => "TRAP_BRKPT",
        (SIGTRAP, 2) => "TRAP_TRACE",
        (SIGCHLD, 1) => "CLD_EXITED",
        (SIGCHLD, 2) => "CLD_KILLED",
        (SIGCHLD, 3) => "CLD_DUMPED",
        (SIGCHLD, 5) => "CLD_STOPPED",
        (SIGCHLD, 6) => "CLD_CONTINUED",
        _ => "",
    };
    let _ = match known {
        "" => write!(text, "{}", info.code),
        known => write!(text, "{known}"),
    };
    let _ = match (info.signal(), info.code) {
        (_, code::SI_KERNEL) => Ok(()),
        (_, code::SI_TIMER) => write!(text, ", si_timerid={low}, si_overrun={high}"),
        (SIGSEGV | SIGBUS | SIGFPE | SIGILL | SIGTRAP, 1..) => match info.fields[0] {
            0 => write!(text, ", si_addr=NULL"),
            addr => write!(text, ", si_addr={addr:#x}"),
        },
        (SIGCHLD, why @ 1..) => {
            let status = info.fields[1] as u32;
            let status = match why {
                code::CLD_EXITED => format!("{status}"),
                _ => named(status),
            };
            write!(text, ", si_pid={low}, si_uid={high}, si_status={status}")
        }
        _ => write!(text, ", si_pid={low}, si_uid={high}"),
    };
    text.push_str("} ---");
    // The call it interrupted, if any, was shown with its end.
    note(task.tid(), &text);
}

/// The process is stopped.
pub fn stopped(task: &Task, signal: u32) {
    if is_on() {
        note(task.tid(), &format!("--- stopped by {} ---", named(signal)));
    }
}

/// A thread ends.
pub fn exited(task: &Task) {
    if !is_on() {
        return;
    }
    let status = *task.process().exit_status.lock();
    note(
        task.tid(),
        &match status.unwrap_or(ExitStatus::Exited(0)) {
            ExitStatus::Exited(status) => format!("+++ exited with {status} +++"),
            ExitStatus::Signaled(signal, core) => format!(
                "+++ killed by {}{} +++",
                named(signal.into()),
                if core { " (core dumped)" } else { "" }
            ),
        },
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(set: &Set, name: &str) -> bool {
        let row = table::ROWS.iter().find(|row| row.name == name).unwrap();
        set[row.x86_64 as usize / 64] & 1 << (row.x86_64 % 64) != 0
    }

    #[test]
    fn filters_name_calls_and_classes() {
        let set = parse("trace=read,write").unwrap();
        assert!(has(&set, "read") && has(&set, "write") && !has(&set, "open"));
        let set = parse("!read,%file").unwrap();
        assert!(!has(&set, "read") && !has(&set, "openat") && has(&set, "mmap"));
        let set = parse("%network,%memory").unwrap();
        assert!(has(&set, "sendto") && has(&set, "brk") && !has(&set, "read"));
        assert!(has(&parse("%desc").unwrap(), "fstat"));
        assert!(!has(&parse("none").unwrap(), "read"));
        assert!(parse("opne").unwrap_err().contains("opne"));
        assert!(parse("%files").unwrap_err().contains("%file"));
    }
}

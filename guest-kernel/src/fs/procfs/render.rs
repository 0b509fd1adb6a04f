//! The texts in `/proc/PID`.

use super::source::{ProcessInfo, ThreadInfo};
use super::system::NS_PER_TICK;
use crate::errno::{Errno, Result};
use crate::fs::file::OpenFile;
use crate::fs::mount;
use crate::mm::AddressSpace;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Write};

/// `stat`: 52 fields of proc_pid_stat(5), of which those that mean nothing here are 0.
pub fn stat(process: &ProcessInfo, thread: &ThreadInfo, of_thread: bool) -> Vec<u8> {
    let usage = process.space.usage();
    let own = if of_thread {
        thread.cpu_time
    } else {
        process.cpu
    };
    let rss = (usage.rss_anonymous + usage.rss_file) / 4096;
    let rss_limit = process.limits.get(5).map_or(u64::MAX, |limit| limit.0);
    let mut out = format!("{} (", thread.tid).into_bytes();
    out.extend_from_slice(&thread.name);
    let rest = format!(
        ") {state} {parent} {group} {session} 0 -1 4194304 0 0 0 0 {utime} {stime} {cutime} {cstime} \
         {priority} {nice} {threads} 0 {start} {size} {rss} {rss_limit} 0 0 0 0 0 {pending} {blocked} {ignored} \
         {caught} 0 0 0 17 {cpu} {real_time} \
         {policy} 0 0 0 0 0 0 0 0 0 0 0\n",
        state = state(process, thread),
        parent = process.parent,
        group = process.group,
        session = process.session,
        utime = own.user_ns() / NS_PER_TICK,
        stime = own.system_ns / NS_PER_TICK,
        cutime = process.children_cpu.user_ns() / NS_PER_TICK,
        cstime = process.children_cpu.system_ns / NS_PER_TICK,
        threads = process.threads,
        start = process.start_ns / NS_PER_TICK,
        size = usage.size,
        pending = thread.pending,
        blocked = thread.blocked,
        ignored = process.ignored,
        caught = process.caught,
        cpu = thread.cpu,
        priority = thread.priority,
        nice = thread.nice,
        real_time = thread.real_time_priority,
        policy = thread.policy,
    );
    out.extend_from_slice(rest.as_bytes());
    out
}

fn state(process: &ProcessInfo, thread: &ThreadInfo) -> char {
    if process.zombie { 'Z' } else { thread.state }
}

/// `statm`: sizes in pages.
pub fn statm(space: &AddressSpace) -> Vec<u8> {
    let usage = space.usage();
    let pages = |bytes: u64| bytes / 4096;
    let text = format!(
        "{} {} {} {} 0 {} 0\n",
        pages(usage.size),
        pages(usage.rss_anonymous + usage.rss_file + usage.rss_shared),
        pages(usage.rss_file + usage.rss_shared),
        pages(usage.text),
        pages(usage.data + usage.stack),
    );
    text.into_bytes()
}

/// The numbers of the bits set, as ranges: `0-2,5`.
pub fn list(mask: u64) -> String {
    let mut text = String::new();
    let mut bit = 0;
    while let Some(rest) = mask.checked_shr(bit).filter(|rest| *rest != 0) {
        let first = bit + rest.trailing_zeros();
        let last = first + (mask >> first).trailing_ones() - 1;
        let comma = if text.is_empty() { "" } else { "," };
        let _ = match first == last {
            true => write!(text, "{comma}{first}"),
            false => write!(text, "{comma}{first}-{last}"),
        };
        bit = last + 1;
    }
    text
}

/// `status`.
pub fn status(process: &ProcessInfo, thread: &ThreadInfo) -> Vec<u8> {
    let usage = process.space.usage();
    let umask = process.fs.lock().umask.bits();
    let descriptors = process
        .files
        .lock()
        .iter()
        .last()
        .map_or(0, |(fd, _)| fd as u64 + 1);
    let state = match state(process, thread) {
        'R' => "R (running)",
        'T' => "T (stopped)",
        'Z' => "Z (zombie)",
        _ => "S (sleeping)",
    };
    let groups = thread.groups.iter();
    let groups: Vec<String> = groups.map(|group| format!("{group}")).collect();
    let mut out = b"Name:\t".to_vec();
    out.extend_from_slice(&thread.name);
    let mut text = String::new();
    let _ = write!(
        text,
        "\nUmask:\t{umask:04o}\nState:\t{state}\nTgid:\t{pid}\nNgid:\t0\nPid:\t{tid}\nPPid:\t\
         {parent}\nTracerPid:\t0\nUid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\nFDSize:\t{size}\nGroups:\t{groups} \
         \nNStgid:\t{pid}\nNSpid:\t{tid}\nNSpgid:\t{group}\nNSsid:\t{session}\n",
        pid = process.pid,
        tid = thread.tid,
        parent = process.parent,
        size = descriptors.next_power_of_two().max(64),
        groups = groups.join(" "),
        group = process.group,
        session = process.session,
    );
    let rss = usage.rss_anonymous + usage.rss_file + usage.rss_shared;
    for (name, bytes) in [
        ("VmPeak", usage.size),
        ("VmSize", usage.size),
        ("VmLck", usage.locked),
        ("VmPin", 0),
        ("VmHWM", usage.rss_peak),
        ("VmRSS", rss),
        ("RssAnon", usage.rss_anonymous),
        ("RssFile", usage.rss_file),
        ("RssShmem", usage.rss_shared),
        ("VmData", usage.data),
        ("VmStk", usage.stack),
        ("VmExe", usage.text),
        ("VmLib", 0),
        ("VmPTE", usage.tables),
        ("VmSwap", 0),
    ] {
        let _ = writeln!(text, "{name}:\t{:>8} kB", bytes / 1024);
    }
    let [inheritable, permitted, effective, bounding] = thread.capabilities;
    let all_signals = process.limits.get(11).map_or(0, |limit| limit.0);
    let _ = write!(
        text,
        "HugetlbPages:\t       0 kB\nCoreDumping:\t0\nTHP_enabled:\t1\nThreads:\t{threads}\n\
         SigQ:\t{queued}/{all_signals}\nSigPnd:\t{pending:016x}\nShdPnd:\t{shared:016x}\nSigBlk:\t\
         {blocked:016x}\nSigIgn:\t{ignored:016x}\nSigCgt:\t{caught:016x}\nCapInh:\t{inheritable:016x}\n\
         CapPrm:\t{permitted:016x}\nCapEff:\t{effective:016x}\nCapBnd:\t{bounding:016x}\nCapAmb:\t{none:016x}\n\
         NoNewPrivs:\t{no_new}\nSeccomp:\t0\nSeccomp_filters:\t0\nCpus_allowed:\t{cpus:0digits$x}\n\
         Cpus_allowed_list:\t{cpu_list}\nMems_allowed:\t1\nMems_allowed_list:\t0\n\
         voluntary_ctxt_switches:\t0\nnonvoluntary_ctxt_switches:\t0\n",
        threads = process.threads,
        queued = process.queued_signals,
        no_new = u32::from(thread.no_new_privileges),
        pending = thread.pending,
        shared = process.pending,
        blocked = thread.blocked,
        ignored = process.ignored,
        caught = process.caught,
        none = 0,
        cpus = thread.allowed_cpus,
        digits = crate::smp::count().div_ceil(4),
        cpu_list = list(thread.allowed_cpus),
    );
    out.extend_from_slice(text.as_bytes());
    out
}

/// `limits`.
pub fn limits(process: &ProcessInfo) -> Vec<u8> {
    const NAMES: [(&str, &str); 16] = [
        ("cpu time", "seconds"),
        ("file size", "bytes"),
        ("data size", "bytes"),
        ("stack size", "bytes"),
        ("core file size", "bytes"),
        ("resident set", "bytes"),
        ("processes", "processes"),
        ("open files", "files"),
        ("locked memory", "bytes"),
        ("address space", "bytes"),
        ("file locks", "locks"),
        ("pending signals", "signals"),
        ("msgqueue size", "bytes"),
        ("nice priority", ""),
        ("realtime priority", ""),
        ("realtime timeout", "us"),
    ];
    let shown = |limit: u64| match limit {
        u64::MAX => String::from("unlimited"),
        limit => format!("{limit}"),
    };
    let mut out = String::new();
    let _ = writeln!(
        out,
        "{:<25} {:<20} {:<20} {:<10}",
        "Limit", "Soft Limit", "Hard Limit", "Units"
    );
    for ((name, unit), (soft, hard)) in NAMES.iter().zip(&process.limits) {
        let name = format!("Max {name}");
        let _ = writeln!(
            out,
            "{name:<25} {:<20} {:<20} {unit:<10}",
            shown(*soft),
            shown(*hard)
        );
    }
    out.into_bytes()
}

/// `maps` or `smaps`.
pub fn areas(write: impl FnOnce(&mut dyn Write) -> fmt::Result) -> Result<Vec<u8>> {
    let mut out = String::new();
    write(&mut out).map_err(|_| Errno::ENOMEM)?;
    Ok(out.into_bytes())
}

/// `auxv`.
pub fn auxv(process: &ProcessInfo) -> Vec<u8> {
    process
        .auxv
        .iter()
        .flat_map(|word| word.to_le_bytes())
        .collect()
}

/// `fdinfo/N`.
pub fn descriptor(file: &OpenFile, close_on_exec: bool) -> Result<Vec<u8>> {
    const O_CLOEXEC: u32 = 0o2000000;
    let id = file.file().metadata()?.id;
    let flags = file.flags().bits() | if close_on_exec { O_CLOEXEC } else { 0 };
    let position = file.position();
    let mount = mount::of(id).0;
    let mut text = format!(
        "pos:\t{position}\nflags:\t0{flags:o}\nmnt_id:\t{mount}\nino:\t{}\n",
        id.ino
    );
    file.file().describe_state(&mut text);
    Ok(text.into_bytes())
}

/// What `fd/N` says: the path, or what kind of file it is.
pub fn descriptor_target(file: &OpenFile) -> Vec<u8> {
    const DELETED: &[u8] = b" (deleted)";
    if file.path().is_empty() {
        return file.file().describe();
    }
    let mut path = file.path().to_vec();
    let gone = file
        .file()
        .metadata()
        .is_ok_and(|metadata| metadata.nlink == 0);
    if gone && !path.ends_with(DELETED) {
        path.extend_from_slice(DELETED);
    }
    path
}

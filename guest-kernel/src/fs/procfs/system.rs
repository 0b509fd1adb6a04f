//! The texts of `/proc` that are not about one process.

use super::fixed::Content::{self, Link, Text};
use super::source::source;
use crate::errno::{Errno, Result};
use crate::fs::mount;
use crate::mm;
use crate::sync::{Lock, Rank};
use crate::time;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;

/// Clock ticks a second, as programs see them (USER_HZ).
pub const TICKS: u64 = 100;
/// Nanoseconds of a tick.
pub const NS_PER_TICK: u64 = 1_000_000_000 / TICKS;

/// The files, those of a directory side by side.
pub(super) static PROC_FILES: &[(&str, Content)] = &[
    ("cmdline", Text(|| Ok(b"\n".to_vec()))),
    ("cpuinfo", Text(|| Ok(source()?.system().cpuinfo))),
    ("filesystems", Text(filesystems)),
    ("loadavg", Text(load_average)),
    ("meminfo", Text(|| Ok(memory().into_bytes()))),
    ("mounts", Link(|| Ok(b"self/mounts".to_vec()))),
    ("net", Link(|| Ok(b"self/net".to_vec()))),
    ("self", Link(own_process)),
    ("stat", Text(stat)),
    (
        "swaps",
        Text(|| Ok(b"Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n".to_vec())),
    ),
    ("sys/fs/file-max", Text(|| Ok(b"1048576\n".to_vec()))),
    (
        "sys/fs/inotify/max_queued_events",
        Text(|| Ok(b"16384\n".to_vec())),
    ),
    (
        "sys/fs/inotify/max_user_instances",
        Text(|| Ok(b"1024\n".to_vec())),
    ),
    (
        "sys/fs/inotify/max_user_watches",
        Text(|| Ok(b"65536\n".to_vec())),
    ),
    ("sys/fs/nr_open", Text(|| Ok(b"1048576\n".to_vec()))),
    ("sys/fs/pipe-max-size", Text(|| Ok(b"1048576\n".to_vec()))),
    ("sys/kernel/cap_last_cap", Text(|| Ok(b"40\n".to_vec()))),
    ("sys/kernel/core_pattern", Text(|| Ok(b"\n".to_vec()))),
    ("sys/kernel/hostname", Text(host_name)),
    ("sys/kernel/ngroups_max", Text(|| Ok(b"65536\n".to_vec()))),
    (
        "sys/kernel/osrelease",
        Text(|| Ok(line(source()?.system().release))),
    ),
    ("sys/kernel/ostype", Text(|| Ok(b"Linux\n".to_vec()))),
    ("sys/kernel/overflowgid", Text(|| Ok(b"65534\n".to_vec()))),
    ("sys/kernel/overflowuid", Text(|| Ok(b"65534\n".to_vec()))),
    ("sys/kernel/pid_max", Text(|| Ok(b"32768\n".to_vec()))),
    ("sys/kernel/random/boot_id", Text(boot_id)),
    (
        "sys/kernel/random/entropy_avail",
        Text(|| Ok(b"256\n".to_vec())),
    ),
    ("sys/kernel/random/uuid", Text(|| Ok(uuid().into_bytes()))),
    ("sys/kernel/tainted", Text(|| Ok(b"0\n".to_vec()))),
    ("sys/kernel/threads-max", Text(|| Ok(b"32768\n".to_vec()))),
    (
        "sys/kernel/version",
        Text(|| Ok(line(source()?.system().version))),
    ),
    ("sys/net/core/somaxconn", Text(|| Ok(b"4096\n".to_vec()))),
    (
        "sys/net/ipv4/ip_local_port_range",
        Text(|| Ok(b"32768\t60999\n".to_vec())),
    ),
    (
        "sys/net/ipv4/igmp_max_memberships",
        Text(|| Ok(b"20\n".to_vec())),
    ),
    ("sys/net/ipv4/igmp_max_msf", Text(|| Ok(b"10\n".to_vec()))),
    ("sys/net/ipv4/ip_forward", Text(|| Ok(b"0\n".to_vec()))),
    ("sys/net/ipv6/mld_max_msf", Text(|| Ok(b"64\n".to_vec()))),
    ("sys/vm/max_map_count", Text(|| Ok(b"65530\n".to_vec()))),
    ("sys/vm/mmap_min_addr", Text(|| Ok(b"65536\n".to_vec()))),
    ("sys/vm/overcommit_memory", Text(|| Ok(b"0\n".to_vec()))),
    ("sys/vm/swappiness", Text(|| Ok(b"0\n".to_vec()))),
    ("thread-self", Link(own_thread)),
    ("uptime", Text(uptime)),
    ("version", Text(version)),
];

fn line(text: &str) -> Vec<u8> {
    format!("{text}\n").into_bytes()
}

fn own_process() -> Result<Vec<u8>> {
    let (pid, _) = source()?.current().ok_or(Errno::ENOENT)?;
    Ok(format!("{pid}").into_bytes())
}

fn own_thread() -> Result<Vec<u8>> {
    let (pid, tid) = source()?.current().ok_or(Errno::ENOENT)?;
    Ok(format!("{pid}/task/{tid}").into_bytes())
}

fn filesystems() -> Result<Vec<u8>> {
    let kinds = ["sysfs", "tmpfs", "proc", "devtmpfs", "overlay"];
    Ok(kinds
        .map(|kind| format!("nodev\t{kind}\n"))
        .concat()
        .into_bytes())
}

fn load_average() -> Result<Vec<u8>> {
    let source = source()?;
    let system = source.system();
    let last = source.processes().last().copied().unwrap_or(1);
    // Nobody keeps averages: what runs now is told.
    let text = format!(
        "0.00 0.00 0.00 {}/{} {last}\n",
        system.runnable, system.threads
    );
    Ok(text.into_bytes())
}

fn memory() -> String {
    let stats = mm::frame::stats();
    let (total, free) = (stats.total * 4, stats.free * 4);
    let used = total.saturating_sub(free);
    let mut out = String::new();
    for (name, kilobytes) in [
        ("MemTotal", total),
        ("MemFree", free),
        ("MemAvailable", stats.available * 4),
        ("Buffers", 0),
        ("Cached", 0),
        ("SwapCached", 0),
        ("Active", used),
        ("Inactive", 0),
        ("SwapTotal", 0),
        ("SwapFree", 0),
        ("Dirty", 0),
        ("Writeback", 0),
        ("AnonPages", used),
        ("Mapped", 0),
        ("Shmem", 0),
        ("Slab", 0),
        ("CommitLimit", total),
        ("Committed_AS", used),
        ("VmallocTotal", 0),
        ("VmallocUsed", 0),
        ("HugePages_Total", 0),
        ("Hugepagesize", 2048),
    ] {
        let unit = if name.starts_with("HugePages") {
            ""
        } else {
            " kB"
        };
        // As Linux: names to column 16, numbers 8 wide.
        let label = format!("{name}:");
        let _ = writeln!(out, "{label:<15} {kilobytes:>8}{unit}");
    }
    out
}

fn stat() -> Result<Vec<u8>> {
    let system = source()?.system();
    let up = time::monotonic_ns() / NS_PER_TICK;
    let boot = time::realtime_ns().saturating_sub(time::monotonic_ns()) / 1_000_000_000;
    let line = |name: &str, busy: u64, up: u64| {
        let idle = up.saturating_sub(busy);
        format!("{name} {busy} 0 0 {idle} 0 0 0 0 0 0\n")
    };
    let cpus = system.busy_ns.len() as u64;
    let mut text = line("cpu ", system.cpu_ns / NS_PER_TICK, up * cpus);
    for (cpu, busy) in system.busy_ns.iter().enumerate() {
        text += &line(&format!("cpu{cpu}"), busy / NS_PER_TICK, up);
    }
    let _ = write!(
        text,
        "intr 0\nctxt 0\nbtime {boot}\nprocesses {}\nprocs_running {}\nprocs_blocked 0\n",
        system.threads, system.runnable
    );
    Ok(text.into_bytes())
}

fn uptime() -> Result<Vec<u8>> {
    let up = time::monotonic_ns();
    let system = source()?.system();
    let idle = (up * system.busy_ns.len() as u64).saturating_sub(system.cpu_ns);
    let [up, idle] = [up, idle].map(|ns| {
        let hundredths = ns / 10_000_000;
        format!("{}.{:02}", hundredths / 100, hundredths % 100)
    });
    Ok(format!("{up} {idle}\n").into_bytes())
}

fn version() -> Result<Vec<u8>> {
    let system = source()?.system();
    let text = format!(
        "Linux version {} (sprout@sprout) {}\n",
        system.release, system.version
    );
    Ok(text.into_bytes())
}

fn host_name() -> Result<Vec<u8>> {
    let mut name = source()?.system().host_name;
    name.push(b'\n');
    Ok(name)
}

fn uuid() -> String {
    let mut bytes = [0u8; 16];
    crate::random::fill(&mut bytes);
    // RFC 9562: version 4, the usual variant.
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let mut text = String::new();
    for (i, byte) in bytes.iter().enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        let _ = write!(text, "{byte:02x}");
    }
    text.push('\n');
    text
}

fn boot_id() -> Result<Vec<u8>> {
    static BOOT_ID: Lock<Option<String>> = Lock::new(Rank::Leaf, None);
    let known = BOOT_ID.lock().clone();
    let id = match known {
        Some(id) => id,
        None => {
            let fresh = uuid();
            BOOT_ID.lock().get_or_insert(fresh).clone()
        }
    };
    Ok(id.into_bytes())
}

/// `/proc/PID/mounts`.
pub(super) fn mounts() -> Vec<u8> {
    let mut out = Vec::new();
    for mount in mount::all() {
        out.extend_from_slice(mount.source.as_bytes());
        out.push(b' ');
        push_escaped(&mut out, &mount.path);
        out.extend_from_slice(format!(" {} rw,noatime 0 0\n", mount.kind).as_bytes());
    }
    out
}

/// `/proc/PID/mountinfo`.
pub(super) fn mount_info() -> Vec<u8> {
    let mut out = Vec::new();
    for mount in mount::all() {
        let dev = mount.root.id().dev;
        let parent = mount.point.map_or(1, |point| mount::of(point.id()).0);
        let head = format!("{} {parent} {}:{} / ", mount.id, dev.major, dev.minor);
        out.extend_from_slice(head.as_bytes());
        push_escaped(&mut out, &mount.path);
        let tail = format!(" rw,noatime - {} {} rw\n", mount.kind, mount.source);
        out.extend_from_slice(tail.as_bytes());
    }
    out
}

/// White space and backslashes of paths are octal in mount tables.
fn push_escaped(out: &mut Vec<u8>, path: &[u8]) {
    for byte in path {
        match byte {
            b' ' | b'\t' | b'\n' | b'\\' => {
                out.extend_from_slice(format!("\\{byte:03o}").as_bytes());
            }
            _ => out.push(*byte),
        }
    }
}

//! Boot: from the first moment of Rust code to the first program.

use crate::arch;
use crate::errno::{Errno, Result};
use crate::fs::fd::{FdTable, FsContext};
use crate::fs::file::{OpenFile, OpenFlags};
use crate::fs::init::{ImageAt, Setup};
use crate::fs::{devfs, mount};
use crate::mm::{self, AddressSpace};
use crate::platform;
use crate::smp;
use crate::sync::{Lock, Rank};
use crate::syscalls::{counters, misc, strace};
use crate::task::exec::{self, Program};
use crate::task::observer::{Observer, observe};
use crate::task::sched::{self, Outside};
use crate::task::{Process, process, rest};
use crate::tty;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use sprout_abi::boot::{BlobRange, BootInfo, boot_flags};
use sprout_abi::hypercall::stream;
use sprout_abi::layout::MAX_VCPUS;

/// Status `sprout run` gives when the program can't be started, as shells do.
const CANNOT_RUN: u8 = 126;
/// The same, when it is not there.
const NOT_FOUND: u8 = 127;
/// A command line that can't be meant.
const BAD_USAGE: u8 = 2;
/// Where standard streams that are terminals come from.
const CONSOLE: &[u8] = b"/dev/console";

/// Sets everything up and runs the program.
pub fn boot(info: &'static BootInfo) -> ! {
    mm::frame::init(info.free_start, info.ram_size);
    let cpus = (info.vcpus as usize).clamp(1, MAX_VCPUS);
    if arch::prepare_cpus(cpus).is_err() {
        give_up(
            "not enough memory for so many vCPUs; give more with --memory",
            CANNOT_RUN,
        );
    }
    if cpus > 1 {
        smp::start();
    }
    crate::random::reseed(&info.entropy);
    crate::time::set_base(info.clock);
    crate::time::timers::start();
    misc::set_host_name(until_nul(&info.hostname));
    devfs::on_channel_wait(rest::channel_waits);
    observe(Observer {
        signal: strace::signal,
        stopped: strace::stopped,
        exited: strace::exited,
        ends: counters::report,
    });
    sched::set_outside(Outside {
        idle: super::idle::idle,
        events: super::events::handle,
    });
    crate::syscalls::fs::show_processes();
    tty::serve();
    match first_task(info) {
        Ok(task) => {
            sched::enqueue(task);
            if let Err(error) = start_others() {
                give_up(&format!("vCPUs don't start: {}", error.name()), CANNOT_RUN);
            }
            counters::program_starts();
            sched::start()
        }
        Err((message, status)) => give_up(&message, status),
    }
}

/// Starts the other vCPUs; they wait for the kernel lock.
fn start_others() -> Result<()> {
    let entry = arch::secondary_entry();
    (1..smp::count()).try_for_each(|cpu| platform::start_cpu(cpu, entry, arch::own_root(cpu)))
}

fn give_up(message: &str, status: u8) -> ! {
    let line = format!("sprout: {message}\n");
    let _ = platform::console_write(stream::LOG, line.as_bytes());
    platform::exit(status, 0)
}

fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|&byte| byte == 0).next().unwrap_or(bytes)
}

fn strings(range: BlobRange) -> Vec<Vec<u8>> {
    let bytes = mm::boot_slice(range.gpa, range.len);
    let mut parts: Vec<Vec<u8>> = bytes.split(|&byte| byte == 0).map(<[u8]>::to_vec).collect();
    // What follows the last NUL is no string.
    parts.pop();
    parts
}

fn first_task(info: &'static BootInfo) -> Result<Arc<crate::task::Task>, (String, u8)> {
    if info.flags & boot_flags::STRACE != 0 {
        let filter = mm::boot_slice(info.strace.gpa, info.strace.len);
        let filter = match filter {
            b"" => "all".into(),
            filter => String::from_utf8_lossy(filter),
        };
        strace::start(&filter).map_err(|error| (format!("--strace: {error}"), BAD_USAGE))?;
    }
    let internal = |what: &str, error: Errno| (format!("{what}: {}", error.name()), CANNOT_RUN);
    let count = (info.image_count as usize).min(info.images.len());
    let images: Vec<ImageAt<'_>> = info.images[..count]
        .iter()
        .map(|slot| ImageAt {
            bytes: mm::image_slice(slot.gpa, slot.size as usize),
            phys: slot.gpa,
            path: until_nul(&slot.mount),
        })
        .collect();
    let path = mm::boot_slice(info.program.gpa, info.program.len);
    let content = mm::boot_slice(info.program_file.gpa, info.program_file.len);
    let flag = |bit| info.flags & bit != 0;
    crate::fs::init::init(&Setup {
        images: &images,
        program: (!content.is_empty()).then_some((path, content)),
        // Files may take half of RAM in each writable file system.
        pages: info.ram_size / 4096 / 2,
        channel: flag(boot_flags::CHANNEL),
    })
    .map_err(|error| (format!("{error}"), CANNOT_RUN))?;
    let root = mount::root().map_err(|error| internal("no root file system", error))?;
    let fs = Arc::new(Lock::new(Rank::FsContext, FsContext::new(root)));
    let cwd = mm::boot_slice(info.cwd.gpa, info.cwd.len);
    if !cwd.is_empty() {
        let context = fs.lock().clone();
        let located = crate::fs::path::locate(&context, cwd).map_err(|error| {
            let shown = String::from_utf8_lossy(cwd);
            (
                format!("working directory {shown}: {}", error.name()),
                CANNOT_RUN,
            )
        })?;
        fs.lock().cwd = located.inode;
    }
    let mut files = FdTable::new();
    let terminals = [boot_flags::TTY0, boot_flags::TTY1, boot_flags::TTY2].map(flag);
    if terminals.contains(&true) {
        tty::attach_console();
    }
    let node = crate::fs::path::locate(&fs.lock().clone(), CONSOLE)
        .map_err(|error| internal("/dev/console", error))?
        .inode;
    for (fd, is_terminal) in (0..).zip(terminals) {
        let terminal = is_terminal
            .then(|| tty::console_stream(node.clone(), fd))
            .flatten();
        let file = match (terminal, fd) {
            (Some(file), _) => OpenFile::new(file, OpenFlags::RDWR, CONSOLE.to_vec()),
            (None, 0) => OpenFile::new(devfs::console(0), OpenFlags::empty(), Vec::new()),
            (None, _) => OpenFile::new(devfs::console(fd), OpenFlags::WRONLY, Vec::new()),
        };
        files
            .insert(file, false)
            .map_err(|error| internal("standard streams", error))?;
    }
    let shown = String::from_utf8_lossy(path);
    let failed = |error: Errno| {
        let status = if error == Errno::ENOENT {
            NOT_FOUND
        } else {
            CANNOT_RUN
        };
        (
            format!("{shown}: {}: {}", error.name(), explain(error)),
            status,
        )
    };
    let (file, absolute) = exec::open(&fs, path).map_err(failed)?;
    let program = Program {
        path: absolute,
        given: path.to_vec(),
        file,
        argv: strings(info.args),
        envp: strings(info.env),
    };
    let image = exec::build(&fs, program, 0).map_err(failed)?;
    let empty = AddressSpace::new().map_err(|error| internal("memory", error))?;
    let id = process::allocate_id().map_err(|error| internal("process id", error))?;
    let files = Arc::new(Lock::new(Rank::Descriptors, files));
    let init = Arc::new(Process::new(id, None, Arc::new(empty), files, fs));
    tty::control_console(&init);
    process::insert(init.clone());
    exec::start(&init, image).map_err(|error| internal("first task", error))
}

fn explain(error: Errno) -> &'static str {
    match error {
        Errno::ENOENT => "no such file in the guest (or its interpreter is missing)",
        Errno::EACCES => "not an executable file",
        Errno::ENOEXEC => "not an ELF program for this machine, nor a script",
        Errno::ENOMEM => "not enough memory; give more with --memory",
        Errno::E2BIG => "arguments and environment are too long",
        _ => "can't be started",
    }
}

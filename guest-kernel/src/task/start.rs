//! The guest's life outside system calls: boot, idling, events from the operator, restore.

use crate::fs::devfs;
use crate::mm::{Hot, frame};
use crate::platform;
use crate::smp;
use crate::syscalls::strace;
use crate::task::process;
use crate::task::rest;
use crate::task::signal::{self, SigInfo, number::*};
use crate::time::timers;
use crate::tty;
use crate::wait::PollEvents;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};
use sprout_abi::hypercall::{event, wait_flags};

/// How often a vCPU had nothing to do.
static TURN: AtomicU64 = AtomicU64::new(1);

/// Waits in the host for something to do.
pub fn idle() {
    strace::before_idle();
    let deadlines = [timers::next_deadline(), rest::end_ns()];
    let deadline = deadlines.into_iter().flatten().min().unwrap_or(u64::MAX);
    let in_channel = !devfs::channel_queue().is_empty();
    let mut interest = event::TIMER | event::SIGNAL | event::RESTORED;
    if in_channel {
        interest |= event::REQUEST;
    }
    if !devfs::console_input_queue().is_empty() {
        interest |= event::INPUT;
    }
    if tty::console_is_watched() {
        interest |= event::TERMINAL;
    }
    if devfs::is_output_blocked() {
        interest |= event::OUTPUT;
    }
    // The other vCPUs don't run anything either.
    let ready = in_channel && smp::others_idle();
    let flags = if ready { wait_flags::READY } else { 0 };
    // vCPUs may get to the VMM in another order than they looked at the queues in.
    let turn = TURN.fetch_add(1, Ordering::Relaxed);
    if let Some(events) = smp::idle(|| platform::wait(deadline, flags, interest, turn)) {
        handle_events(events);
    }
    rest::over();
}

/// Acts on [`event`] bits.
pub fn handle_events(events: u64) {
    if events & event::RESTORED != 0 {
        restored();
    }
    if events & event::COMPACT != 0 {
        compact();
    }
    if events & event::REQUEST != 0 {
        devfs::channel_queue().wake(PollEvents::IN);
    }
    if events & event::INPUT != 0 {
        devfs::console_input_queue().wake(PollEvents::IN);
    }
    if events & event::TERMINAL != 0 {
        tty::console_readable();
    }
    if events & event::OUTPUT != 0 {
        devfs::output_ready();
        tty::console_writable();
    }
    if events & event::SIGNAL != 0 {
        take_signals();
    }
}

/// Rearranges memory for a snapshot.
fn compact() {
    let spaces: Vec<_> = process::all()
        .iter()
        .map(|process| process.space())
        .collect();
    crate::mm::compact(&spaces, touched_pages().as_ref());
}

/// What the host knows about the pages an answer touches.
fn touched_pages() -> Option<Hot> {
    let size = frame::stats().total.div_ceil(8) as usize;
    let mut bits = Vec::new();
    bits.try_reserve_exact(size).ok()?;
    bits.resize(size, 0);
    let mut filled = 0;
    while let Some(rest) = bits.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match platform::channel_recv(rest) {
            Ok(0) | Err(_) => break,
            Ok(received) => filled += received,
        }
    }
    (filled > 0).then(|| Hot::new(bits))
}

/// The operator's signals: those of the terminal's keys are for its foreground group, the others
/// for the first process.
fn take_signals() {
    while let Some((number, typed)) = platform::take_signal() {
        if number == SIGWINCH {
            tty::console_resized();
            continue;
        }
        let foreground = tty::console().map_or(0, |console| console.foreground());
        if typed && foreground != 0 {
            tty::job::signal_group(foreground, number);
        } else if let Some(init) = process::find(process::init_pid()) {
            let _ = signal::send_to_process(&init, SigInfo::kernel(number));
        }
    }
}

/// This guest is a restored one: nothing random may repeat, and the clocks are put right, before
/// the program runs again.
fn restored() {
    #[cfg(target_os = "none")]
    {
        let mut info = platform::restore_info();
        crate::random::reseed(&info.entropy);
        // The generator has it now; nobody is to find it in memory later.
        info.entropy.fill(0);
        core::hint::black_box(&info);
        platform::forget_restore_entropy();
        crate::time::set_base(info.clock);
        crate::ipc::timerfd::realtime_was_set();
        if info.flags & sprout_abi::boot::boot_flags::STRACE == 0 {
            strace::stop();
        } else if !strace::is_on() {
            let _ = strace::start("all");
        }
        become_a_copy(info.generation);
        crate::syscalls::counters::restored();
    }
}

/// Shows every process that it is a copy, as fork would: what remembers its process id, as OpenSSL's
/// generators do, sees another one, and memory that is not for copies is empty.
#[cfg(target_os = "none")]
fn become_a_copy(generation: u64) {
    let init = process::init_pid();
    for (number, process) in (0..).zip(process::all()) {
        if process.pid() == init {
            process::renumber(&process, id_of_copy(generation, 0));
        } else {
            process::rename(&process, id_of_copy(generation, number + 1));
        }
        if process.space().wipe_copy().is_err() {
            // No memory to take its tables apart: it must not go on with what it was to lose.
            let _ = signal::send_to_process(&process, SigInfo::kernel(SIGKILL));
        }
    }
}

/// Ids of restored processes lie above those given out in order, so they are free.
#[cfg(target_os = "none")]
fn id_of_copy(generation: u64, number: u64) -> u32 {
    const FIRST: u32 = 32_768;
    const COUNT: u64 = 1_000_000;
    // Far apart, so that a seed's instances that follow each other share none.
    const STEP: u64 = 7_919;
    FIRST + ((generation + number * STEP) % COUNT) as u32
}

#[cfg(target_os = "none")]
pub use boot::boot;

#[cfg(target_os = "none")]
mod boot {
    use crate::errno::{Errno, Result};
    use crate::fs::fd::{FdTable, FsContext};
    use crate::fs::file::{OpenFile, OpenFlags};
    use crate::fs::init::{ImageAt, Setup};
    use crate::fs::{devfs, mount};
    use crate::mm::{self, AddressSpace};
    use crate::platform;
    use crate::sync::{Lock, Rank};
    use crate::syscalls::{misc, strace};
    use crate::task::exec::{self, Program};
    use crate::task::{Process, process, sched};
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
        if crate::arch::prepare_cpus(cpus).is_err() {
            give_up(
                "not enough memory for so many vCPUs; give more with --memory",
                CANNOT_RUN,
            );
        }
        crate::random::reseed(&info.entropy);
        crate::time::set_base(info.clock);
        crate::time::timers::start();
        misc::set_host_name(until_nul(&info.hostname));
        crate::syscalls::fs::show_processes();
        tty::serve();
        match first_task(info) {
            Ok(task) => {
                sched::enqueue(task);
                if let Err(error) = crate::arch::start_others() {
                    give_up(&format!("vCPUs don't start: {}", error.name()), CANNOT_RUN);
                }
                crate::syscalls::counters::program_starts();
                sched::start()
            }
            Err((message, status)) => give_up(&message, status),
        }
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
}

//! execve: replacing a process's program.
//!
//! The new address space is built completely before anything of the old program is given up, so a
//! failure (missing interpreter, not enough memory) leaves the caller as it was.

use crate::arch::TrapFrame;
use crate::errno::{Errno, Result};
use crate::fs::fd::FsContext;
use crate::fs::file::{OpenFile, OpenFlags};
use crate::fs::inode::{Inode, InodeId};
use crate::io::Destination;
use crate::mm::AddressSpace;
use crate::sync::{Lock, Rank};
use crate::task::attributes::NO_RANDOMIZE;
use crate::task::elf::{Elf, HEAD_SIZE, parse_script};
use crate::task::load::{self, Loaded};
use crate::task::process::{self, Process, ProgramInfo};
use crate::task::signal::SigSet;
use crate::task::thread::{OwnParts, Task};
use crate::task::{Ctx, exit, sched};
use crate::wait::PollEvents;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

/// Longest argument or environment string, with its NUL (MAX_ARG_STRLEN).
pub const STRING_MAX: usize = 128 << 10;
/// Most bytes of arguments and environment together: a quarter of the usual stack limit.
pub const STRINGS_MAX: usize = 2 << 20;
/// Interpreters of interpreters (`#!`) followed.
const SCRIPT_DEPTH: usize = 4;

/// A program to run.
pub struct Program {
    /// Absolute path, for /proc/self/exe.
    pub path: Vec<u8>,
    /// The path as exec was given it: what a script is told, AT_EXECFN, and the thread's name.
    pub given: Vec<u8>,
    /// The open file.
    pub file: Arc<OpenFile>,
    /// Arguments.
    pub argv: Vec<Vec<u8>>,
    /// Environment.
    pub envp: Vec<Vec<u8>>,
}

/// What [`build`] made.
pub struct Image {
    space: AddressSpace,
    registers: TrapFrame,
    info: ProgramInfo,
    name: [u8; 16],
}

/// Auxiliary vector types (include/uapi/linux/auxvec.h).
mod at {
    pub const NULL: u64 = 0;
    pub const PHDR: u64 = 3;
    pub const PHENT: u64 = 4;
    pub const PHNUM: u64 = 5;
    pub const PAGESZ: u64 = 6;
    pub const BASE: u64 = 7;
    pub const FLAGS: u64 = 8;
    pub const ENTRY: u64 = 9;
    pub const UID: u64 = 11;
    pub const EUID: u64 = 12;
    pub const GID: u64 = 13;
    pub const EGID: u64 = 14;
    pub const PLATFORM: u64 = 15;
    pub const HWCAP: u64 = 16;
    pub const CLKTCK: u64 = 17;
    pub const SECURE: u64 = 23;
    pub const RANDOM: u64 = 25;
    pub const HWCAP2: u64 = 26;
    pub const EXECFN: u64 = 31;
    pub const SYSINFO_EHDR: u64 = 33;
    pub const MINSIGSTKSZ: u64 = 51;
}

/// Opens `path` for execution: ENOENT, EACCES (not a regular file, or no execute bit).
pub fn open(fs: &Lock<FsContext>, path: &[u8]) -> Result<(Arc<OpenFile>, Vec<u8>)> {
    let located = {
        let context = fs.lock().clone();
        crate::fs::path::locate(&context, path)?
    };
    open_inode(located.inode, located.path, located.directory)
}

/// As [`open`], of an inode with the path to show for it.
pub fn open_inode(
    inode: Arc<dyn Inode>,
    path: Vec<u8>,
    directory: Option<InodeId>,
) -> Result<(Arc<OpenFile>, Vec<u8>)> {
    let metadata = inode.metadata()?;
    if metadata.kind != crate::fs::inode::FileKind::Regular {
        return Err(Errno::EACCES);
    }
    if metadata.mode.bits() & 0o111 == 0 {
        return Err(Errno::EACCES);
    }
    let flags = OpenFlags::empty();
    let file = inode.open(flags, &path)?;
    let open = OpenFile::opened_in(file, flags, path.clone(), directory);
    Ok((open, path))
}

pub(super) fn read_head(file: &OpenFile) -> Result<Vec<u8>> {
    let mut head = alloc::vec![0; HEAD_SIZE];
    let n = file.pread(&mut Destination::kernel(&mut head), 0)?;
    head.truncate(n);
    Ok(head)
}

/// Builds the address space and start registers for `program`, following `#!` lines.
/// `personality`: the flags that say where memory goes.
pub fn build(fs: &Lock<FsContext>, mut program: Program, personality: u32) -> Result<Image> {
    let mut executable = program.file.clone();
    let mut exe_path = program.path.clone();
    let mut script = program.given.clone();
    // They stay open until their interpreter has been read, and are closed before it.
    let mut scripts = Vec::new();
    for depth in 0.. {
        let head = read_head(&executable)?;
        let Some((interpreter, argument)) = parse_script(&head) else {
            let elf = load::parse(&executable, &head)?;
            if !elf.loadable {
                return Err(Errno::ENOEXEC);
            }
            let interpreter = load::interpreter(fs, &elf, &executable)?;
            let files = (elf, executable, interpreter);
            return image(files, exe_path, &program, personality);
        };
        if depth == SCRIPT_DEPTH {
            return Err(Errno::ELOOP);
        }
        let mut argv = Vec::from([interpreter.clone()]);
        argv.extend(argument);
        argv.push(script);
        script = interpreter.clone();
        argv.extend(program.argv.iter().skip(1).cloned());
        program.argv = argv;
        (executable, exe_path) = open(fs, &interpreter)?;
        scripts.push(core::mem::replace(&mut program.file, executable.clone()));
    }
    Err(Errno::ELOOP)
}

type Files = (Elf, Arc<OpenFile>, Option<(Elf, Arc<OpenFile>)>);

/// What is wrong from here on Linux finds when the old program is gone: the new one dies of SIGSEGV
/// at once. So does this one, which starts where nothing is.
fn image(files: Files, exe_path: Vec<u8>, program: &Program, personality: u32) -> Result<Image> {
    let (elf, file, interpreter) = files;
    let space = AddressSpace::new()?;
    let interpreter = interpreter.as_ref().map(|(elf, file)| (elf, &**file));
    let loaded = load::load(&space, (&elf, &file), interpreter, personality);
    let (space, loaded) = match loaded {
        Ok(loaded) => (space, loaded),
        Err(Errno::ENOMEM) => return Err(Errno::ENOMEM),
        Err(_) => {
            let space = AddressSpace::new()?;
            let stack_end = space.map_stack(0, 0)?;
            (space, Loaded::broken(stack_end))
        }
    };
    let shift = match personality & NO_RANDOMIZE {
        0 => crate::random::next_u64() & 0x1ff0,
        _ => 0,
    };
    let stack_top = loaded.stack_end - shift;
    let vdso = crate::arch::vdso::map(&space)?;
    let (bias, base, entry) = (loaded.bias, loaded.base, loaded.entry);
    let auxv = [
        (at::SYSINFO_EHDR, vdso),
        (at::HWCAP, crate::arch::hwcap()),
        (at::PAGESZ, 4096),
        (at::CLKTCK, 100),
        (at::PHDR, elf.headers_vaddr.wrapping_add(bias)),
        (at::PHENT, elf.headers.1.into()),
        (at::PHNUM, elf.headers.2.into()),
        (at::BASE, base),
        (at::FLAGS, 0),
        (at::ENTRY, elf.entry.wrapping_add(bias)),
        (at::UID, 0),
        (at::EUID, 0),
        (at::GID, 0),
        (at::EGID, 0),
        (at::SECURE, 0),
        (at::HWCAP2, crate::arch::hwcap2()),
        (at::MINSIGSTKSZ, crate::arch::minimum_signal_stack()),
    ];
    let (sp, info) = write_stack(&space, stack_top, program, &exe_path, &auxv)?;
    let mut name = [0; 16];
    let given = &program.given;
    let base_name = given.rsplit(|&byte| byte == b'/').next().unwrap_or(given);
    let n = base_name.len().min(15);
    name[..n].copy_from_slice(&base_name[..n]);
    Ok(Image {
        space,
        registers: TrapFrame::start(entry, sp),
        info,
        name,
    })
}

/// Lays out strings, auxiliary vector, environment and argument pointers. The strings lie contiguous
/// and ascending, arguments first (libuv's process.title relies on it).
fn write_stack(
    space: &AddressSpace,
    stack_top: u64,
    program: &Program,
    exe_path: &[u8],
    auxv: &[(u64, u64)],
) -> Result<(u64, ProgramInfo)> {
    let join = |strings: &[Vec<u8>]| {
        let mut joined = Vec::new();
        for string in strings {
            joined.extend_from_slice(string);
            joined.push(0);
        }
        joined
    };
    let (cmdline, environ) = (join(&program.argv), join(&program.envp));
    if cmdline.len() + environ.len() > STRINGS_MAX {
        return Err(Errno::E2BIG);
    }
    let mut file_name = program.given.clone();
    file_name.push(0);
    let file_name_at = stack_top - 16 - file_name.len() as u64;
    let environ_at = file_name_at - environ.len() as u64;
    let cmdline_at = environ_at - cmdline.len() as u64;
    let mut random = [0u8; 16];
    crate::random::fill(&mut random);
    let platform = b"x86_64\0";
    let platform_at = cmdline_at - platform.len() as u64;
    let random_at = (platform_at - 16) & !15;
    let mut words: Vec<u64> = Vec::new();
    words.push(program.argv.len() as u64);
    let mut push_pointers = |strings: &[Vec<u8>], mut at: u64| {
        for string in strings {
            words.push(at);
            at += string.len() as u64 + 1;
        }
        words.push(0);
    };
    push_pointers(&program.argv, cmdline_at);
    push_pointers(&program.envp, environ_at);
    let mut vector: Vec<u64> = Vec::new();
    let own = [
        (at::RANDOM, random_at),
        (at::EXECFN, file_name_at),
        (at::PLATFORM, platform_at),
    ];
    for &(kind, value) in auxv.iter().chain(&own).chain(&[(at::NULL, 0)]) {
        if kind != at::SYSINFO_EHDR || value != 0 {
            vector.extend([kind, value]);
        }
    }
    words.extend_from_slice(&vector);
    let sp = (random_at - words.len() as u64 * 8) & !15;
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    for (addr, bytes) in [
        (file_name_at, &file_name[..]),
        (environ_at, &environ),
        (cmdline_at, &cmdline),
        (platform_at, &platform[..]),
        (random_at, &random),
        (sp, &bytes),
    ] {
        if space.write_some(addr, bytes) != bytes.len() {
            return Err(Errno::E2BIG);
        }
    }
    Ok((
        sp,
        ProgramInfo {
            exe: exe_path.to_vec(),
            cmdline,
            environ,
            auxv: vector,
        },
    ))
}

/// The first program: makes `process` and its thread start in `image`.
pub fn start(process: &Arc<Process>, image: Image) -> Result<Arc<Task>> {
    drop(process.set_space(Arc::new(image.space)));
    *process.program.lock() = image.info;
    let task = Task::new(process.pid(), process.clone(), image.name)?;
    task.registers
        .set_kernel_sp(task.stack.prepare(&image.registers));
    process::insert_task(&task);
    Ok(task)
}

/// Replaces the calling process's program; on success the caller returns into the new one.
pub fn execve(ctx: &Ctx, frame: &mut TrapFrame, program: Program) -> Result<u64> {
    let (task, process) = (ctx.task(), ctx.process());
    let personality = task.attributes.lock().personality;
    let image = build(ctx.fs(), program, personality)?;
    end_other_threads(ctx)?;
    if task.tid() != process.pid() {
        process::become_leader(task);
    }
    // What waits on words in the old memory is told before it goes.
    exit::release_thread(task, ctx.space());
    image.space.set_limits(process::memory_limits(process));
    let old = process.set_space(Arc::new(image.space));
    process.space().activate();
    drop(old);
    process.release_vfork();
    let files = {
        let mut own = ctx.files().lock().fork();
        own.remove_close_on_exec();
        own
    };
    drop(process.set_files(Arc::new(Lock::new(Rank::Descriptors, files))));
    drop(process.set_fs(ctx.fs().clone()));
    drop(task.set_own_parts(OwnParts::default()));
    process.has_execed.store(true, Ordering::Relaxed);
    process.dumpable.store(1, Ordering::Relaxed);
    task.attributes.lock().after_exec();
    process.signals.lock().reset_handlers();
    process.timers.lock().exec();
    *process.program.lock() = image.info;
    *task.name.lock() = image.name;
    {
        let mut own = task.signals.lock();
        own.alt_stack = Default::default();
        own.saved_mask = None;
        own.mask = own.mask - SigSet::UNBLOCKABLE;
    }
    task.fpu.lock().reset();
    task.fpu.lock().restore();
    crate::arch::reset_thread_pointers();
    task.robust_list.store(0, Ordering::Relaxed);
    *frame = image.registers;
    Ok(0)
}

/// exec leaves one thread: the others are killed and waited for.
fn end_other_threads(ctx: &Ctx) -> Result<()> {
    let task = ctx.task();
    let waker = task.clone() as Arc<dyn crate::wait::Wake>;
    let process = ctx.process();
    let token = process.thread_gone.add(waker, PollEvents::IN);
    for other in process.tasks() {
        if !Arc::ptr_eq(&other, task) {
            other.kill();
        }
    }
    while process.tasks().len() > 1 && !task.is_killed() {
        sched::block_current(task, None);
    }
    process.thread_gone.remove(token);
    if task.is_killed() {
        Err(Errno::EINTR)
    } else {
        Ok(())
    }
}

//! execve: replacing a process's program.
//!
//! The new address space is built completely before anything of the old program is given up, so a
//! failure (missing interpreter, not enough memory) leaves the caller as it was.

use crate::arch::TrapFrame;
use crate::errno::{Errno, Result};
use crate::fs::fd::FsContext;
use crate::fs::file::{OpenFile, OpenFlags};
use crate::fs::inode::Inode;
use crate::io::Destination;
use crate::mm::{AddressSpace, FileMapping, MapFile, MapFlags, MapRequest, Prot};
use crate::sync::{Lock, Rank};
use crate::task::elf::{Elf, HEAD_SIZE, parse_script};
use crate::task::process::{self, Process, ProgramInfo};
use crate::task::signal::SigSet;
use crate::task::thread::{OwnParts, Task};
use crate::task::{Ctx, exit, sched};
use crate::wait::PollEvents;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;
use sprout_abi::layout::{HUGE_PAGE_SIZE, USER_END};

/// Longest argument or environment string, with its NUL (MAX_ARG_STRLEN).
pub const STRING_MAX: usize = 128 << 10;
/// Most bytes of arguments and environment together: a quarter of the usual stack limit.
pub const STRINGS_MAX: usize = 2 << 20;
/// Interpreters of interpreters (`#!`) followed.
const SCRIPT_DEPTH: usize = 4;
/// Where position-independent programs go, before randomisation: two thirds of the address space.
const PIE_BASE: u64 = 0x5555_5555_4000;

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
    open_inode(located.inode, located.path)
}

/// As [`open`], of an inode with the path to show for it.
pub fn open_inode(inode: Arc<dyn Inode>, path: Vec<u8>) -> Result<(Arc<OpenFile>, Vec<u8>)> {
    let metadata = inode.metadata()?;
    if metadata.kind != crate::fs::inode::FileKind::Regular {
        return Err(Errno::EACCES);
    }
    if metadata.mode.bits() & 0o111 == 0 {
        return Err(Errno::EACCES);
    }
    let flags = OpenFlags::empty();
    let file = inode.open(flags, &path)?;
    Ok((OpenFile::new(file, flags, path.clone()), path))
}

fn read_head(file: &OpenFile) -> Result<Vec<u8>> {
    let mut head = alloc::vec![0; HEAD_SIZE];
    let n = file.pread(&mut Destination::kernel(&mut head), 0)?;
    head.truncate(n);
    Ok(head)
}

/// Builds the address space and start registers for `program`, following `#!` lines.
pub fn build(fs: &Lock<FsContext>, mut program: Program) -> Result<Image> {
    let mut executable = program.file.clone();
    let mut exe_path = program.path.clone();
    let mut script = program.given.clone();
    for depth in 0.. {
        let head = read_head(&executable)?;
        let Some((interpreter, argument)) = parse_script(&head) else {
            let elf = Elf::parse(&head)?;
            return load(fs, &elf, executable, exe_path, &program);
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
    }
    Err(Errno::ELOOP)
}

fn load(
    fs: &Lock<FsContext>,
    elf: &Elf,
    file: Arc<OpenFile>,
    exe_path: Vec<u8>,
    program: &Program,
) -> Result<Image> {
    let space = AddressSpace::new()?;
    // Randomisation as on Linux: 28 bits of pages for the program, 13 for the heap. Stack and mmap
    // area move over 1 TiB, as there, but in steps that change nothing about which pages are in one
    // large page, and never more than 1 GiB apart: they share tables, of which each costs a process
    // some 20 µs on software KVM.
    let random = |bits: u32| crate::random::next_u64() & ((1 << bits) - 1);
    let random_pages = |bits: u32| random(bits) << 12;
    let stack_shift = (random(10) << 30) + random(6) * HUGE_PAGE_SIZE;
    let stack_end = space.map_stack(stack_shift, random(7) * HUGE_PAGE_SIZE)?;
    if elf.executable_stack {
        let all = Prot::READ | Prot::WRITE | Prot::EXEC;
        space.mprotect(stack_end - 4096, 4096, all, true)?;
    }
    let bias = if elf.relocatable {
        PIE_BASE + random_pages(28)
    } else {
        0
    };
    map_segments(&space, elf, &file, bias)?;
    let (mut entry, mut base) = (elf.entry.wrapping_add(bias), 0);
    if let Some((offset, size)) = elf.interpreter {
        let path = interpreter_path(&file, offset, size)?;
        let (interpreter_file, _) = open(fs, &path)?;
        let interpreter = Elf::parse(&read_head(&interpreter_file)?)?;
        let (first, end) = interpreter.span();
        if interpreter.relocatable {
            // Finds room for all segments together; they replace it one by one.
            let room = MapRequest {
                len: end - first,
                flags: MapFlags::PRIVATE | MapFlags::ANONYMOUS,
                ..MapRequest::default()
            };
            base = space.mmap(&room)?.wrapping_sub(first);
        }
        map_segments(&space, &interpreter, &interpreter_file, base)?;
        entry = interpreter.entry.wrapping_add(base);
    }
    let (_, end) = elf.span();
    // At a random place, as on Linux, but where it can fill large pages.
    let heap = (end.wrapping_add(bias) + random_pages(13)).next_multiple_of(HUGE_PAGE_SIZE);
    space.set_brk_start(heap)?;
    let stack_top = stack_end - (crate::random::next_u64() & 0x1ff0);
    let vdso = crate::arch::vdso::map(&space)?;
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

fn interpreter_path(file: &OpenFile, offset: u64, size: u64) -> Result<Vec<u8>> {
    if size < 2 || size > crate::syscalls::args::PATH_MAX as u64 {
        return Err(Errno::ENOEXEC);
    }
    let mut path = alloc::vec![0; size as usize];
    let n = file.pread(&mut Destination::kernel(&mut path), offset)?;
    if n != path.len() || path.pop() != Some(0) {
        return Err(Errno::ENOEXEC);
    }
    Ok(path)
}

fn map_segments(space: &AddressSpace, elf: &Elf, file: &OpenFile, bias: u64) -> Result<()> {
    let mapping = file.file().mapping()?;
    for segment in &elf.segments {
        let start = segment.vaddr.wrapping_add(bias);
        let page = start & !4095;
        let file_end = start + segment.file_size;
        let mem_end = start + segment.mem_size;
        if mem_end >= USER_END {
            return Err(Errno::ENOEXEC);
        }
        let [read, write, execute] = segment.access;
        let mut prot = Prot::empty();
        prot.set(Prot::READ, read);
        prot.set(Prot::WRITE, write);
        prot.set(Prot::EXEC, execute);
        let file_pages_end = if segment.file_size == 0 {
            page
        } else {
            (file_end + 4095) & !4095
        };
        if file_pages_end > page {
            let offset = segment.offset - (start - page);
            map_fixed(space, page, file_pages_end, prot, Some((&mapping, offset)))?;
            space.prepare(page);
        }
        let mem_pages_end = (mem_end + 4095) & !4095;
        if mem_pages_end > file_pages_end {
            map_fixed(space, file_pages_end, mem_pages_end, prot, None)?;
            space.prepare(file_pages_end);
        }
        // The file's bytes after the segment must not show in .bss.
        if write && file_end % 4096 != 0 && mem_end > file_end {
            let zeroes = [0; 4096];
            let tail = (file_pages_end - file_end) as usize;
            if space.write_some(file_end, &zeroes[..tail]) != tail {
                return Err(Errno::ENOMEM);
            }
        }
    }
    Ok(())
}

fn map_fixed(
    space: &AddressSpace,
    start: u64,
    end: u64,
    prot: Prot,
    file: Option<(&Arc<dyn FileMapping>, u64)>,
) -> Result<()> {
    let mut flags = MapFlags::PRIVATE | MapFlags::FIXED;
    flags.set(MapFlags::ANONYMOUS, file.is_none());
    let file = file.map(|(file, offset)| MapFile {
        file: file.clone(),
        offset,
        readable: true,
        writable: false,
    });
    space.mmap(&MapRequest {
        addr: start,
        len: end - start,
        prot,
        flags,
        file,
    })?;
    Ok(())
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
    let image = build(ctx.fs(), program)?;
    let (task, process) = (ctx.task(), ctx.process());
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

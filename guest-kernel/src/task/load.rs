//! Mapping an executable and its interpreter into a new address space, as Linux's load_elf_binary
//! (fs/binfmt_elf.c) does it: packers, other linkers and hand-made files rely on its details.

use super::attributes::NO_RANDOMIZE;
use super::elf::{Elf, Segment};
use super::exec;
use crate::errno::{Errno, Result};
use crate::fs::fd::FsContext;
use crate::fs::file::OpenFile;
use crate::io::Destination;
use crate::mm::{AddressSpace, FileMapping, MapFile, MapFlags, MapRequest, Prot};
use crate::sync::Lock;
use alloc::sync::Arc;
use alloc::vec::Vec;
use sprout_abi::layout::{HUGE_PAGE_SIZE, USER_END};

/// Where position-independent programs go, before randomisation: two thirds of the address space.
const PIE_BASE: u64 = 0x5555_5555_4000;

/// Where things are in the new address space.
pub struct Loaded {
    /// First instruction.
    pub entry: u64,
    /// What was added to the program's addresses.
    pub bias: u64,
    /// What was added to the interpreter's, or 0.
    pub base: u64,
    /// End of the stack.
    pub stack_end: u64,
}

impl Loaded {
    /// Of a program that can only die.
    pub fn broken(stack_end: u64) -> Loaded {
        Loaded {
            entry: 0,
            bias: 0,
            base: 0,
            stack_end,
        }
    }
}

/// Parses an ELF file whose first bytes are `head`.
pub fn parse(file: &OpenFile, head: &[u8]) -> Result<Elf> {
    let place = Elf::headers(head)?;
    let mut headers = alloc::vec![0; (place.end - place.start) as usize];
    let read = file.pread(&mut Destination::kernel(&mut headers), place.start);
    if read.map_err(|_| Errno::ENOEXEC)? != headers.len() {
        return Err(Errno::ENOEXEC);
    }
    Elf::parse(head, &headers)
}

/// The interpreter that `elf` asks for.
pub fn interpreter(
    fs: &Lock<FsContext>,
    elf: &Elf,
    file: &OpenFile,
) -> Result<Option<(Elf, Arc<OpenFile>)>> {
    let Some((offset, size)) = elf.interpreter else {
        return Ok(None);
    };
    let path = interpreter_path(file, offset, size)?;
    // Its kind is looked at when it is mapped.
    let (file, _) = exec::open(fs, &path)?;
    let head = exec::read_head(&file)?;
    let short = head.len() < 64;
    let elf = parse(&file, &head);
    let elf = elf.map_err(|_| if short { Errno::EIO } else { Errno::ELIBBAD })?;
    Ok(Some((elf, file)))
}

fn interpreter_path(file: &OpenFile, offset: u64, size: u64) -> Result<Vec<u8>> {
    if size < 2 || size > crate::fs::path::PATH_MAX as u64 {
        return Err(Errno::ENOEXEC);
    }
    let mut path = alloc::vec![0; size as usize];
    let n = file.pread(&mut Destination::kernel(&mut path), offset)?;
    if n != path.len() {
        return Err(Errno::EIO);
    }
    if path.pop() != Some(0) {
        return Err(Errno::ENOEXEC);
    }
    Ok(path)
}

/// Maps stack, program and interpreter, and sets where the heap begins.
pub fn load(
    space: &AddressSpace,
    (elf, file): (&Elf, &OpenFile),
    interpreter: Option<(&Elf, &OpenFile)>,
    personality: u32,
) -> Result<Loaded> {
    // Randomisation as on Linux: 28 bits of pages for the program, 13 for the heap. Stack and mmap
    // area move over 1 TiB, as there, but in steps that change nothing about which pages are in one
    // large page, and never more than 1 GiB apart: they share tables, of which each costs a process
    // some 20 µs on software KVM.
    let random = |bits: u32| match personality & NO_RANDOMIZE {
        0 => crate::random::next_u64() & ((1 << bits) - 1),
        _ => 0,
    };
    let random_pages = |bits: u32| random(bits) << 12;
    let stack_shift = (random(10) << 30) + random(6) * HUGE_PAGE_SIZE;
    let stack_end = space.map_stack(stack_shift, random(7) * HUGE_PAGE_SIZE)?;
    if elf.executable_stack {
        let all = Prot::READ | Prot::WRITE | Prot::EXEC;
        space.mprotect(stack_end - 4096, 4096, all, true)?;
    }
    let mut bias = 0;
    if elf.relocatable {
        let (first, _) = elf.span().ok_or(Errno::EINVAL)?;
        let place = (PIE_BASE + random_pages(28)) & !(elf.alignment() - 1);
        bias = place.wrapping_sub(first);
    }
    map_segments(space, elf, file, bias)?;
    let (mut entry, mut base) = (elf.entry.wrapping_add(bias), 0);
    if let Some((interpreter, file)) = interpreter {
        if interpreter.relocatable {
            base = room_for(space, interpreter)?;
        }
        map_segments(space, interpreter, file, base)?;
        entry = interpreter.entry.wrapping_add(base);
    }
    if entry >= USER_END {
        return Err(Errno::EINVAL);
    }
    // At a random place, as on Linux, but where it can fill large pages.
    let end = elf.span().map_or(0, |(_, end)| end.wrapping_add(bias));
    let heap = (end + random_pages(13)).next_multiple_of(HUGE_PAGE_SIZE);
    space.set_brk_start(heap)?;
    Ok(Loaded {
        entry,
        bias,
        base,
        stack_end,
    })
}

/// Finds room for all segments of a relocatable file together; returns its bias.
fn room_for(space: &AddressSpace, elf: &Elf) -> Result<u64> {
    let (first, end) = elf.span().ok_or(Errno::EINVAL)?;
    let align = elf.alignment();
    let len = (end - first).checked_add(align - 4096);
    let len = len.ok_or(Errno::ENOMEM)?;
    let start = space.mmap(&MapRequest {
        len,
        flags: MapFlags::PRIVATE | MapFlags::ANONYMOUS | MapFlags::NORESERVE,
        ..MapRequest::default()
    })?;
    // Nobody else maps anything meanwhile. What is between segments stays free.
    space.munmap(start, len)?;
    Ok(start.next_multiple_of(align).wrapping_sub(first))
}

fn map_segments(space: &AddressSpace, elf: &Elf, file: &OpenFile, bias: u64) -> Result<()> {
    if !elf.loadable {
        return Err(Errno::EINVAL);
    }
    let mapping = file.file().mapping()?;
    for segment in &elf.segments {
        map_segment(space, segment, &mapping, bias)?;
    }
    Ok(())
}

/// Linux's elf_load: whole pages of the file, and zeroes behind its last byte if more memory than
/// file is asked for. Otherwise the rest of the last page shows what the file has there.
fn map_segment(
    space: &AddressSpace,
    segment: &Segment,
    mapping: &Arc<dyn FileMapping>,
    bias: u64,
) -> Result<()> {
    let start = segment.vaddr.wrapping_add(bias);
    let page = start & !4095;
    let mem_end = start.checked_add(segment.mem_size);
    let mem_end = mem_end
        .filter(|end| *end <= USER_END)
        .ok_or(Errno::EINVAL)?;
    if segment.file_size > segment.mem_size {
        return Err(Errno::EINVAL);
    }
    let [read, write, execute] = segment.access;
    let mut prot = Prot::empty();
    prot.set(Prot::READ, read);
    prot.set(Prot::WRITE, write);
    prot.set(Prot::EXEC, execute);
    let mut memory = page;
    if segment.file_size > 0 {
        let file_end = start + segment.file_size;
        memory = file_end.next_multiple_of(4096);
        let offset = segment.offset.checked_sub(start - page);
        let offset = offset.filter(|offset| offset.is_multiple_of(4096));
        let offset = offset.ok_or(Errno::EINVAL)?;
        map_fixed(space, page, memory, prot, Some((mapping, offset)))?;
        space.prepare(page);
        if segment.mem_size > segment.file_size {
            let zeroes = [0; 4096];
            let tail = (memory - file_end) as usize;
            // Where it can't be written nobody minds what is there.
            if space.write_some(file_end, &zeroes[..tail]) != tail && write {
                return Err(Errno::EFAULT);
            }
        }
    }
    let memory_end = mem_end.next_multiple_of(4096);
    if segment.mem_size > segment.file_size && memory_end > memory {
        // Memory only, which Linux takes from where the heap comes from: always writable.
        let prot = Prot::READ | Prot::WRITE | prot & Prot::EXEC;
        map_fixed(space, memory, memory_end, prot, None)?;
        space.prepare(memory);
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
    // Memory of its own that a program has, however large, counts as it is touched.
    flags.set(MapFlags::ANONYMOUS | MapFlags::NORESERVE, file.is_none());
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

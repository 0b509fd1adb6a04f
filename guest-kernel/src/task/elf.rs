//! ELF executables: what a program file says about how it wants to be mapped.
//!
//! Only the header and program headers count; all of it comes from a file that may be anything, so
//! every number is checked before use. Format: System V ABI, chapters 4 and 5.

use crate::errno::{Errno, Result};
use alloc::vec::Vec;
use core::ops::Range;

/// e_machine of programs for this processor.
#[cfg(any(target_arch = "x86_64", not(target_os = "none")))]
const MACHINE: u16 = 62;
#[cfg(all(target_arch = "aarch64", target_os = "none"))]
const MACHINE: u16 = 183;

/// Bytes of a file's beginning to look at: its header, and the program headers of most files.
pub const HEAD_SIZE: usize = 4096;
/// Size of the ELF header, and of a program header.
const HEADER: usize = 64;
const PROGRAM_HEADER: usize = 56;
/// Most bytes of program headers.
const PROGRAM_HEADERS_MAX: usize = 64 << 10;

/// A PT_LOAD segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Virtual address, before any load bias.
    pub vaddr: u64,
    /// File offset; congruent to `vaddr` modulo the page size, or it can't be mapped.
    pub offset: u64,
    /// Bytes from the file.
    pub file_size: u64,
    /// Bytes in memory; the rest is zero.
    pub mem_size: u64,
    /// Alignment asked for: counts where the file may be mapped anywhere.
    pub align: u64,
    /// Readable, writable, executable.
    pub access: [bool; 3],
}

/// A parsed executable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elf {
    /// Of a kind that can be run: not an object file, a core dump.
    pub loadable: bool,
    /// Position-independent: may be mapped anywhere.
    pub relocatable: bool,
    /// Entry point, before bias.
    pub entry: u64,
    /// Program headers: file offset, size of one, number.
    pub headers: (u64, u16, u16),
    /// Virtual address of the program headers, when a segment contains them.
    pub headers_vaddr: u64,
    /// Loadable segments, as the file has them: only mapping shows whether they make sense.
    pub segments: Vec<Segment>,
    /// PT_INTERP: file offset and size of the interpreter's path.
    pub interpreter: Option<(u64, u64)>,
    /// PT_GNU_STACK asks for an executable stack.
    pub executable_stack: bool,
}

/// e_type: at its own addresses, or anywhere.
const EXECUTABLE: u64 = 2;
const RELOCATABLE: u64 = 3;

fn word<const N: usize>(bytes: &[u8], at: usize) -> Result<u64> {
    let slice = bytes.get(at..at + N).ok_or(Errno::ENOEXEC)?;
    Ok(slice
        .iter()
        .rev()
        .fold(0, |value, &byte| value << 8 | u64::from(byte)))
}

impl Elf {
    /// Where in the file the program headers are, by the file's first bytes. ENOEXEC: not an
    /// executable for this machine. As Linux, it looks at magic and machine only.
    pub fn headers(head: &[u8]) -> Result<Range<u64>> {
        let head = head.get(..HEADER).ok_or(Errno::ENOEXEC)?;
        let known = head.starts_with(b"\x7fELF") && word::<2>(head, 18)? == u64::from(MACHINE);
        let count = word::<2>(head, 56)? as usize;
        let len = count * PROGRAM_HEADER;
        if !known
            || word::<2>(head, 54)? != PROGRAM_HEADER as u64
            || count == 0
            || len > PROGRAM_HEADERS_MAX
        {
            return Err(Errno::ENOEXEC);
        }
        let start = word::<8>(head, 32)?;
        let end = start.checked_add(len as u64).ok_or(Errno::ENOEXEC)?;
        Ok(start..end)
    }

    /// Parses a file's first bytes and its program headers, which are where [`Elf::headers`] says.
    pub fn parse(head: &[u8], headers: &[u8]) -> Result<Elf> {
        let place = Elf::headers(head)?;
        let mut elf = Elf {
            loadable: matches!(word::<2>(head, 16)?, EXECUTABLE | RELOCATABLE),
            relocatable: word::<2>(head, 16)? == RELOCATABLE,
            entry: word::<8>(head, 24)?,
            headers: (
                place.start,
                PROGRAM_HEADER as u16,
                word::<2>(head, 56)? as u16,
            ),
            headers_vaddr: 0,
            segments: Vec::new(),
            interpreter: None,
            executable_stack: false,
        };
        let len = (place.end - place.start) as usize;
        let headers = headers.get(..len).ok_or(Errno::ENOEXEC)?;
        for header in headers.chunks_exact(PROGRAM_HEADER) {
            elf.add_header(header)?;
        }
        for segment in &elf.segments {
            if place.start >= segment.offset && place.start - segment.offset < segment.file_size {
                let into = place.start - segment.offset;
                elf.headers_vaddr = segment.vaddr.wrapping_add(into);
            }
        }
        Ok(elf)
    }

    fn add_header(&mut self, header: &[u8]) -> Result<()> {
        let (kind, flags) = (word::<4>(header, 0)?, word::<4>(header, 4)?);
        let (offset, vaddr) = (word::<8>(header, 8)?, word::<8>(header, 16)?);
        let (file_size, mem_size) = (word::<8>(header, 32)?, word::<8>(header, 40)?);
        match kind {
            1 => self.segments.push(Segment {
                vaddr,
                offset,
                file_size,
                mem_size,
                align: word::<8>(header, 48)?,
                access: [flags & 4 != 0, flags & 2 != 0, flags & 1 != 0],
            }),
            // The first one counts.
            3 if self.interpreter.is_none() => self.interpreter = Some((offset, file_size)),
            0x6474_e551 => self.executable_stack = flags & 1 != 0,
            _ => {}
        }
        Ok(())
    }

    /// First page and end page of all segments, before bias. None: there are none, or they end
    /// behind all addresses.
    pub fn span(&self) -> Option<(u64, u64)> {
        let first = self.segments.iter().map(|segment| segment.vaddr).min()?;
        let ends = self.segments.iter();
        let ends = ends.map(|segment| segment.vaddr.checked_add(segment.mem_size));
        let last = ends.collect::<Option<Vec<u64>>>()?.into_iter().max()?;
        Some((first & !4095, last.checked_next_multiple_of(4096)?))
    }

    /// What the address of a file that may be mapped anywhere must be a multiple of.
    pub fn alignment(&self) -> u64 {
        let asked = self.segments.iter().map(|segment| segment.align);
        let asked = asked.filter(|align| align.is_power_of_two());
        asked.max().unwrap_or(0).max(4096)
    }
}

/// The interpreter of a `#!` script and its one optional argument.
pub fn parse_script(head: &[u8]) -> Option<(Vec<u8>, Option<Vec<u8>>)> {
    let line = head.strip_prefix(b"#!")?;
    let end = line
        .iter()
        .take(254)
        .position(|&byte| byte == b'\n')
        .unwrap_or(line.len().min(254));
    let line = line[..end].trim_ascii();
    let split = line
        .iter()
        .position(|byte| byte.is_ascii_whitespace())
        .unwrap_or(line.len());
    let (interpreter, argument) = line.split_at(split);
    let argument = argument.trim_ascii();
    if interpreter.is_empty() {
        return None;
    }
    Some((
        interpreter.to_vec(),
        (!argument.is_empty()).then(|| argument.to_vec()),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(segments: &[(u64, u64, u64, u64)]) -> Vec<u8> {
        let mut file = Vec::from([0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        file.extend(2u16.to_le_bytes());
        file.extend(MACHINE.to_le_bytes());
        file.extend(1u32.to_le_bytes());
        file.extend(0x401000u64.to_le_bytes());
        file.extend(64u64.to_le_bytes());
        file.extend([0; 8 + 4 + 2]);
        file.extend(56u16.to_le_bytes());
        file.extend((segments.len() as u16).to_le_bytes());
        file.resize(64, 0);
        for &(vaddr, offset, file_size, mem_size) in segments {
            file.extend(1u32.to_le_bytes());
            file.extend(5u32.to_le_bytes());
            for value in [offset, vaddr, vaddr, file_size, mem_size, 4096] {
                file.extend(value.to_le_bytes());
            }
        }
        file
    }

    fn parse(file: &[u8]) -> Result<Elf> {
        let place = Elf::headers(file)?;
        let headers = file.get(place.start as usize..).unwrap_or_default();
        Elf::parse(file, headers)
    }

    #[test]
    fn parses_segments_and_finds_the_program_headers() {
        let elf = parse(&header(&[(0x400000, 0, 0x1000, 0x2000)])).unwrap();
        assert!(!elf.relocatable);
        assert_eq!(elf.headers_vaddr, 0x400040);
        assert_eq!(elf.span(), Some((0x400000, 0x402000)));
        assert_eq!(elf.alignment(), 4096);
    }

    #[test]
    fn segments_may_be_anything_until_they_are_mapped() {
        let wraps = parse(&header(&[(u64::MAX - 0xfff, 0, 0x1000, 0x2000)])).unwrap();
        assert_eq!(wraps.span(), None);
        let last_page = parse(&header(&[(u64::MAX - 0xffe, 0, 0, 0xffe)])).unwrap();
        assert_eq!(last_page.span(), None);
        let descending = [
            (0x600000, 0, 0x1000, 0x1000),
            (0x400fff, 0x1fff, 0x1, 0x2000),
        ];
        let descending = parse(&header(&descending)).unwrap();
        assert_eq!(descending.span(), Some((0x400000, 0x601000)));
    }

    #[test]
    fn refuses_what_is_cut_or_of_another_kind() {
        let good = header(&[(0x400000, 0, 0x1000, 0x2000)]);
        for cut in 0..good.len() {
            assert_eq!(parse(&good[..cut]), Err(Errno::ENOEXEC));
        }
        // Magic, machine, size and number of program headers.
        for at in [0, 3, 18, 54, 57] {
            let mut bad = good.clone();
            bad[at] ^= 0xf0;
            assert_eq!(parse(&bad), Err(Errno::ENOEXEC), "byte {at}");
        }
        // The rest of the identification is nothing to Linux.
        let mut odd = good.clone();
        odd[4..16].fill(0xaa);
        assert!(parse(&odd).is_ok());
        let mut object = good.clone();
        object[16] = 1;
        assert!(!parse(&object).unwrap().loadable);
        let mut none = good;
        none[56..58].fill(0);
        assert_eq!(parse(&none), Err(Errno::ENOEXEC));
    }

    #[test]
    fn alignments_that_are_powers_of_two_count() {
        let mut file = header(&[(0x400000, 0, 1, 1), (0x500000, 0, 1, 1)]);
        file[64 + 48..64 + 56].copy_from_slice(&0x20_0001u64.to_le_bytes());
        file[64 + 56 + 48..].copy_from_slice(&0x1_0000u64.to_le_bytes());
        assert_eq!(parse(&file).unwrap().alignment(), 0x1_0000);
    }

    #[test]
    fn script_lines() {
        let parsed = parse_script(b"#! /usr/bin/env  node -x \nrest").unwrap();
        assert_eq!(
            parsed,
            (b"/usr/bin/env".to_vec(), Some(b"node -x".to_vec()))
        );
        assert_eq!(parse_script(b"#!\n"), None);
        assert_eq!(parse_script(b"echo"), None);
    }
}

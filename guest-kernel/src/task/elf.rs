//! ELF executables: what a program file says about how it wants to be mapped.
//!
//! Only the header and program headers count; all of it comes from a file that may be anything, so
//! every number is checked before use. Format: System V ABI, chapters 4 and 5.

use crate::errno::{Errno, Result};
use alloc::vec::Vec;

/// e_machine of programs for this processor.
#[cfg(any(target_arch = "x86_64", not(target_os = "none")))]
const MACHINE: u16 = 62;
#[cfg(all(target_arch = "aarch64", target_os = "none"))]
const MACHINE: u16 = 183;

/// Bytes of a file that [`Elf::parse`] wants to see: header and program headers of any sane file.
pub const HEAD_SIZE: usize = 4096;

/// A PT_LOAD segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Virtual address, before any load bias.
    pub vaddr: u64,
    /// File offset, congruent to `vaddr` modulo the page size.
    pub offset: u64,
    /// Bytes from the file.
    pub file_size: u64,
    /// Bytes in memory; the rest is zero.
    pub mem_size: u64,
    /// Readable, writable, executable.
    pub access: [bool; 3],
}

/// A parsed executable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elf {
    /// Position-independent: may be mapped anywhere.
    pub relocatable: bool,
    /// Entry point, before bias.
    pub entry: u64,
    /// Program headers: file offset, size of one, number.
    pub headers: (u64, u16, u16),
    /// Virtual address of the program headers, when a segment contains them.
    pub headers_vaddr: u64,
    /// Loadable segments, ascending.
    pub segments: Vec<Segment>,
    /// PT_INTERP: file offset and size of the interpreter's path.
    pub interpreter: Option<(u64, u64)>,
    /// PT_GNU_STACK asks for an executable stack.
    pub executable_stack: bool,
}

fn word<const N: usize>(bytes: &[u8], at: usize) -> Result<u64> {
    let slice = bytes.get(at..at + N).ok_or(Errno::ENOEXEC)?;
    Ok(slice
        .iter()
        .rev()
        .fold(0, |value, &byte| value << 8 | u64::from(byte)))
}

impl Elf {
    /// Parses the first [`HEAD_SIZE`] bytes (or the whole) of a file. ENOEXEC: not an executable
    /// for this machine.
    pub fn parse(head: &[u8]) -> Result<Elf> {
        let ident = head.get(..16).ok_or(Errno::ENOEXEC)?;
        // Magic, 64-bit, little-endian, version 1.
        if ident[..7] != [0x7f, b'E', b'L', b'F', 2, 1, 1] {
            return Err(Errno::ENOEXEC);
        }
        let kind = word::<2>(head, 16)?;
        let relocatable = match kind {
            2 => false,
            3 => true,
            _ => return Err(Errno::ENOEXEC),
        };
        if word::<2>(head, 18)? != u64::from(MACHINE) {
            return Err(Errno::ENOEXEC);
        }
        let entry = word::<8>(head, 24)?;
        let offset = word::<8>(head, 32)?;
        let (entry_size, count) = (word::<2>(head, 54)? as u16, word::<2>(head, 56)? as u16);
        if entry_size != 56 || count == 0 {
            return Err(Errno::ENOEXEC);
        }
        let mut elf = Elf {
            relocatable,
            entry,
            headers: (offset, entry_size, count),
            headers_vaddr: 0,
            segments: Vec::new(),
            interpreter: None,
            executable_stack: false,
        };
        for index in 0..usize::from(count) {
            let at = usize::try_from(offset).map_err(|_| Errno::ENOEXEC)?;
            let at = at.checked_add(index * 56).ok_or(Errno::ENOEXEC)?;
            elf.add_header(head.get(at..).ok_or(Errno::ENOEXEC)?)?;
        }
        if elf.segments.is_empty() {
            return Err(Errno::ENOEXEC);
        }
        for segment in &elf.segments {
            if offset >= segment.offset && offset - segment.offset < segment.file_size {
                elf.headers_vaddr = segment.vaddr + (offset - segment.offset);
            }
        }
        Ok(elf)
    }

    fn add_header(&mut self, header: &[u8]) -> Result<()> {
        let (kind, flags) = (word::<4>(header, 0)?, word::<4>(header, 4)?);
        let (offset, vaddr) = (word::<8>(header, 8)?, word::<8>(header, 16)?);
        let (file_size, mem_size) = (word::<8>(header, 32)?, word::<8>(header, 40)?);
        match kind {
            1 if mem_size > 0 => {
                let end = vaddr.checked_add(mem_size).ok_or(Errno::ENOEXEC)?;
                let previous = self
                    .segments
                    .last()
                    .map_or(0, |last| last.vaddr + last.mem_size);
                let sane = end < sprout_abi::layout::USER_END
                    && file_size <= mem_size
                    && offset.checked_add(file_size).is_some()
                    && offset % 4096 == vaddr % 4096
                    && vaddr >= previous;
                if !sane {
                    return Err(Errno::ENOEXEC);
                }
                let access = [flags & 4 != 0, flags & 2 != 0, flags & 1 != 0];
                self.segments.push(Segment {
                    vaddr,
                    offset,
                    file_size,
                    mem_size,
                    access,
                });
            }
            3 => self.interpreter = Some((offset, file_size)),
            0x6474_e551 => self.executable_stack = flags & 1 != 0,
            _ => {}
        }
        Ok(())
    }

    /// First page and end page of all segments, before bias.
    pub fn span(&self) -> (u64, u64) {
        let first = self
            .segments
            .first()
            .map_or(0, |segment| segment.vaddr & !4095);
        let last = self
            .segments
            .last()
            .map_or(0, |last| last.vaddr + last.mem_size);
        (first, (last + 4095) & !4095)
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

    #[test]
    fn parses_segments_and_finds_the_program_headers() {
        let elf = Elf::parse(&header(&[(0x400000, 0, 0x1000, 0x2000)])).unwrap();
        assert!(!elf.relocatable);
        assert_eq!(elf.headers_vaddr, 0x400040);
        assert_eq!(elf.span(), (0x400000, 0x402000));
    }

    #[test]
    fn refuses_what_could_not_be_mapped() {
        for bad in [
            (0x400000, 1, 0x1000, 0x1000),         // offset not congruent
            (0x400000, 0, 0x2000, 0x1000),         // more file than memory
            (u64::MAX - 0xfff, 0, 0x1000, 0x2000), // wraps
            (0xffff_8000_0000_0000, 0, 0x1000, 0x1000),
        ] {
            assert_eq!(Elf::parse(&header(&[bad])), Err(Errno::ENOEXEC), "{bad:x?}");
        }
        let overlapping = [
            (0x400000, 0, 0x1000, 0x2000),
            (0x401000, 0x1000, 0x1000, 0x1000),
        ];
        assert_eq!(Elf::parse(&header(&overlapping)), Err(Errno::ENOEXEC));
        let good = header(&[(0x400000, 0, 0x1000, 0x2000)]);
        // The last field, p_align, is not looked at.
        for cut in 0..good.len() - 8 {
            assert_eq!(Elf::parse(&good[..cut]), Err(Errno::ENOEXEC));
        }
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

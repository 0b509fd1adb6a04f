//! The sentry's ELF: parsed and checked before anything of it reaches guest memory.
//!
//! The executable is linked at `KERNEL_BASE + KERNEL_GPA`; a segment's guest-physical address is
//! its virtual address minus `KERNEL_BASE`.

use std::ops::Range;
use std::path::Path;

use object::LittleEndian;
use object::elf;
use object::read::elf::{FileHeader, ProgramHeader};
use sprout_abi::layout::{KERNEL_BASE, KERNEL_GPA, PAGE_SIZE};

/// The sentry this `sprout` was built with.
static EMBEDDED: &[u8] = include_bytes!(env!("SPROUT_SENTRY_ELF"));

/// The top 2 GiB of address space hold the sentry; nothing of it lies beyond this.
const KERNEL_SPAN: u64 = 1 << 30;

/// Why a file is not a sentry we can load.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// The file could not be read.
    #[error("cannot read the kernel {path}: {cause}")]
    Read {
        /// The file.
        path: String,
        /// The system's reason.
        cause: std::io::Error,
    },
    /// Not an ELF file, or a damaged one.
    #[error("the kernel is no intact ELF file: {0}")]
    Malformed(object::Error),
    /// An ELF file of another kind.
    #[error("the kernel is an ELF file, but {0}")]
    Unsuitable(String),
}

/// A loadable segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// First virtual address.
    pub virtual_address: u64,
    /// Bytes in memory; beyond the file's they are zero.
    pub memory_size: u64,
    /// The bytes in the file.
    pub file: Range<usize>,
    /// The sentry may write here.
    pub writable: bool,
    /// The sentry may execute here.
    pub executable: bool,
}

impl Segment {
    /// Where the segment is loaded.
    pub fn gpa(&self) -> u64 {
        self.virtual_address - KERNEL_BASE
    }

    /// The pages it covers, as virtual addresses of their first bytes.
    pub fn pages(&self) -> Range<u64> {
        let start = self.virtual_address / PAGE_SIZE * PAGE_SIZE;
        start..(self.virtual_address + self.memory_size).next_multiple_of(PAGE_SIZE)
    }
}

/// A checked sentry.
#[derive(Debug)]
pub struct Kernel {
    bytes: std::borrow::Cow<'static, [u8]>,
    segments: Vec<Segment>,
    entry: u64,
}

impl Kernel {
    /// The sentry built into this executable.
    pub fn embedded() -> Result<Self, KernelError> {
        Self::parse(EMBEDDED)
    }

    /// A sentry from a file (`--kernel`).
    pub fn from_file(path: &Path) -> Result<Self, KernelError> {
        let bytes = std::fs::read(path).map_err(|cause| KernelError::Read {
            path: path.display().to_string(),
            cause,
        })?;
        Self::parse(bytes)
    }

    /// Checks an ELF image.
    pub fn parse(bytes: impl Into<std::borrow::Cow<'static, [u8]>>) -> Result<Self, KernelError> {
        let bytes = bytes.into();
        let (segments, entry) = check(&bytes)?;
        Ok(Self {
            bytes,
            segments,
            entry,
        })
    }

    /// The whole file.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Loadable segments by ascending address; no two share a page.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Content of a segment as far as it is in the file.
    pub fn content(&self, segment: &Segment) -> &[u8] {
        self.bytes.get(segment.file.clone()).unwrap_or_default()
    }

    /// First instruction.
    pub fn entry(&self) -> u64 {
        self.entry
    }

    /// BLAKE3 of the file; snapshots record it, so that their addresses can be named.
    pub fn build_id(&self) -> String {
        blake3::hash(&self.bytes).to_hex().to_string()
    }

    /// First guest-physical page above the sentry.
    pub fn end_gpa(&self) -> u64 {
        self.segments
            .last()
            .map_or(KERNEL_GPA, |last| last.pages().end - KERNEL_BASE)
    }
}

fn unsuitable(reason: impl Into<String>) -> KernelError {
    KernelError::Unsuitable(reason.into())
}

fn check(bytes: &[u8]) -> Result<(Vec<Segment>, u64), KernelError> {
    let header = elf::FileHeader64::<LittleEndian>::parse(bytes).map_err(KernelError::Malformed)?;
    let endian = header.endian().map_err(KernelError::Malformed)?;
    if header.e_machine(endian) != elf::EM_X86_64 {
        return Err(unsuitable("it is for another architecture than x86-64"));
    }
    if header.e_type(endian) != elf::ET_EXEC {
        return Err(unsuitable(
            "it is not linked at a fixed address (ET_EXEC); build it with the static relocation \
             model",
        ));
    }
    let mut segments = Vec::new();
    for program in header
        .program_headers(endian, bytes)
        .map_err(KernelError::Malformed)?
    {
        if program.p_type(endian) == elf::PT_LOAD && program.p_memsz(endian) > 0 {
            segments.push(segment(bytes, program, endian)?);
        }
    }
    segments.sort_by_key(|segment| segment.virtual_address);
    if segments
        .windows(2)
        .any(|pair| pair[0].pages().end > pair[1].pages().start)
    {
        return Err(unsuitable("two of its segments share a page"));
    }
    let entry = header.e_entry(endian);
    let starts_in_code = segments.iter().any(|segment| {
        segment.executable
            && (segment.virtual_address..segment.virtual_address + segment.memory_size)
                .contains(&entry)
    });
    if starts_in_code {
        Ok((segments, entry))
    } else {
        Err(unsuitable(format!(
            "its entry point {entry:#x} lies in no executable segment"
        )))
    }
}

fn segment(
    bytes: &[u8],
    program: &elf::ProgramHeader64<LittleEndian>,
    endian: LittleEndian,
) -> Result<Segment, KernelError> {
    let virtual_address = program.p_vaddr(endian);
    let memory_size = program.p_memsz(endian);
    let lowest = KERNEL_BASE + KERNEL_GPA;
    let fits = virtual_address >= lowest
        && memory_size <= KERNEL_SPAN
        && virtual_address - lowest <= KERNEL_SPAN - memory_size;
    if !fits {
        return Err(unsuitable(format!(
            "its segment at {virtual_address:#x} ({memory_size:#x} bytes) lies outside of \
             {lowest:#x}..{:#x}",
            lowest + KERNEL_SPAN
        )));
    }
    let (offset, size) = program.file_range(endian);
    let file = usize::try_from(offset)
        .ok()
        .zip(usize::try_from(size).ok())
        .and_then(|(offset, size)| Some(offset..offset.checked_add(size)?))
        .filter(|range| bytes.get(range.clone()).is_some() && size <= memory_size)
        .ok_or_else(|| {
            unsuitable(format!(
                "its segment at {virtual_address:#x} reaches beyond the end of the file (truncated?)"
            ))
        })?;
    let flags = program.p_flags(endian);
    let (writable, executable) = (flags.0 & elf::PF_W.0 != 0, flags.0 & elf::PF_X.0 != 0);
    if writable && executable {
        return Err(unsuitable(format!(
            "its segment at {virtual_address:#x} is both writable and executable"
        )));
    }
    Ok(Segment {
        virtual_address,
        memory_size,
        file,
        writable,
        executable,
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A minimal kernel: one executable segment that holds `code`, entered at its first byte.
    pub(crate) fn elf_with(code: &[u8]) -> Vec<u8> {
        let mut file = Vec::new();
        file.extend_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
        file.extend_from_slice(&2u16.to_le_bytes()); // ET_EXEC
        file.extend_from_slice(&62u16.to_le_bytes()); // EM_X86_64
        file.extend_from_slice(&1u32.to_le_bytes());
        file.extend_from_slice(&(KERNEL_BASE + KERNEL_GPA).to_le_bytes());
        file.extend_from_slice(&64u64.to_le_bytes()); // program headers
        file.extend_from_slice(&0u64.to_le_bytes());
        file.extend_from_slice(&0u32.to_le_bytes());
        for half in [64u16, 56, 1, 64, 0, 0] {
            file.extend_from_slice(&half.to_le_bytes());
        }
        let length = code.len() as u64;
        file.extend_from_slice(&1u32.to_le_bytes()); // PT_LOAD
        file.extend_from_slice(&5u32.to_le_bytes()); // R+X
        for word in [
            120,
            KERNEL_BASE + KERNEL_GPA,
            KERNEL_GPA,
            length,
            length,
            4096,
        ] {
            file.extend_from_slice(&u64::to_le_bytes(word));
        }
        file.extend_from_slice(code);
        file
    }

    #[test]
    fn a_minimal_kernel_is_accepted() {
        let kernel = Kernel::parse(elf_with(&[0x90; 16])).unwrap();
        assert_eq!(kernel.entry(), KERNEL_BASE + KERNEL_GPA);
        assert_eq!(kernel.content(&kernel.segments()[0]), [0x90; 16]);
        assert_eq!(kernel.end_gpa(), KERNEL_GPA + PAGE_SIZE);
    }

    #[test]
    fn the_embedded_kernel_is_accepted() {
        Kernel::embedded().unwrap();
    }

    #[test]
    fn damaged_and_foreign_files_are_refused_with_a_reason() {
        let good = elf_with(&[0x90; 16]);
        let refuse = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut bytes = good.clone();
            change(&mut bytes);
            Kernel::parse(bytes).unwrap_err().to_string()
        };
        assert!(refuse(&|bytes| bytes.truncate(130)).contains("truncated"));
        assert!(refuse(&|bytes| bytes.truncate(40)).contains("no intact ELF"));
        assert!(refuse(&|bytes| bytes[0] = b'#').contains("no intact ELF"));
        assert!(refuse(&|bytes| bytes[18] = 183).contains("architecture"));
        assert!(refuse(&|bytes| bytes[16] = 3).contains("fixed address"));
        assert!(refuse(&|bytes| bytes[24] = 0xff).contains("entry point"));
        assert!(refuse(&|bytes| bytes[68] = 7).contains("writable and executable"));
        assert!(refuse(&|bytes| bytes[80..88].fill(0)).contains("outside"));
        assert!(refuse(&|bytes| bytes[104..112].fill(0xff)).contains("outside"));
    }

    proptest! {
        #[test]
        fn any_damage_is_survived(at in 0usize..136, value in any::<u8>(), cut in 0usize..137) {
            let mut bytes = elf_with(&[0x90; 16]);
            bytes[at] = value;
            bytes.truncate(cut);
            let _ = Kernel::parse(bytes);
        }
    }
}

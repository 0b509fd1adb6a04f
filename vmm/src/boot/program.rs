//! A program file of the host that is to run without an image: it has to be a static x86-64 ELF
//! executable, because there is no file system it could load libraries from.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};

use object::LittleEndian;
use object::elf;
use object::read::elf::{FileHeader, ProgramHeader};

/// How much of the file is looked at: header and program headers lie at the front.
const HEAD: usize = 64 << 10;

/// Why a host file can't be run.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", path.display())]
pub struct ProgramError {
    path: PathBuf,
    problem: Problem,
}

/// What is wrong with a program.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// It could not be opened or read.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It is no regular file.
    #[error("not a regular file")]
    NotAFile,
    /// A directory.
    #[error("a directory, not a program")]
    Directory,
    /// Nobody may execute it.
    #[error("not executable: nobody has execute permission (chmod +x)")]
    NotAllowed,
    /// A script.
    #[error("a script for {0}: run it from an image that has that interpreter (--image)")]
    Script(String),
    /// A part of it is missing.
    #[error("truncated: it has {length} bytes, and its headers speak of {needed}")]
    Truncated {
        /// Bytes there are.
        length: u64,
        /// Bytes there should be.
        needed: u64,
    },
    /// Not an ELF executable.
    #[error("not an ELF executable")]
    NotElf,
    /// An executable for another machine.
    #[error("an executable for another architecture ({0}); this is an x86-64 guest")]
    Architecture(String),
    /// An object file, core dump or the like.
    #[error("an ELF file, but not an executable")]
    NotExecutable,
    /// It needs a dynamic linker.
    #[error(
        "dynamically linked (it asks for {0}): run it from an image that has its libraries \
         (--image), or link it statically"
    )]
    Dynamic(String),
}

impl ProgramError {
    /// Whether there is no such file.
    pub fn is_missing(&self) -> bool {
        matches!(&self.problem, Problem::Io(error) if error.kind() == io::ErrorKind::NotFound)
    }
}

/// Opens and checks a static executable.
pub fn open(path: &Path) -> Result<File, ProgramError> {
    let open = || {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            return Err(Problem::Directory);
        }
        if !metadata.is_file() {
            return Err(Problem::NotAFile);
        }
        if metadata.permissions().mode() & 0o111 == 0 {
            return Err(Problem::NotAllowed);
        }
        let mut head = vec![0; HEAD];
        let mut length = 0;
        while length < HEAD {
            match file.read_at(&mut head[length..], length as u64)? {
                0 => break,
                read => length += read,
            }
        }
        head.truncate(length);
        check(&head, metadata.len())?;
        Ok(file)
    };
    open().map_err(|problem| ProgramError {
        path: path.to_owned(),
        problem,
    })
}

/// The names of architectures one may come across.
fn architecture(machine: u16) -> String {
    match machine {
        3 => "32-bit x86".into(),
        8 => "MIPS".into(),
        20 | 21 => "PowerPC".into(),
        22 => "s390x".into(),
        40 => "32-bit ARM".into(),
        62 => "x32".into(),
        183 => "arm64".into(),
        243 => "RISC-V".into(),
        258 => "LoongArch".into(),
        other => format!("ELF machine {other}"),
    }
}

fn check(head: &[u8], length: u64) -> Result<(), Problem> {
    if let Some(rest) = head.strip_prefix(b"#!") {
        let line = rest.split(|byte| *byte == b'\n').next().unwrap_or(rest);
        let line = line.get(..line.len().min(120)).unwrap_or(line);
        let interpreter = String::from_utf8_lossy(line).trim().to_owned();
        return Err(Problem::Script(interpreter));
    }
    if !head.starts_with(b"\x7fELF") {
        return Err(Problem::NotElf);
    }
    const HEADER: u64 = 64;
    if length < HEADER {
        return Err(Problem::Truncated {
            length,
            needed: HEADER,
        });
    }
    // The class byte tells 32-bit executables apart before the header is read as 64-bit.
    let machine = match (head.get(5), head.get(18..20)) {
        (Some(2), Some(&[high, low])) => u16::from_be_bytes([high, low]),
        (_, Some(&[low, high])) => u16::from_le_bytes([low, high]),
        _ => 0,
    };
    if head.get(4) != Some(&elf::ELFCLASS64.0) || machine != elf::EM_X86_64.0 {
        return Err(Problem::Architecture(architecture(machine)));
    }
    let header = elf::FileHeader64::<LittleEndian>::parse(head).map_err(|_| Problem::NotElf)?;
    let endian = header.endian().map_err(|_| Problem::NotElf)?;
    if !matches!(header.e_type(endian), elf::ET_EXEC | elf::ET_DYN) {
        return Err(Problem::NotExecutable);
    }
    let table = u64::from(header.e_phnum(endian)) * u64::from(header.e_phentsize(endian));
    let needed = header.e_phoff(endian).saturating_add(table);
    if needed > length {
        return Err(Problem::Truncated { length, needed });
    }
    let programs = header
        .program_headers(endian, head)
        .map_err(|_| Problem::NotElf)?;
    for program in programs {
        if program.p_type(endian) == elf::PT_INTERP {
            let name = program
                .interpreter(endian, head)
                .ok()
                .flatten()
                .unwrap_or_default();
            return Err(Problem::Dynamic(String::from_utf8_lossy(name).into_owned()));
        }
    }
    for program in programs {
        let needed = program
            .p_offset(endian)
            .saturating_add(program.p_filesz(endian));
        if program.p_type(endian) == elf::PT_LOAD && needed > length {
            return Err(Problem::Truncated { length, needed });
        }
    }
    if programs
        .iter()
        .any(|program| program.p_type(endian) == elf::PT_LOAD)
    {
        Ok(())
    } else {
        Err(Problem::NotExecutable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::kernel::tests::elf_with;
    use std::io::Write;

    fn problem(content: &[u8]) -> String {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(content).unwrap();
        file.as_file()
            .set_permissions(std::fs::Permissions::from_mode(0o755))
            .unwrap();
        open(file.path()).map_or_else(|error| error.to_string(), |_| "accepted".into())
    }

    #[test]
    fn each_kind_of_unsuitable_file_gets_its_own_advice() {
        let good = elf_with(&[0x90; 16]);
        let changed = |at: usize, value: u8| {
            let mut bytes = good.clone();
            bytes[at] = value;
            bytes
        };
        assert_eq!(problem(&good), "accepted");
        assert!(problem(b"#!/bin/sh -e\n").contains("a script for /bin/sh -e:"));
        assert!(problem(b"text").contains("not an ELF"));
        assert!(problem(b"").contains("not an ELF"));
        assert!(problem(&changed(4, 1)).contains("architecture"));
        assert!(problem(&changed(18, 183)).contains("architecture (arm64)"));
        assert!(problem(&good[..40]).contains("truncated: it has 40 bytes"));
        assert!(problem(&good[..100]).contains("truncated"));
        assert!(problem(&good[..good.len() - 1]).contains("truncated"));
        assert!(problem(&changed(16, 4)).contains("not an executable"));
        assert!(problem(&changed(64, 3)).contains("dynamically linked"));
        let file = tempfile::NamedTempFile::new().unwrap();
        let forbidden = open(file.path()).unwrap_err().to_string();
        assert!(forbidden.contains("chmod +x"), "{forbidden}");
        let missing = open(Path::new("/no/such/file")).unwrap_err();
        assert!(missing.is_missing());
        let missing = missing.to_string();
        assert!(missing.contains("/no/such/file: No such file"), "{missing}");
        assert!(
            open(Path::new("/"))
                .unwrap_err()
                .to_string()
                .contains("a directory")
        );
    }
}

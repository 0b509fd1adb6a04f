//! A program file of the host that is to run without an image: it has to be a static x86-64 ELF
//! executable, because there is no file system it could load libraries from.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
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
    /// A script.
    #[error("a script needs its interpreter: run that from an image (--image)")]
    Script,
    /// Not an ELF executable.
    #[error("not an ELF executable")]
    NotElf,
    /// An executable for another machine.
    #[error("an executable for another architecture; this is an x86-64 guest")]
    Architecture,
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

/// Opens and checks a static executable.
pub fn open(path: &Path) -> Result<File, ProgramError> {
    let open = || {
        let file = File::open(path)?;
        if !file.metadata()?.is_file() {
            return Err(Problem::NotAFile);
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
        check(&head)?;
        Ok(file)
    };
    open().map_err(|problem| ProgramError {
        path: path.to_owned(),
        problem,
    })
}

fn check(head: &[u8]) -> Result<(), Problem> {
    if head.starts_with(b"#!") {
        return Err(Problem::Script);
    }
    // The class byte tells 32-bit executables apart before the header is read as 64-bit.
    if head.starts_with(b"\x7fELF") && head.get(4) != Some(&elf::ELFCLASS64.0) {
        return Err(Problem::Architecture);
    }
    let header = elf::FileHeader64::<LittleEndian>::parse(head).map_err(|_| Problem::NotElf)?;
    let endian = header.endian().map_err(|_| Problem::NotElf)?;
    if header.e_machine(endian) != elf::EM_X86_64 {
        return Err(Problem::Architecture);
    }
    if !matches!(header.e_type(endian), elf::ET_EXEC | elf::ET_DYN) {
        return Err(Problem::NotExecutable);
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
    use crate::kernel::tests::elf_with;
    use std::io::Write;

    fn problem(content: &[u8]) -> String {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(content).unwrap();
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
        assert!(problem(b"#!/bin/sh\n").contains("interpreter"));
        assert!(problem(b"text").contains("not an ELF"));
        assert!(problem(b"").contains("not an ELF"));
        assert!(problem(&changed(4, 1)).contains("architecture"));
        assert!(problem(&changed(18, 183)).contains("architecture"));
        assert!(problem(&changed(16, 4)).contains("not an executable"));
        assert!(problem(&changed(64, 3)).contains("dynamically linked"));
        let missing = open(Path::new("/no/such/file")).unwrap_err().to_string();
        assert!(missing.contains("/no/such/file: No such file"), "{missing}");
        assert!(
            open(Path::new("/"))
                .unwrap_err()
                .to_string()
                .contains("not a regular file")
        );
    }
}

//! Finds out how the sentry runs on this host, by booting it with a program that only exits.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::FromRawFd;

use sprout_abi::boot::boot_flags;
use sprout_abi::layout::HUGE_PAGE_SIZE;

use crate::backend::buffered::Buffered;
use crate::boot::kernel::Kernel;
use crate::boot::{BootConfig, Program};
use crate::error::VmError;
use crate::host::isolation::PrivilegeMode;
use crate::memory::MIN_RAM;
use crate::vm::Stop;
use crate::vm::shell::Shell;

/// Memory of the probe: more than the least, since a debug build of the sentry is larger.
const MEMORY: u64 = MIN_RAM + 8 * HUGE_PAGE_SIZE;

/// `mov eax, 231 (exit_group); xor edi, edi; syscall`
const CODE: [u8; 9] = [0xb8, 231, 0, 0, 0, 0x31, 0xff, 0x0f, 0x05];

/// Where the program is linked.
const BASE: u64 = 0x40_0000;
/// ELF header and one program header.
const HEADERS: u64 = 64 + 56;

/// Boots the sentry, asked to keep page tables of its own if `strict`; says how it runs.
pub fn privilege_mode(kernel: &Kernel, strict: bool) -> Result<PrivilegeMode, VmError> {
    let file = program_file().map_err(VmError::io("make the probe's program"))?;
    let program = Program {
        path: b"/probe".to_vec(),
        file: Some(file),
        args: vec![b"probe".to_vec()],
        env: Vec::new(),
        cwd: b"/".to_vec(),
    };
    let hostname = "probe".into();
    let config = BootConfig {
        kernel,
        vcpus: 1,
        ram_size: MEMORY,
        images: vec![],
        program,
        flags: if strict { boot_flags::STRICT } else { 0 },
        strace: "all".into(),
        hostname,
    };
    let mut vm = Shell::new()?.boot(&config)?;
    let stop = vm.run(Some(kernel), &mut Buffered::default())?;
    let broken = |reason: String| VmError::Stopped {
        reason,
        registers: String::new(),
    };
    match stop {
        Stop::Exited {
            status: 0,
            signal: 0,
        } => {}
        Stop::Panicked(report) => return Err(broken(report)),
        other => return Err(broken(format!("the probe ended with {other:?}"))),
    }
    Ok(vm.privilege_mode())
}

fn program_file() -> io::Result<File> {
    // SAFETY: the name is a NUL-terminated constant; the result is checked.
    let fd = unsafe { libc::memfd_create(c"sprout-probe".as_ptr(), libc::MFD_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `fd` was just made and nobody else owns it.
    let mut file = unsafe { File::from_raw_fd(fd) };
    file.write_all(&program())?;
    io::Seek::rewind(&mut file)?;
    Ok(file)
}

/// A static executable of one segment.
fn program() -> Vec<u8> {
    let mut elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    elf.extend_from_slice(&[2, 0, 62, 0, 1, 0, 0, 0]); // ET_EXEC, EM_X86_64, version 1
    for word in [BASE + HEADERS, 64, 0] {
        elf.extend_from_slice(&word.to_le_bytes()); // entry, program headers, no sections
    }
    elf.extend_from_slice(&[0; 4]);
    for half in [64u16, 56, 1, 64, 0, 0] {
        elf.extend_from_slice(&half.to_le_bytes());
    }
    let size = HEADERS + CODE.len() as u64;
    elf.extend_from_slice(&[1, 0, 0, 0, 5, 0, 0, 0]); // PT_LOAD, R+X
    for word in [0, BASE, BASE, size, size, 4096] {
        elf.extend_from_slice(&word.to_le_bytes());
    }
    elf.extend_from_slice(&CODE);
    elf
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_probe_is_a_program_that_runs() {
        use std::os::unix::fs::PermissionsExt;
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&program()).unwrap();
        let path = file.into_temp_path();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        crate::boot::program::open(&path).unwrap();
        assert!(
            std::process::Command::new(&*path)
                .status()
                .unwrap()
                .success()
        );
    }
}

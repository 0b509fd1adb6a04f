//! A standard stream that is written without blocking, whoever else has it open.
//!
//! O_NONBLOCK belongs to the open file description, which other processes share; a pipe or terminal
//! is therefore opened once more.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

use vm_memory::VolatileSlice;

use super::super::{collect, poll, write_vectored};

/// How a stream is written without blocking.
#[derive(Debug)]
enum Way {
    /// Writes never block (files).
    Direct,
    /// Through an open file description of our own, with O_NONBLOCK.
    Own(File),
    /// Only when there is room for this much.
    InPieces(usize),
}

/// What a pipe that is writable takes at least.
const PIPE_BUF: usize = 4096;

/// One of the streams 1 and 2.
#[derive(Debug)]
pub struct Output {
    fd: RawFd,
    way: Way,
    blocked: bool,
}

/// Opens what `fd` refers to once more, without blocking.
pub fn reopen(fd: RawFd, read: bool) -> io::Result<File> {
    OpenOptions::new()
        .read(read)
        .write(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(format!("/proc/self/fd/{fd}"))
}

fn kind(fd: RawFd) -> u32 {
    // SAFETY: fills a local structure, which is plain data.
    unsafe {
        let mut stat: libc::stat = std::mem::zeroed();
        match libc::fstat(fd, &mut stat) {
            0 => stat.st_mode & libc::S_IFMT,
            _ => 0,
        }
    }
}

impl Output {
    /// For the open descriptor `fd`.
    pub fn new(fd: RawFd) -> Self {
        let way = match kind(fd) {
            libc::S_IFIFO | libc::S_IFCHR => match reopen(fd, false) {
                Ok(own) => Way::Own(own),
                Err(_) => Way::InPieces(PIPE_BUF),
            },
            libc::S_IFSOCK => Way::InPieces(1),
            _ => Way::Direct,
        };
        Self {
            fd,
            way,
            blocked: false,
        }
    }

    /// The descriptor to watch if a write found no room.
    pub fn blocked(&self) -> Option<RawFd> {
        self.blocked.then_some(self.fd)
    }

    fn has_room(&self) -> io::Result<bool> {
        let mut fds = [libc::pollfd {
            fd: self.fd,
            events: libc::POLLOUT,
            revents: 0,
        }];
        poll(&mut fds, Some(Duration::ZERO))?;
        Ok(fds[0].revents != 0)
    }

    /// Writes as much as there is room for.
    pub fn write(&mut self, data: &[VolatileSlice<'_>]) -> io::Result<usize> {
        let result = match &self.way {
            Way::Direct => write_vectored(self.fd, data),
            Way::Own(file) => write_vectored(file.as_raw_fd(), data),
            Way::InPieces(_) if !self.has_room()? => Err(io::ErrorKind::WouldBlock.into()),
            Way::InPieces(1) => send(self.fd, &collect(data)),
            Way::InPieces(limit) => {
                let mut bytes = collect(data);
                bytes.truncate(*limit);
                write_bytes(self.fd, &bytes)
            }
        };
        self.blocked = matches!(&result, Err(error) if error.kind() == io::ErrorKind::WouldBlock);
        result
    }

    /// Writes everything, waiting for room.
    pub fn write_all(&mut self, data: &[VolatileSlice<'_>]) -> io::Result<usize> {
        let bytes = collect(data);
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            match write_bytes(self.fd, rest) {
                Ok(written) => rest = rest.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Somebody else made the stream non-blocking.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let mut fds = [libc::pollfd {
                        fd: self.fd,
                        events: libc::POLLOUT,
                        revents: 0,
                    }];
                    poll(&mut fds, None)?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(bytes.len())
    }
}

fn write_bytes(fd: RawFd, bytes: &[u8]) -> io::Result<usize> {
    // SAFETY: the buffer is valid for its length.
    let written = unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) };
    usize::try_from(written).map_err(|_| io::Error::last_os_error())
}

fn send(fd: RawFd, bytes: &[u8]) -> io::Result<usize> {
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: the buffer is valid for its length.
    let sent = unsafe { libc::send(fd, bytes.as_ptr().cast(), bytes.len(), flags) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

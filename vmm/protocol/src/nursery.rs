//! The nursery: a process that has started once, and forks for each worker.
//!
//! A start of the whole program costs more than an instance takes for its answer. A worker forked
//! off is as fresh: it has seen no request, and shares nothing writable with the others; only the
//! addresses of code and libraries are the same in all workers of one nursery.
//!
//! The gateway sends, over [`NURSERY_FD`], one byte with the worker's end of a socket; the answer is
//! an `i32`: the worker's pid, or a negated errno. Workers are children of the gateway, not of the
//! nursery, so that it learns of their end and reaps them.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use vmm_sys_util::sock_ctrl_msg::ScmSocket;

/// The nursery's end of its socket.
pub const NURSERY_FD: i32 = 3;

/// Asks the nursery at the other end of `nursery` for a worker that serves over `socket`; its pid.
/// Blocks until there is one.
pub fn ask(nursery: &mut UnixStream, socket: &UnixStream) -> io::Result<i32> {
    let sent = nursery
        .send_with_fd(&[0u8][..], socket.as_raw_fd())
        .map_err(|error| io::Error::from_raw_os_error(error.errno()))?;
    if sent != 1 {
        return Err(io::ErrorKind::WriteZero.into());
    }
    let mut answer = [0; 4];
    nursery.read_exact(&mut answer)?;
    match i32::from_ne_bytes(answer) {
        pid @ 1.. => Ok(pid),
        errno => Err(io::Error::from_raw_os_error(errno.saturating_neg())),
    }
}

/// Is the nursery over the inherited [`NURSERY_FD`]. Returns in each worker, with its socket, and
/// at last in the nursery itself, with nothing, when the gateway has closed its end.
///
/// The process must have one thread.
pub fn run_inherited() -> io::Result<Option<UnixStream>> {
    // SAFETY: only asks for flags; an invalid descriptor is an error.
    if unsafe { libc::fcntl(NURSERY_FD, libc::F_GETFD) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is open (checked) and was inherited for us; this is called once, at
    // the start of the process, so nobody else owns it.
    run(UnixStream::from(unsafe {
        OwnedFd::from_raw_fd(NURSERY_FD)
    }))
}

fn run(mut gateway: UnixStream) -> io::Result<Option<UnixStream>> {
    while let Some(socket) = receive(&gateway)? {
        let parent = std::os::unix::process::parent_id();
        let answer = match fork_sibling() {
            Ok(0) => {
                drop(gateway);
                end_with(parent)?;
                return Ok(Some(socket));
            }
            Ok(pid) => pid,
            Err(error) => -error.raw_os_error().unwrap_or(libc::EAGAIN),
        };
        drop(socket);
        gateway.write_all(&answer.to_ne_bytes())?;
    }
    Ok(None)
}

fn receive(gateway: &UnixStream) -> io::Result<Option<UnixStream>> {
    let mut byte = [0];
    let received = gateway.recv_with_fd(&mut byte);
    match received.map_err(|error| io::Error::from_raw_os_error(error.errno()))? {
        (0, _) => Ok(None),
        (_, Some(socket)) => Ok(Some(socket_of(socket))),
        (_, None) => Err(io::Error::other("the gateway sent no socket")),
    }
}

fn socket_of(file: File) -> UnixStream {
    UnixStream::from(OwnedFd::from(file))
}

/// Forks a child of this process's parent: 0 in the child, else its pid.
fn fork_sibling() -> io::Result<i32> {
    let flags = libc::CLONE_PARENT | libc::SIGCHLD;
    // SAFETY: without CLONE_VM this is a fork. The process has one thread (see `run_inherited`), so
    // the child finds no lock that somebody else holds.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) };
    match i32::try_from(pid) {
        Ok(pid) if pid >= 0 => Ok(pid),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Names of the environment that the nursery and its workers keep: what is to be said in the log.
pub const ENVIRONMENT: &[&str] = &["SPROUT_LOG", "RUST_BACKTRACE", "RUST_LIB_BACKTRACE"];

/// Gives up what a process has from the one that started it and the nursery does not need, so that a
/// guest that takes over a worker finds nothing of it: descriptors other than the standard ones and
/// `socket`, which becomes [`NURSERY_FD`]; the terminal; handlers, masks and ignored signals; the
/// directory. Makes only system calls that a child may make between fork and exec; what `exec` is
/// given besides, the environment first of all, is the caller's.
pub fn shed(socket: RawFd) -> io::Result<()> {
    const AFTER: libc::c_uint = NURSERY_FD as libc::c_uint + 1;
    const SIGNALS: libc::c_int = 64;
    /// The kernel's `struct sigaction`: SIG_DFL, no flags, no restorer, nothing masked.
    const DEFAULT: [u64; 4] = [0; 4];
    let check = |result| match result {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    };
    // SAFETY: these calls touch no memory but what they are given: the path, the set, the action; the
    // descriptors are closed by `exec` only, as the standard library has its own until then. Signals
    // that can't be set to their default have no other.
    unsafe {
        check(libc::dup2(socket, NURSERY_FD))?;
        let flags = libc::CLOSE_RANGE_CLOEXEC as libc::c_int;
        check(libc::close_range(AFTER, libc::c_uint::MAX, flags))?;
        check(libc::chdir(c"/".as_ptr()))?;
        libc::umask(0o077);
        // What a terminal sends its foreground is the gateway's to answer.
        check(libc::setsid())?;
        for signal in 1..=SIGNALS {
            // Not by the C library, which keeps two from us that may be ignored all the same.
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                &DEFAULT,
                0,
                size_of::<u64>(),
            );
        }
        let mut none = std::mem::zeroed();
        libc::sigemptyset(&mut none);
        check(libc::sigprocmask(
            libc::SIG_SETMASK,
            &none,
            std::ptr::null_mut(),
        ))
    }
}

/// Has this process killed when its parent, `parent`, dies. Makes only system calls that a child may
/// make between fork and exec.
pub fn end_with(parent: u32) -> io::Result<()> {
    // SAFETY: changes only what happens at the parent's death.
    if unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) } == -1 {
        return Err(io::Error::last_os_error());
    }
    // The parent may have died before the line above took effect.
    if std::os::unix::process::parent_id() != parent {
        return Err(io::Error::from_raw_os_error(libc::ESRCH));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_worker_gets_the_socket_that_was_sent_with_the_request() {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        // SAFETY: the child makes system calls and exits; it shares no lock with the threads of the
        // test that are not in it.
        let nursery = unsafe { libc::fork() };
        if nursery == 0 {
            drop(ours);
            if let Ok(Some(mut socket)) = run(theirs) {
                let _ = socket.write_all(&std::process::id().to_ne_bytes());
            }
            // SAFETY: ends the child without the test harness's handlers.
            unsafe { libc::_exit(0) };
        }
        drop(theirs);
        for _ in 0..3 {
            let (mut end, other) = UnixStream::pair().unwrap();
            let pid = ask(&mut ours, &other).unwrap();
            drop(other);
            let mut said = [0; 4];
            end.read_exact(&mut said).unwrap();
            assert_eq!(i32::from_ne_bytes(said), pid);
            // A child of ours, as the nursery is.
            // SAFETY: waits for a child.
            assert_eq!(unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) }, pid);
        }
        drop(ours);
        // SAFETY: as above.
        unsafe { libc::waitpid(nursery, std::ptr::null_mut(), 0) };
    }

    #[test]
    fn a_nursery_that_is_gone_is_an_error() {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        let (socket, _other) = UnixStream::pair().unwrap();
        drop(theirs);
        assert!(ask(&mut ours, &socket).is_err());
    }
}

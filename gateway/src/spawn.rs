//! Starts worker processes.
//!
//! Workers ask the kernel to be killed when their parent dies, so that not even a killed gateway
//! leaves any behind. For the kernel the parent is the *thread* that forked: one thread that lives
//! as long as the gateway starts them all.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::process::Stdio;
use std::sync::mpsc;

use sprout_vmm::worker::protocol::WORKER_FD;
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// A worker process and the gateway's end of its socket.
type Started = (Child, UnixStream);

/// The thread that starts workers.
#[derive(Debug)]
pub struct Spawner {
    requests: mpsc::Sender<oneshot::Sender<io::Result<Started>>>,
}

impl Spawner {
    /// Starts the thread. `command` is a program and its arguments; must be called in a runtime.
    pub fn start(command: Vec<OsString>) -> io::Result<Self> {
        let (requests, inbox) = mpsc::channel::<oneshot::Sender<io::Result<Started>>>();
        let runtime = Handle::current();
        let reserved = reserve_worker_fd()?;
        std::thread::Builder::new()
            .name("spawner".into())
            .spawn(move || {
                let _reserved = reserved;
                let _context = runtime.enter();
                for reply in inbox {
                    // A receiver that is gone drops the child, which kills it.
                    let _ = reply.send(start_worker(&command));
                }
            })?;
        Ok(Self { requests })
    }

    /// Starts one worker.
    pub async fn spawn(&self) -> io::Result<Started> {
        let (reply, answer) = oneshot::channel();
        let gone = || io::Error::other("the thread that starts workers has ended");
        self.requests.send(reply).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

/// Occupies the number workers expect their socket at: were it free, the pipe by which the standard
/// library learns of a failed `exec` could get it, and would be overwritten in the child.
fn reserve_worker_fd() -> io::Result<Vec<File>> {
    let mut reserved = Vec::new();
    loop {
        let file = File::open("/dev/null")?;
        if file.as_raw_fd() > WORKER_FD {
            return Ok(reserved);
        }
        reserved.push(file);
    }
}

#[allow(unsafe_code)]
fn start_worker(command: &[OsString]) -> io::Result<Started> {
    let (program, arguments) = command
        .split_first()
        .ok_or_else(|| io::Error::other("empty worker command"))?;
    let (ours, theirs) = StdUnixStream::pair()?;
    ours.set_nonblocking(true)?;
    let ours = UnixStream::from_std(ours)?;
    let socket = theirs.as_raw_fd();
    let parent = std::process::id();
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true);
    // SAFETY: between fork and exec the closure makes only async-signal-safe calls and allocates
    // nothing; `io::Error` from an errno is a plain value. `socket` stays open until `theirs` is
    // dropped below, after the fork.
    unsafe {
        command.pre_exec(move || {
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) == -1 {
                return Err(io::Error::last_os_error());
            }
            // The parent may have died before the line above took effect.
            if u32::try_from(libc::getppid()) != Ok(parent) {
                return Err(io::Error::from_raw_os_error(libc::ESRCH));
            }
            // `reserve_worker_fd` keeps the two numbers apart; dup2 clears close-on-exec.
            if libc::dup2(socket, WORKER_FD) == -1 {
                return Err(io::Error::last_os_error());
            }
            Ok(())
        });
    }
    let child = command.spawn()?;
    drop(theirs);
    Ok((child, ours))
}

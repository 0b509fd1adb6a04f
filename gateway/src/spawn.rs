//! Starts worker processes: the nursery forks them.
//!
//! The nursery and its workers ask the kernel to be killed when their parent dies, so that not even
//! a killed gateway leaves any behind. For the kernel the parent is the *thread* that forked: one
//! thread that lives as long as the gateway starts the nursery, and so is the parent of all workers.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;

use sprout_protocol::nursery::{self, NURSERY_FD};
use tokio::net::UnixStream;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::process::Process;

/// A worker process and the gateway's end of its socket.
type Started = (Process, UnixStream);

/// The thread that has workers started.
#[derive(Debug)]
pub struct Spawner {
    requests: mpsc::Sender<oneshot::Sender<io::Result<Started>>>,
}

impl Spawner {
    /// Starts the thread. `command` is the nursery's program and its arguments; must be called in a
    /// runtime.
    pub fn start(command: Vec<OsString>) -> io::Result<Self> {
        let (requests, inbox) = mpsc::channel::<oneshot::Sender<io::Result<Started>>>();
        let runtime = Handle::current();
        let reserved = reserve_nursery_fd()?;
        std::thread::Builder::new()
            .name("spawner".into())
            .spawn(move || {
                let _reserved = reserved;
                let _context = runtime.enter();
                let mut nursery = None;
                for reply in inbox {
                    // A receiver that is gone drops the worker, which kills it.
                    let _ = reply.send(start_worker(&mut nursery, &command));
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

/// Occupies the number the nursery expects its socket at: were it free, the pipe by which the
/// standard library learns of a failed `exec` could get it, and would be overwritten in the child.
fn reserve_nursery_fd() -> io::Result<Vec<File>> {
    let mut reserved = Vec::new();
    loop {
        let file = File::open("/dev/null")?;
        if file.as_raw_fd() > NURSERY_FD {
            return Ok(reserved);
        }
        reserved.push(file);
    }
}

/// The nursery's process and the gateway's end of its socket.
struct Nursery {
    process: Child,
    socket: StdUnixStream,
}

impl Nursery {
    #[allow(unsafe_code)]
    fn start(command: &[OsString]) -> io::Result<Self> {
        let (program, arguments) = command
            .split_first()
            .ok_or_else(|| io::Error::other("empty worker command"))?;
        let (ours, theirs) = StdUnixStream::pair()?;
        let socket = theirs.as_raw_fd();
        let parent = std::process::id();
        let kept = nursery::ENVIRONMENT
            .iter()
            .filter_map(|name| Some((name, std::env::var_os(name)?)));
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .envs(kept)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        // SAFETY: between fork and exec the closure makes only async-signal-safe calls and
        // allocates nothing; `io::Error` from an errno is a plain value. `socket` stays open until
        // `theirs` is dropped below, after the fork.
        unsafe {
            command.pre_exec(move || {
                nursery::end_with(parent)?;
                // `reserve_nursery_fd` keeps the two numbers apart; dup2 clears close-on-exec.
                nursery::shed(socket)
            });
        }
        let process = command.spawn()?;
        drop(theirs);
        Ok(Self {
            process,
            socket: ours,
        })
    }

    /// Has it fork a worker.
    fn fork(&mut self) -> io::Result<Started> {
        let (ours, theirs) = StdUnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let pid = nursery::ask(&mut self.socket, &theirs)?;
        let process = Process::of_child(pid)?;
        Ok((process, UnixStream::from_std(ours)?))
    }

    /// Whether it has ended; if so it is reaped.
    fn ended(&mut self) -> Option<String> {
        let status = self.process.try_wait().ok().flatten()?;
        Some(format!("the process that starts workers ended ({status})"))
    }
}

impl Drop for Nursery {
    fn drop(&mut self) {
        // One that has ended already is reaped all the same.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Starts a worker, and the nursery first if there is none or the one there was is gone.
fn start_worker(nursery: &mut Option<Nursery>, command: &[OsString]) -> io::Result<Started> {
    if let Some(reason) = nursery.as_mut().and_then(Nursery::ended) {
        tracing::warn!("{reason}; another one takes its place");
        *nursery = None;
    }
    let running = match nursery {
        Some(running) => running,
        None => nursery.insert(Nursery::start(command)?),
    };
    running.fork().map_err(|error| match error.raw_os_error() {
        // It could not fork, or the gateway is short of descriptors: that passes.
        Some(libc::EAGAIN | libc::ENOMEM | libc::EMFILE | libc::ENFILE) => error,
        _ => {
            *nursery = None;
            io::Error::other(format!("the process that starts workers: {error}"))
        }
    })
}

//! A child process that the standard library did not start: its end is awaited through a pidfd.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, WaitIdStatus, pidfd_open, pidfd_send_signal,
    waitid,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A child of this process. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    pid: i32,
    pidfd: AsyncFd<OwnedFd>,
    status: Option<ExitStatus>,
}

impl Process {
    /// The child with this pid, which nobody else waits for; must be called in a runtime.
    #[allow(unsafe_code)]
    pub fn of_child(pid: i32) -> io::Result<Self> {
        let known = Pid::from_raw(pid).ok_or_else(|| io::Error::other("pid 0"))?;
        // Until it is reaped, which only this object does, its pid is nobody else's.
        let pidfd = pidfd_open(known, PidfdFlags::NONBLOCK)?;
        // SAFETY: an `OwnedFd` is open, and names one descriptor, for as long as it exists.
        let pidfd = unsafe { AsyncFd::register_with_interest(pidfd, Interest::READABLE) };
        Ok(Self {
            pid,
            pidfd: pidfd.map_err(|error| error.into_parts().1)?,
            status: None,
        })
    }

    /// Its process id.
    pub fn id(&self) -> i32 {
        self.pid
    }

    /// Waits for its end and reaps it.
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        loop {
            if let Some(status) = self.try_wait()? {
                return Ok(status);
            }
            // Readable once, for ever, when the process has ended.
            self.pidfd.readable().await?.retain_ready();
        }
    }

    fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        if self.status.is_none() {
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
            let ended = waitid(WaitId::PidFd(self.pidfd.get_ref().as_fd()), options)?;
            self.status = ended.as_ref().map(exit_status);
        }
        Ok(self.status)
    }

    /// Ends it, whatever it does, and reaps it.
    pub async fn kill(&mut self) -> io::Result<()> {
        if self.try_wait()?.is_none() {
            pidfd_send_signal(self.pidfd.get_ref(), Signal::KILL)?;
            self.wait().await?;
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // What is not reaped here is when the gateway ends: nothing is dropped unawaited before.
        if let Ok(None) = self.try_wait() {
            let _ = pidfd_send_signal(self.pidfd.get_ref(), Signal::KILL);
        }
    }
}

/// In the encoding of `wait(2)`.
fn exit_status(status: &WaitIdStatus) -> ExitStatus {
    let raw = match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => (code & 0xff) << 8,
        (None, Some(signal)) => signal | if status.dumped() { 0x80 } else { 0 },
        (None, None) => 0,
    };
    ExitStatus::from_raw(raw)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    /// A child the standard library forgets about.
    #[allow(clippy::zombie_processes)]
    fn child(script: &str) -> Process {
        let child = Command::new("sh").args(["-c", script]).spawn().unwrap();
        Process::of_child(child.id().try_into().unwrap()).unwrap()
    }

    #[tokio::test]
    async fn exit_statuses_are_those_of_the_standard_library() {
        for (script, expected) in [
            ("exit 7", "exit status: 7"),
            ("kill -9 $$", "signal: 9 (SIGKILL)"),
        ] {
            let mut process = child(script);
            assert_eq!(process.wait().await.unwrap().to_string(), expected);
            assert_eq!(process.wait().await.unwrap().to_string(), expected);
            process.kill().await.unwrap();
        }
    }

    #[tokio::test]
    async fn killing_reaps() {
        let mut process = child("exec sleep 100");
        let pid = process.id();
        process.kill().await.unwrap();
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
    }
}

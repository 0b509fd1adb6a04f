//! Running a command with a deadline, and what came of it.

use std::io::Read;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

/// How long the pipes of a command that has ended may stay open.
const GRACE: Duration = Duration::from_secs(5);

/// What a finished (or killed) command left behind.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Its whole standard output.
    pub stdout: Vec<u8>,
    /// Its whole standard error.
    pub stderr: Vec<u8>,
    /// The exit status as a shell shows it: 128 + n after death by signal n; none if it ran into
    /// the deadline and was killed.
    pub status: Option<i32>,
    /// The signal that ended the command itself, if one did.
    pub killed_by: Option<i32>,
}

impl Outcome {
    /// Whether a shell could tell the two apart.
    pub fn looks_like(&self, other: &Self) -> bool {
        (&self.stdout, &self.stderr, self.status) == (&other.stdout, &other.stderr, other.status)
    }

    /// Standard output as text.
    pub fn out(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Standard error as text.
    pub fn err(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }
}

/// The status a shell would show.
pub fn shell_status(status: ExitStatus) -> i32 {
    status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

/// Runs `command` in a process group of its own with no input, and kills that group at the deadline.
pub fn run(command: &mut Command, deadline: Duration) -> Result<Outcome> {
    run_with_input(command, Stdio::null(), deadline)
}

/// As [`run`], with something on standard input.
pub fn run_with_input(
    command: &mut Command,
    input: impl Into<Stdio>,
    deadline: Duration,
) -> Result<Outcome> {
    let mut child = command
        .stdin(input)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .with_context(|| format!("could not start {}", command.get_program().display()))?;
    let out = collect(child.stdout.take());
    let err = collect(child.stderr.take());
    let status = wait(&mut child, deadline)?;
    if status.is_none() {
        kill_group(&mut child);
    }
    let grace = Instant::now() + GRACE;
    Ok(Outcome {
        stdout: out.take(grace),
        stderr: err.take(grace),
        status: status.map(shell_status),
        killed_by: status.and_then(|status| status.signal()),
    })
}

/// Waits for a child at most until the deadline; none means that it still runs.
pub fn wait(child: &mut Child, deadline: Duration) -> Result<Option<ExitStatus>> {
    let end = Instant::now() + deadline;
    let pid = Pid::from_child(child);
    // One that has been waited for already may be gone.
    if let Some(status) = child.try_wait()? {
        return Ok(Some(status));
    }
    let ended = pidfd_open(pid, PidfdFlags::empty())?;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let mut ends = [PollFd::new(&ended, PollFlags::IN)];
        match poll(&mut ends, Some(&left.try_into()?)) {
            Ok(0) => return Ok(child.try_wait()?),
            Ok(_) => return Ok(Some(child.wait()?)),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Kills a child that was started as leader of its own process group, with everything it started.
pub fn kill_group(child: &mut Child) {
    if let Some(group) = Pid::from_raw(child.id().cast_signed()) {
        // Gone already is as good.
        let _ = kill_process_group(group, Signal::KILL);
    }
    let _ = child.wait();
}

/// Reads, whatever signals interrupt it.
fn read_on(pipe: &mut impl Read, piece: &mut [u8]) -> std::io::Result<usize> {
    loop {
        match pipe.read(piece) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// What arrives on a pipe, read by a thread of its own.
struct Collected {
    bytes: Arc<Mutex<Vec<u8>>>,
    end: Receiver<()>,
}

impl Collected {
    /// What has come when the pipe ends, or until then: something the command left behind may hold
    /// the pipe open for ever.
    fn take(self, until: Instant) -> Vec<u8> {
        let rest = until.saturating_duration_since(Instant::now());
        // Either way there is no more to wait for.
        let _ = self.end.recv_timeout(rest);
        std::mem::take(&mut *self.bytes.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn collect(mut pipe: Option<impl Read + Send + 'static>) -> Collected {
    let bytes = Arc::new(Mutex::new(Vec::new()));
    let (done, end) = mpsc::channel();
    let sink = bytes.clone();
    thread::spawn(move || {
        let mut piece = [0; 1 << 16];
        // What came before an error is what there is to compare.
        while let Some(Ok(length @ 1..)) = pipe.as_mut().map(|pipe| read_on(pipe, &mut piece)) {
            let mut bytes = sink.lock().unwrap_or_else(PoisonError::into_inner);
            bytes.extend_from_slice(&piece[..length]);
        }
        // Nobody may be waiting any more.
        let _ = done.send(());
    });
    Collected { bytes, end }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_output_and_status() {
        let outcome = run(
            Command::new("sh").args(["-c", "echo a; echo b >&2; exit 3"]),
            SECOND * 10,
        )
        .expect("sh runs");
        assert_eq!(
            (outcome.out().as_str(), outcome.err().as_str()),
            ("a\n", "b\n")
        );
        assert_eq!(outcome.status, Some(3));
    }

    #[test]
    fn death_by_signal_is_128_plus_its_number() {
        let outcome = run(
            Command::new("sh").args(["-c", "kill -TERM $$"]),
            SECOND * 10,
        )
        .expect("sh runs");
        assert_eq!(outcome.status, Some(143));
    }

    #[test]
    fn the_deadline_kills_the_whole_group() {
        let start = Instant::now();
        let outcome = run(
            Command::new("sh").args(["-c", "echo x; sleep 60 & sleep 60"]),
            SECOND,
        )
        .expect("sh runs");
        assert_eq!((outcome.status, outcome.out().as_str()), (None, "x\n"));
        assert!(start.elapsed() < SECOND * 30);
    }

    #[test]
    fn what_a_command_leaves_behind_does_not_hold_its_output_back() {
        let start = Instant::now();
        let outcome = run(
            Command::new("setsid").args(["--fork", "sh", "-c", "echo left; exec sleep 20"]),
            SECOND * 10,
        )
        .expect("setsid runs");
        assert_eq!(
            (outcome.status, outcome.out().as_str()),
            (Some(0), "left\n")
        );
        assert!(start.elapsed() < SECOND * 18);
    }

    const SECOND: Duration = Duration::from_secs(1);
}

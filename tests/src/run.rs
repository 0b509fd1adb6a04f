//! Running a command with a deadline, and what came of it.

use std::io::Read;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process_group};

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
    let mut child = command
        .stdin(Stdio::null())
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
    Ok(Outcome {
        stdout: out.join().unwrap_or_default(),
        stderr: err.join().unwrap_or_default(),
        status: status.map(shell_status),
        killed_by: status.and_then(|status| status.signal()),
    })
}

/// Waits for a child at most until the deadline; none means that it still runs.
pub fn wait(child: &mut Child, deadline: Duration) -> Result<Option<ExitStatus>> {
    let end = Instant::now() + deadline;
    let mut pause = Duration::from_micros(200);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= end {
            return Ok(None);
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(5));
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

fn collect(pipe: Option<impl Read + Send + 'static>) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            // What came before an error is what there is to compare.
            let _ = pipe.read_to_end(&mut bytes);
        }
        bytes
    })
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

    const SECOND: Duration = Duration::from_secs(1);
}

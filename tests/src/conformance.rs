//! Running a folder of prebuilt static test binaries natively and in the sentry, and comparing.
//!
//! The folder is anyone's: LTP, libc-test, one's own. What may differ is written down in an
//! expectation file with a reason for each difference; a difference that is gone is reported like
//! a new one, so that the list stays true.

mod expect;
mod guest;
mod list;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::run::{Outcome, run};
use crate::sprout;

pub use expect::{Expectations, Plan};
pub use list::{Test, tests};

/// How a run is done.
#[derive(Debug, Clone)]
pub struct Options {
    /// How long one test may take, natively and in the sentry.
    pub deadline: Duration,
    /// Memory of the guest, as `sprout run --memory` takes it.
    pub memory: String,
    /// Compare standard output too, not the status alone.
    pub output: bool,
    /// Run from an image of the whole folder with a shell and a few users, by a first process that
    /// is not the test.
    pub together: bool,
    /// How many tests at once.
    pub jobs: usize,
    /// Environment variables (`KEY=VALUE`) for every test, natively and in the sentry.
    pub env: Vec<String>,
    /// Where both outputs of each differing test go.
    pub logs: Option<PathBuf>,
}

/// What became of one test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The same in the sentry as natively; the status both had.
    Same(i32),
    /// Natively it does not end in time, so there is nothing to compare with.
    NoAnswer,
    /// Different, in the words given.
    Differs(String),
}

/// A test, what was expected of it and what came of it; no verdict: it was not run.
#[derive(Debug)]
pub struct Line {
    /// The test's name.
    pub name: String,
    /// What the expectation file says.
    pub plan: Plan,
    /// What happened.
    pub verdict: Option<Verdict>,
}

impl Line {
    /// What is wrong, if this is not as it should be.
    pub fn complaint(&self) -> Option<String> {
        match (&self.plan, self.verdict.as_ref()?) {
            (Plan::Same, Verdict::Differs(how)) => Some(format!("differs: {how}")),
            (Plan::Same, Verdict::NoAnswer) => Some(
                "does not end natively: give it more time, or list it under [[skip]]".to_owned(),
            ),
            (Plan::Differs(reason), Verdict::Same(_)) => Some(format!(
                "is as natively, although it is listed to differ ({reason}): remove the entry"
            )),
            _ => None,
        }
    }
}

/// Numbers of a whole run.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// As natively, with status 0.
    pub same_success: usize,
    /// As natively, with another status (LTP: 32 is "not for this configuration").
    pub same_other: usize,
    /// Different, as listed.
    pub differs_listed: usize,
    /// Not as it should be.
    pub complaints: usize,
    /// Not run.
    pub skipped: usize,
}

impl Totals {
    /// Counts the lines of a run.
    pub fn of(lines: &[Line]) -> Self {
        let mut totals = Self::default();
        for line in lines {
            let counter = if line.complaint().is_some() {
                &mut totals.complaints
            } else {
                match line.verdict {
                    Some(Verdict::Same(0)) => &mut totals.same_success,
                    Some(Verdict::Same(_)) => &mut totals.same_other,
                    Some(_) => &mut totals.differs_listed,
                    None => &mut totals.skipped,
                }
            };
            *counter += 1;
        }
        totals
    }
}

/// Runs all tests and returns a line for each, in their order. `progress` is called as they end.
pub fn run_all(
    dir: &Path,
    tests: &[Test],
    expectations: &Expectations,
    options: &Options,
    progress: &(dyn Fn(&Line) + Sync),
) -> Result<Vec<Line>> {
    sprout::kvm()?;
    let dir = dir
        .canonicalize()
        .with_context(|| format!("looking for {}", dir.display()))?;
    let store = tempfile::tempdir()?;
    if options.together {
        guest::build_image(&dir, store.path())?;
    }
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::new());
    let failed = Mutex::new(None);
    thread::scope(|scope| {
        for _ in 0..options.jobs.max(1) {
            scope.spawn(|| {
                while let Some((index, test)) = take(&next, tests) {
                    let plan = expectations.plan(&test.name);
                    let verdict = match plan {
                        Plan::Skip(_) => Ok(None),
                        _ => compare(&dir, store.path(), test, options).map(Some),
                    };
                    let verdict = match verdict {
                        Ok(verdict) => verdict,
                        Err(error) => {
                            *lock(&failed) = Some(error.context(test.name.clone()));
                            next.store(tests.len(), Ordering::Relaxed);
                            return;
                        }
                    };
                    let line = Line {
                        name: test.name.clone(),
                        plan,
                        verdict,
                    };
                    progress(&line);
                    lock(&done).push((index, line));
                }
            });
        }
    });
    if let Some(error) = lock(&failed).take() {
        return Err(error);
    }
    let mut lines = std::mem::take(&mut *lock(&done));
    lines.sort_by_key(|(index, _)| *index);
    Ok(lines.into_iter().map(|(_, line)| line).collect())
}

fn take<'a>(next: &AtomicUsize, tests: &'a [Test]) -> Option<(usize, &'a Test)> {
    let index = next.fetch_add(1, Ordering::Relaxed);
    tests.get(index).map(|test| (index, test))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn compare(dir: &Path, store: &Path, test: &Test, options: &Options) -> Result<Verdict> {
    let native = natively(dir, test, options).context("natively")?;
    let Some(status) = native.status else {
        return Ok(Verdict::NoAnswer);
    };
    let sentry = in_sentry(dir, store, test, options).context("in the sentry")?;
    let verdict = judge(status, &native, &sentry, options);
    if let (Verdict::Differs(_), Some(logs)) = (&verdict, &options.logs) {
        write_logs(logs, &test.name, &native, &sentry)?;
    }
    Ok(verdict)
}

fn judge(status: i32, native: &Outcome, sentry: &Outcome, options: &Options) -> Verdict {
    match sentry.status {
        None => Verdict::Differs(format!(
            "status {status} expected, still running after {:?}",
            options.deadline
        )),
        Some(got) if got != status => {
            Verdict::Differs(format!("status {status} expected, got {got}"))
        }
        Some(_) if options.output && native.stdout != sentry.stdout => {
            Verdict::Differs(format!("status {status} as expected, another output"))
        }
        Some(_) => Verdict::Same(status),
    }
}

fn natively(dir: &Path, test: &Test, options: &Options) -> Result<Outcome> {
    let home = tempfile::tempdir()?;
    let mut command = Command::new(dir.join(&test.program));
    command
        .args(&test.args)
        .current_dir(home.path())
        .env("PATH", search_path(&dir.to_string_lossy()))
        .envs(options.env.iter().filter_map(|pair| pair.split_once('=')));
    run(&mut command, options.deadline)
}

fn in_sentry(dir: &Path, store: &Path, test: &Test, options: &Options) -> Result<Outcome> {
    let mut command = sprout::command()?;
    command
        .env("SPROUT_HOME", store)
        .args(["run", "--memory", &options.memory]);
    for pair in &options.env {
        command.args(["--env", pair]);
    }
    if options.together {
        guest::run_from_image(&mut command, &test.program);
    } else {
        command.arg("--").arg(dir.join(&test.program));
    }
    run(command.args(&test.args), options.deadline)
}

fn search_path(first: &str) -> String {
    format!("{first}:/usr/sbin:/usr/bin:/sbin:/bin")
}

fn write_logs(logs: &Path, name: &str, native: &Outcome, sentry: &Outcome) -> Result<()> {
    fs::create_dir_all(logs).with_context(|| format!("creating {}", logs.display()))?;
    for (place, outcome) in [("native", native), ("sentry", sentry)] {
        let mut text = outcome.stdout.clone();
        text.extend_from_slice(&outcome.stderr);
        let path = logs.join(format!("{}.{place}", name.replace('/', ".")));
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

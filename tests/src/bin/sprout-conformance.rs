//! `sprout-conformance DIR`: runs prebuilt static test binaries natively and in the sentry, and
//! says where they differ. See `docs/conformance.md`.
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Parser;
use sprout_tests::conformance::{Expectations, Options, Totals, run_all, tests};

/// Run the static test binaries of a folder on this Linux and in the sentry, and compare.
#[derive(Parser)]
struct Cli {
    /// Folder with the test programs
    dir: PathBuf,
    /// What is known to differ or must not be run (see tests/conformance/expectations)
    #[arg(long, value_name = "FILE")]
    expect: Option<PathBuf>,
    /// The tests, one a line: NAME PROGRAM ARG... (default: every executable in the folder)
    #[arg(long, value_name = "FILE")]
    list: Option<PathBuf>,
    /// Only tests whose name begins so
    #[arg(long, value_name = "BEGINNING")]
    only: Vec<String>,
    /// Compare standard output too, not only the exit status
    #[arg(long)]
    output: bool,
    /// Give the guest the whole folder, not only the program: tests that start helper programs
    #[arg(long)]
    together: bool,
    /// Seconds that one test may take
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    deadline: u64,
    /// Memory of the guest
    #[arg(long, value_name = "SIZE", default_value = "256M")]
    memory: String,
    /// Tests at once
    #[arg(long, value_name = "N", default_value_t = 2)]
    jobs: usize,
    /// Environment variable for every test, natively and in the sentry
    #[arg(long, value_name = "KEY=VALUE")]
    env: Vec<String>,
    /// Folder for both outputs of each test that differs
    #[arg(long, value_name = "DIR")]
    logs: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("sprout-conformance: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(cli: &Cli) -> Result<bool> {
    let mut all = tests(&cli.dir, cli.list.as_deref())?;
    let names: Vec<String> = all.iter().map(|test| test.name.clone()).collect();
    let expectations = match &cli.expect {
        Some(path) => Expectations::read(path, &names)?,
        None => Expectations::default(),
    };
    if !cli.only.is_empty() {
        all.retain(|test| cli.only.iter().any(|only| test.name.starts_with(only)));
    }
    let options = Options {
        deadline: Duration::from_secs(cli.deadline),
        memory: cli.memory.clone(),
        output: cli.output,
        together: cli.together,
        jobs: cli.jobs,
        env: cli.env.clone(),
        logs: cli.logs.clone(),
    };
    let lines = run_all(&cli.dir, &all, &expectations, &options, &|line| {
        if let Some(complaint) = line.complaint() {
            println!("{} {complaint}", line.name);
        }
    })?;
    let totals = Totals::of(&lines);
    println!(
        "{} as natively and successful, {} as natively with another status, {} differ as listed, \
         {} not run",
        totals.same_success, totals.same_other, totals.differs_listed, totals.skipped
    );
    println!(
        "{} passed, {} failed",
        lines.len() - totals.complaints - totals.skipped,
        totals.complaints
    );
    Ok(totals.complaints == 0)
}

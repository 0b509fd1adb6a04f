//! Static programs of Debian (shells, busybox with its applets, file-system tools) natively and in
//! the sentry: output and exit status must be the same.
//!
//! Each file of `tests/static` is a case: its first line says what is run, its second the package
//! that has it (`ci/setup` installs it), and the whole file is the program's standard input.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use libtest_mimic::{Arguments, Trial};
use sprout_tests::run::{Outcome, run_with_input};
use sprout_tests::{source_dir, sprout};

/// Of the package busybox-static.
const BUSYBOX: &str = "/bin/busybox";
const DEADLINE: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    match trials() {
        Ok(trials) => libtest_mimic::run(&arguments, trials).exit_code(),
        Err(error) => {
            eprintln!("static programs: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn trials() -> Result<Vec<Trial>> {
    let mut files: Vec<PathBuf> = fs::read_dir(source_dir().join("static"))?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    files.sort();
    ensure!(!files.is_empty(), "no cases");
    let trial = |file: PathBuf| {
        let name = file.file_stem().unwrap_or_default().to_string_lossy();
        Trial::test(name.into_owned(), move || {
            compare(&file).map_err(|error| format!("{error:#}").into())
        })
    };
    let memory = Trial::test("memory_is_honoured_to_the_page", || {
        memory_size().map_err(|error| format!("{error:#}").into())
    });
    Ok(files.into_iter().map(trial).chain([memory]).collect())
}

/// A size that is no multiple of a large page is what the guest has, and can use.
fn memory_size() -> Result<()> {
    sprout::kvm()?;
    let script = "grep MemTotal /proc/meminfo; \
                  head -c 9000000 /dev/urandom > /tmp/a; cp /tmp/a /tmp/b; cmp /tmp/a /tmp/b";
    let mut command = sprout::command()?;
    command.args([
        "run", "--memory", "50204K", "--", BUSYBOX, "sh", "-c", script,
    ]);
    let outcome = run_with_input(&mut command, File::open("/dev/null")?, DEADLINE)?;
    ensure!(
        outcome.status == Some(0) && outcome.out() == "MemTotal:          50204 kB\n",
        "{}",
        describe(&outcome)
    );
    Ok(())
}

fn compare(file: &Path) -> Result<()> {
    sprout::kvm()?;
    let text = fs::read_to_string(file)?;
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.with_context(|| format!("{} has no line {name:?}", file.display()))
    };
    let command: Vec<&str> = field("# run by: ")?.split_whitespace().collect();
    let (program, args) = command.split_first().context("no program is named")?;
    ensure!(
        Path::new(program).exists(),
        "{program} is not installed: it is in the package {} (ci/setup installs it)",
        field("# package: ")?
    );
    let home = tempfile::tempdir()?;
    let input = || File::open(file);
    let mut natively = Command::new(program);
    natively.args(args).current_dir(home.path());
    let native = run_with_input(&mut natively, input()?, DEADLINE)?;
    let mut in_sentry = sprout::command()?;
    in_sentry
        .args(["run", "--memory", "64M", "--"])
        .arg(program)
        .args(args);
    let sentry = run_with_input(&mut in_sentry, input()?, DEADLINE)?;
    ensure!(
        native.status.is_some() && native.looks_like(&sentry),
        "natively:\n{}\nin the sentry:\n{}",
        describe(&native),
        describe(&sentry)
    );
    Ok(())
}

fn describe(outcome: &Outcome) -> String {
    format!(
        "status {:?}\n{}{}",
        outcome.status,
        outcome.out(),
        outcome.err()
    )
}

//! Static programs of Debian (shells, busybox with its applets, file-system tools) natively and in
//! the sentry: output and exit status must be the same. The cases are files of `tests/static`.

use std::fs::File;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Result, ensure};
use libtest_mimic::{Arguments, Trial};
use sprout_tests::run::{Outcome, run_with_input};
use sprout_tests::static_program::{self, StaticProgram};
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
    let cases = static_program::all(&source_dir().join("static"))?;
    let trial = |case: StaticProgram| {
        Trial::test(case.name.clone(), move || {
            compare(&case).map_err(|error| format!("{error:#}").into())
        })
    };
    let memory = Trial::test("memory_is_honoured_to_the_page", || {
        memory_size().map_err(|error| format!("{error:#}").into())
    });
    Ok(cases.into_iter().map(trial).chain([memory]).collect())
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

fn compare(case: &StaticProgram) -> Result<()> {
    sprout::kvm()?;
    let home = tempfile::tempdir()?;
    let input = || File::open(&case.input);
    let mut natively = Command::new(&case.program);
    natively.args(&case.args).current_dir(home.path());
    let native = run_with_input(&mut natively, input()?, DEADLINE)?;
    let mut in_sentry = sprout::command()?;
    in_sentry
        .args(["run", "--memory", "64M", "--"])
        .arg(&case.program)
        .args(&case.args);
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

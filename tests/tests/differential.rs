//! Every program of `tests/programs` natively and in the sentry: standard output, standard error
//! and exit status must be the same (where Linux itself gives now this and now that, one of these).
//! Each runs in the sentry twice, with it and the program on shared page tables and on separate ones
//! (`strict/NAME`; where the host has hardware virtualization, these are the same).

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result};
use libtest_mimic::{Arguments, Failed, Trial};
use sprout_tests::expectations::Expectations;
use sprout_tests::programs::{self, Case};
use sprout_tests::run::{Outcome, run};
use sprout_tests::{source_dir, sprout, target_dir};

/// How long one run of a program may take; natively each takes well below a second.
const DEADLINE: Duration = Duration::from_secs(30);

/// How often a program is run natively before a difference counts: Linux may itself give another
/// outcome now and then.
const NATIVE_RUNS: usize = 20;

/// The memory each virtual machine gets.
const MEMORY: &str = "64M";

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    match trials(arguments.list) {
        Ok(trials) => libtest_mimic::run(&arguments, trials).exit_code(),
        Err(error) => {
            eprintln!("differential tests: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn trials(only_list: bool) -> Result<Vec<Trial>> {
    let sources = source_dir().join("programs");
    let out = target_dir().join("sprout-tests/programs");
    let cases = programs::cases(&sources)?;
    let names: Vec<String> = cases.iter().map(|case| case.name.clone()).collect();
    let expectations = Expectations::read(&source_dir().join("expectations.toml"), &names)?;
    if !only_list {
        programs::build(&sources, &out, &cases)?;
    }
    let trial = |case: &Case, isolation: &'static str, name: String| {
        let reason = expectations.reason(&case.name).map(str::to_owned);
        let (case, out) = (case.clone(), out.clone());
        Trial::test(name, move || {
            check(&case, &out, isolation, reason.as_deref())
        })
    };
    let shared = cases
        .iter()
        .filter(|case| !case.needs_wall)
        .map(|case| trial(case, "shared", case.name.clone()));
    let strict = cases
        .iter()
        .map(|case| trial(case, "strict", format!("strict/{}", case.name)));
    Ok(shared.chain(strict).collect())
}

fn check(
    case: &Case,
    out: &Path,
    isolation: &str,
    expected_failure: Option<&str>,
) -> Result<(), Failed> {
    let difference = compare(case, out, isolation).map_err(|error| format!("{error:#}"))?;
    match (difference, expected_failure) {
        (None, None) | (Some(_), Some(_)) => Ok(()),
        (Some(difference), None) => Err(difference.into()),
        (None, Some(reason)) => Err(format!(
            "passes, although expectations.toml expects it to fail ({reason}); remove the entry"
        )
        .into()),
    }
}

/// How the sentry's run differs from Linux's, if it does.
fn compare(case: &Case, out: &Path, isolation: &str) -> Result<Option<String>> {
    sprout::kvm()?;
    let program = programs::binary(out, case);
    let first = native(case, &program).context("natively")?;
    let sentry = in_sentry(case, &program, isolation).context("in the sentry")?;
    if first.looks_like(&sentry) {
        return Ok(None);
    }
    for _ in 1..NATIVE_RUNS {
        let again = native(case, &program).context("natively")?;
        if again.looks_like(&sentry) {
            eprintln!(
                "{}: Linux has several outcomes, the sentry's is one of them; make the program say \
                 always the same:\n{}",
                case.name,
                describe(&first, &again)
            );
            return Ok(None);
        }
    }
    Ok(Some(describe(&first, &sentry)))
}

fn native(case: &Case, program: &Path) -> Result<Outcome> {
    let home = tempfile::tempdir()?;
    run(
        Command::new(program)
            .args(&case.args)
            .current_dir(home.path()),
        DEADLINE,
    )
}

fn in_sentry(case: &Case, program: &PathBuf, isolation: &str) -> Result<Outcome> {
    let mut command = sprout::command()?;
    command.arg("run");
    // Another sentry than the built-in one, as one with debug assertions.
    if let Some(kernel) = std::env::var_os("SPROUT_TEST_KERNEL") {
        command.arg("--kernel").arg(kernel);
    }
    command
        .args(["--memory", MEMORY, "--sentry-isolation", isolation])
        .args(["--vcpus", &case.vcpus.to_string(), "--"])
        .arg(program)
        .args(&case.args);
    run(&mut command, DEADLINE)
}

fn describe(native: &Outcome, sentry: &Outcome) -> String {
    let mut text = String::new();
    if native.status != sentry.status {
        let show = |status: Option<i32>| {
            status.map_or_else(
                || format!("still running after {DEADLINE:?}"),
                |s| s.to_string(),
            )
        };
        text += &format!(
            "exit status: {} expected, got {}\n",
            show(native.status),
            show(sentry.status)
        );
    }
    for (name, expected, got) in [
        ("stdout", native.out(), sentry.out()),
        ("stderr", native.err(), sentry.err()),
    ] {
        if expected != got {
            text += &first_difference(name, &expected, &got);
        }
    }
    text
}

/// The first lines in which two texts differ, with a few lines of what follows in the second.
fn first_difference(name: &str, expected: &str, got: &str) -> String {
    let mut expected = expected.lines();
    let mut got = got.lines();
    let mut number = 1;
    loop {
        match (expected.next(), got.next()) {
            (Some(want), Some(have)) if want == have => number += 1,
            (want, have) => {
                let show = |line: Option<&str>| line.unwrap_or("(end)").to_owned();
                let mut text = format!(
                    "{name}, line {number}:\n  expected {}\n  got      {}\n",
                    show(want),
                    show(have)
                );
                for line in got.take(12) {
                    text += &format!("           {line}\n");
                }
                return text;
            }
        }
    }
}

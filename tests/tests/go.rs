//! Programs of Go, whose run-time enters the kernel by itself, without a C library: natively and in
//! the sentry, with and without a wall and several vCPUs, output and exit status must be the same.
//! `ci/go-programs` makes them.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use libtest_mimic::{Arguments, Trial};
use sprout_tests::run::run_with_input;
use sprout_tests::{source_dir, sprout};

const DEADLINE: Duration = Duration::from_secs(60);
/// TypeScript that esbuild is to translate and shorten.
const SOURCE: &str =
    "const answer: number = 6 * 7;\nenum Kind { A, B }\nconsole.log(answer, Kind.B);\n";

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let cases: [(&str, &str, &[&str]); 4] = [
        ("hello", "hello", &[]),
        ("runtime", "runtime", &[]),
        ("esbuild_says_its_version", "esbuild", &["--version"]),
        (
            "esbuild_translates",
            "esbuild",
            &["--loader=ts", "--minify", "--target=es2020"],
        ),
    ];
    let trials = cases.into_iter().map(|(name, program, args)| {
        Trial::test(name, move || {
            compare(program, args).map_err(|error| format!("{error:#}").into())
        })
    });
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

/// Where the programs are.
fn programs() -> Result<PathBuf> {
    let script = source_dir().with_file_name("ci").join("go-programs");
    let output = Command::new(&script)
        .output()
        .with_context(|| format!("running {}", script.display()))?;
    ensure!(
        output.status.success(),
        "ci/go-programs failed:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).context("the folder that ci/go-programs names")?;
    Ok(Path::new(text.trim()).to_owned())
}

fn compare(program: &str, args: &[&str]) -> Result<()> {
    sprout::kvm()?;
    let program = programs()?.join(program);
    let home = tempfile::tempdir()?;
    let source = home.path().join("source");
    fs::write(&source, SOURCE)?;
    let input = || File::open(&source);
    let native = run_with_input(Command::new(&program).args(args), input()?, DEADLINE)?;
    ensure!(native.status == Some(0), "natively: {}", native.err());
    let ways: [&[&str]; 3] = [&[], &["--vcpus", "2"], &["--sentry-isolation", "strict"]];
    for way in ways {
        let mut command = sprout::command()?;
        command.args(["run", "--memory", "256M"]).args(way);
        command.arg("--").arg(&program).args(args);
        let sentry = run_with_input(&mut command, input()?, DEADLINE)?;
        ensure!(
            native.looks_like(&sentry),
            "{way:?}: status {:?} instead of {:?}\n{}{}\ninstead of\n{}",
            sentry.status,
            native.status,
            sentry.out(),
            sentry.err(),
            native.out()
        );
    }
    Ok(())
}

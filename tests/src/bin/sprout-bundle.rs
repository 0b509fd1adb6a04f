//! `sprout-bundle DIR`: packs what the differential tests need on a machine without compiler and
//! cargo: the built programs, the outcome each has natively here and now, and `run.sh`, which
//! compares. With a `sprout` binary beside it, the folder is complete.
#![forbid(unsafe_code)]

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use sprout_tests::expectations::Expectations;
use sprout_tests::programs::{self, Case};
use sprout_tests::run::run;
use sprout_tests::{source_dir, target_dir};

const DEADLINE: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    let (Some(dir), None) = (args.next(), args.next()) else {
        eprintln!("usage: sprout-bundle DIR");
        return ExitCode::from(2);
    };
    match bundle(Path::new(&dir)) {
        Ok(count) => {
            println!("{count} cases packed into {}", Path::new(&dir).display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("sprout-bundle: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn bundle(dir: &Path) -> Result<usize> {
    let sources = source_dir().join("programs");
    let built = target_dir().join("sprout-tests/programs");
    let cases = programs::cases(&sources)?;
    let names: Vec<String> = cases.iter().map(|case| case.name.clone()).collect();
    let expectations = Expectations::read(&source_dir().join("expectations.toml"), &names)?;
    programs::build(&sources, &built, &cases)?;
    let programs_dir = dir.join("programs");
    fs::create_dir_all(&programs_dir)
        .with_context(|| format!("creating {}", programs_dir.display()))?;
    for case in &cases {
        let binary = programs::binary(&built, case);
        let copy = programs_dir.join(&case.program);
        fs::copy(&binary, &copy).with_context(|| format!("copying {}", binary.display()))?;
        record(
            case,
            &copy,
            &dir.join("cases"),
            expectations.reason(&case.name),
        )?;
    }
    let script = dir.join("run.sh");
    fs::copy(source_dir().join("hardware/run.sh"), &script)
        .with_context(|| format!("writing {}", script.display()))?;
    Ok(cases.len())
}

/// Runs a case natively and writes down its arguments and outcome.
fn record(case: &Case, program: &Path, cases: &Path, known_failure: Option<&str>) -> Result<()> {
    let dir = cases.join(case.name.replace('/', "."));
    fs::create_dir_all(&dir).with_context(|| format!("creating {}", dir.display()))?;
    let home = tempfile::tempdir()?;
    let program = program.canonicalize()?;
    let outcome = run(
        Command::new(program)
            .args(&case.args)
            .current_dir(home.path()),
        DEADLINE,
    )?;
    let status = outcome.status;
    let status = status.with_context(|| format!("{} does not end natively", case.name))?;
    ensure!(
        case.args.iter().all(|arg| !arg.contains('\n')),
        "an argument spans lines"
    );
    let args: String = case.args.iter().map(|arg| format!("{arg}\n")).collect();
    fs::write(dir.join("program"), &case.program)?;
    fs::write(dir.join("args"), args)?;
    fs::write(dir.join("vcpus"), case.vcpus.to_string())?;
    fs::write(dir.join("stdout"), outcome.stdout)?;
    fs::write(dir.join("stderr"), outcome.stderr)?;
    fs::write(dir.join("status"), status.to_string())?;
    if case.needs_wall {
        fs::write(dir.join("needs-wall"), "")?;
    }
    if let Some(reason) = known_failure {
        fs::write(dir.join("expected-fail"), reason)?;
    }
    Ok(())
}

//! `sprout-bundle DIR`: packs what the differential tests and those with Debian's static programs
//! need on a machine without compiler and cargo: the programs, the outcome each has natively here
//! and now, and `run.sh`, which compares. With a `sprout` binary beside it, the folder is complete.
#![forbid(unsafe_code)]

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use sprout_tests::expectations::Expectations;
use sprout_tests::programs;
use sprout_tests::run::run_with_input;
use sprout_tests::static_program;
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
    let cases_dir = dir.join("cases");
    let mut count = 0;
    for case in cases.iter().filter(|case| case.under_tcg) {
        let binary = programs::binary(&built, case);
        let copy = programs_dir.join(&case.program);
        fs::copy(&binary, &copy).with_context(|| format!("copying {}", binary.display()))?;
        let recorded = record(&case.name, &copy, &case.args, None, &cases_dir)?;
        fs::write(recorded.join("vcpus"), case.vcpus.to_string())?;
        if case.needs_wall {
            fs::write(recorded.join("needs-wall"), "")?;
        }
        if let Some(reason) = expectations.reason(&case.name) {
            fs::write(recorded.join("expected-fail"), reason)?;
        }
        count += 1;
    }
    for case in static_program::all(&source_dir().join("static"))? {
        let name = case.program.file_name().context("no program is named")?;
        let copy = programs_dir.join(name);
        fs::copy(&case.program, &copy)
            .with_context(|| format!("copying {}", case.program.display()))?;
        let recorded = record(&case.name, &copy, &case.args, Some(&case.input), &cases_dir)?;
        fs::write(recorded.join("vcpus"), "1")?;
        count += 1;
    }
    let script = dir.join("run.sh");
    fs::copy(source_dir().join("hardware/run.sh"), &script)
        .with_context(|| format!("writing {}", script.display()))?;
    Ok(count)
}

/// Runs a program natively and writes down how, and what came of it, in a folder of `cases`: that
/// folder.
fn record(
    name: &str,
    program: &Path,
    args: &[String],
    input: Option<&Path>,
    cases: &Path,
) -> Result<PathBuf> {
    let dir = cases.join(name.replace('/', "."));
    fs::create_dir_all(&dir).with_context(|| format!("creating {}", dir.display()))?;
    let home = tempfile::tempdir()?;
    let input_file = dir.join("stdin");
    match input {
        Some(input) => drop(fs::copy(input, &input_file)?),
        None => fs::write(&input_file, "")?,
    }
    let outcome = run_with_input(
        // As `run.sh` calls it, for programs that print their name.
        Command::new(program.canonicalize()?)
            .arg0(Path::new("programs").join(program.file_name().unwrap_or_default()))
            .args(args)
            .current_dir(home.path()),
        File::open(&input_file)?,
        DEADLINE,
    )?;
    let status = outcome.status;
    let status = status.with_context(|| format!("{name} does not end natively"))?;
    ensure!(
        args.iter().all(|arg| !arg.contains('\n')),
        "an argument spans lines"
    );
    let args: String = args.iter().map(|arg| format!("{arg}\n")).collect();
    let program = program.file_name().context("no program is named")?;
    fs::write(dir.join("program"), program.as_encoded_bytes())?;
    fs::write(dir.join("args"), args)?;
    fs::write(dir.join("stdout"), outcome.stdout)?;
    fs::write(dir.join("stderr"), outcome.stderr)?;
    fs::write(dir.join("status"), status.to_string())?;
    Ok(dir)
}

//! `sprout-conformance` on a folder made for it: it says what is the same, what differs, and what
//! is wrong about an expectation file.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use libtest_mimic::{Arguments, Trial};
use sprout_tests::run::{Outcome, run};
use sprout_tests::sprout;

const DEADLINE: Duration = Duration::from_secs(120);

/// Programs by name: what each does. The machine's name tells where a program runs.
const PROGRAMS: [(&str, &str); 3] = [
    ("same", "puts(\"same\"); return argc == 1 ? 0 : 7;"),
    ("crashes", "return *(volatile int *)8;"),
    (
        "tells",
        "struct utsname u; uname(&u); return strstr(u.release, \"sprout\") != NULL;",
    ),
];

type Test = fn(&Path) -> Result<()>;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let tests: [(&str, Test); 4] = [
        ("a_difference_is_found_and_fails_the_run", differences),
        ("expectations_excuse_differences_and_go_stale", expectations),
        ("a_list_gives_names_and_arguments", lists),
        ("programs_of_a_folder_find_each_other", together),
    ];
    let trials = tests
        .into_iter()
        .map(|(name, test)| {
            Trial::test(name, move || {
                sprout::kvm()
                    .and_then(|()| with_folder(test))
                    .map_err(|error| format!("{error:#}").into())
            })
        })
        .collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn with_folder(test: Test) -> Result<()> {
    let home = tempfile::tempdir()?;
    let suite = home.path().join("suite");
    fs::create_dir(&suite)?;
    for (name, body) in PROGRAMS {
        compile(&suite, name, body)?;
    }
    test(&suite)
}

fn compile(suite: &Path, name: &str, body: &str) -> Result<()> {
    let source = suite.join("source.c");
    fs::write(
        &source,
        format!(
            "#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n\
             #include <sys/utsname.h>\n#include <sys/wait.h>\n\
             int main(int argc, char **argv) {{ (void)argc, (void)argv; {body} }}\n"
        ),
    )?;
    let compiled = run(
        Command::new("gcc")
            .args(["-static", "-O1", "-o"])
            .arg(suite.join(name))
            .arg(&source),
        DEADLINE,
    )?;
    ensure!(
        compiled.status == Some(0),
        "compiling {name}: {}",
        compiled.err()
    );
    fs::remove_file(source).context("removing the source")
}

fn conformance(suite: &Path, args: &[&str]) -> Result<Outcome> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sprout-conformance"));
    command
        .env("SPROUT_BIN", sprout::binary()?)
        .args(args)
        .arg(suite);
    run(&mut command, DEADLINE)
}

fn ensure_says(outcome: &Outcome, status: i32, lines: &[&str]) -> Result<()> {
    for line in lines {
        ensure!(
            outcome.out().contains(line),
            "no {line:?} in:\n{}{}",
            outcome.out(),
            outcome.err()
        );
    }
    ensure!(
        outcome.status == Some(status),
        "status {:?}:\n{}{}",
        outcome.status,
        outcome.out(),
        outcome.err()
    );
    Ok(())
}

fn differences(suite: &Path) -> Result<()> {
    ensure_says(
        &conformance(suite, &[])?,
        1,
        &[
            "tells differs: status 0 expected, got 1",
            "1 as natively and successful, 1 as natively with another status",
            "2 passed, 1 failed",
        ],
    )
}

fn expectations(suite: &Path) -> Result<()> {
    let file = suite.with_file_name("expectations.toml");
    let path = file.to_string_lossy().into_owned();
    let with = |text: &str| -> Result<Outcome> {
        fs::write(&file, text)?;
        conformance(suite, &["--expect", &path])
    };
    let excused = with("[[differs]]\nreason = \"asks who it is\"\ntests = [\"tells\"]")?;
    ensure_says(&excused, 0, &["1 differ as listed", "3 passed, 0 failed"])?;
    let skipped = with("[[skip]]\nreason = \"no\"\ntests = [\"tells\", \"crashes\"]")?;
    ensure_says(&skipped, 0, &["2 not run", "1 passed, 0 failed"])?;
    let stale = with("[[differs]]\nreason = \"was wrong once\"\ntests = [\"tells\", \"same\"]")?;
    ensure_says(&stale, 1, &["same is as natively", "was wrong once"])?;
    let wrong = with("[[differs]]\nreason = \"r\"\ntests = [\"nobody\"]")?;
    ensure!(wrong.status == Some(2) && wrong.err().contains("nobody"));
    Ok(())
}

fn lists(suite: &Path) -> Result<()> {
    let list = suite.with_file_name("list");
    fs::write(
        &list,
        "# name program arguments\nargs same with some\nnone same\n",
    )?;
    let path = list.to_string_lossy().into_owned();
    ensure_says(
        &conformance(suite, &["--list", &path, "--output"])?,
        0,
        &["1 as natively and successful, 1 as natively with another status"],
    )
}

/// With `--together` a program can start another of its folder by name, and is not process 1.
fn together(suite: &Path) -> Result<()> {
    compile(
        suite,
        "starts",
        "extern int getppid(void); \
         return WEXITSTATUS(system(\"same argument\")) == 7 && getppid() > 0 ? 0 : 1;",
    )?;
    let alone = conformance(suite, &["--only", "starts"])?;
    ensure_says(&alone, 1, &["starts differs"])?;
    let together = conformance(suite, &["--only", "starts", "--together", "--output"])?;
    ensure_says(&together, 0, &["1 passed, 0 failed"])
}

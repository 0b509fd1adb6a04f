//! `cargo xtask COMMAND`: the daily commands, each one or two of cargo's or of `ci/`, shown before
//! they run.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use sprout_abi::boot::BOOT_MAGIC;
use sprout_abi::layout::{BOOT_INFO_GPA, HUGE_PAGE_SIZE, KERNEL_BASE};

/// The sentry's target.
const BARE: &str = "x86_64-unknown-none";

const HELP: &str = "\
cargo xtask COMMAND
  check [CARGO-OPTION...]  compile all of it without running: the host's, and the sentry's for its own target
  lint                     what CI looks at before it runs anything: format, hygiene, Clippy for both targets, crates
  unit [PACKAGE...]        unit tests of these packages, or of all (the VMM's and the worker's need /dev/kvm)
  sentry [checked]         the sentry alone; its file is printed. checked: with debug assertions
  case NAME...             test programs natively and in this sentry, by name or by part of one
  hardware NAME...         the same programs in hardware mode, in the emulated machine
  run ARGUMENT...          sprout run with this sentry
  gdb PID                  gdb on a running `sprout run` of this sentry, whose data has its symbols
  docs                     write the pages that come out of the code
";

/// What went wrong, for people.
type Outcome = Result<(), String>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["check", options @ ..] => check(options),
        ["lint"] => lint(),
        ["unit", packages @ ..] => unit(packages),
        ["sentry"] => sentry("release").map(|path| println!("{}", path.display())),
        ["sentry", "checked"] => sentry("checked").map(|path| println!("{}", path.display())),
        ["case", names @ ..] if !names.is_empty() => case(names),
        ["hardware", names @ ..] if !names.is_empty() => run("ci/hardware-mode", names),
        ["run", arguments @ ..] if !arguments.is_empty() => sprout_run(arguments),
        ["gdb", pid] => gdb(pid),
        ["docs"] => run("ci/docs", &[]),
        _ => {
            eprint!("{HELP}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("xtask: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn root() -> &'static Path {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.ancestors().nth(2).unwrap_or(own)
}

fn target_dir() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

fn start(command: &mut Command) -> Outcome {
    eprintln!("$ {command:?}");
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{command:?}: {status}")),
        Err(error) => Err(format!("{command:?}: {error}")),
    }
}

fn run(program: &str, arguments: &[&str]) -> Outcome {
    let path = match program.contains('/') {
        true => root().join(program),
        false => program.into(),
    };
    start(Command::new(path).args(arguments).current_dir(root()))
}

fn cargo(arguments: &[&str]) -> Outcome {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    start(Command::new(cargo).args(arguments).current_dir(root()))
}

fn check(options: &[&str]) -> Outcome {
    let host = ["check", "--workspace", "--all-targets"];
    let bare = [
        "check",
        "-p",
        "guest-kernel",
        "--lib",
        "--bin",
        "sentry",
        "--target",
        BARE,
    ];
    // Both, whatever the first one finds: an editor shows what both say.
    let host = cargo(&[&host[..], options].concat());
    cargo(&[&bare[..], options].concat()).and(host)
}

fn lint() -> Outcome {
    [
        "10-format",
        "11-hygiene",
        "20-lint",
        "21-lint-sentry",
        "22-crates",
    ]
    .iter()
    .try_for_each(|step| run(&format!("ci/steps/{step}"), &[]))
}

fn unit(packages: &[&str]) -> Outcome {
    let chosen: Vec<&str> = match packages {
        [] => vec!["--workspace", "--exclude", "sprout-tests"],
        _ => packages.iter().flat_map(|name| ["-p", name]).collect(),
    };
    cargo(&[&["test", "--no-fail-fast"], &chosen[..]].concat())
}

/// Builds the sentry; where it is.
fn sentry(profile: &str) -> Result<PathBuf, String> {
    cargo(&[
        "build",
        "-p",
        "guest-kernel",
        "--bin",
        "sentry",
        "--target",
        BARE,
        "--profile",
        profile,
    ])?;
    Ok(target_dir().join(BARE).join(profile).join("sentry"))
}

fn case(names: &[&str]) -> Outcome {
    let sentry = sentry("release")?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    start(
        Command::new(cargo)
            .args(["test", "-p", "sprout-tests", "--test", "differential", "--"])
            .args(names)
            .env("SPROUT_TEST_KERNEL", sentry)
            .current_dir(root()),
    )
}

fn sprout_run(arguments: &[&str]) -> Outcome {
    let sentry = sentry("release")?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    // In the caller's directory: arguments may be paths.
    start(
        Command::new(cargo)
            .args(["run", "--quiet", "--release", "--manifest-path"])
            .arg(root().join("Cargo.toml"))
            .args(["-p", "sprout", "--", "run", "--kernel"])
            .arg(sentry)
            .args(arguments),
    )
}

/// A debugger on the VMM, in which the sentry's memory is data with its symbols: the sentry's virtual
/// addresses, moved to where the guest's memory is mapped.
fn gdb(pid: &str) -> Outcome {
    let problem = |error| format!("looking for the guest's memory of process {pid}: {error}");
    let memory = guest_memory(pid).map_err(problem)?;
    let memory = memory.ok_or_else(|| problem(io::Error::other("it has no booted guest")))?;
    let sentry = target_dir().join(BARE).join("release/sentry");
    let offset = memory.wrapping_sub(KERNEL_BASE);
    let symbols = format!("add-symbol-file {} -o {offset:#x}", sentry.display());
    run(
        "gdb",
        &["-q", "-p", pid, "-ex", "set confirm off", "-ex", &symbols],
    )
}

/// Where a process has the memory of a guest that it booted: at a multiple of 2 MiB, with the boot
/// page in it.
fn guest_memory(pid: &str) -> io::Result<Option<u64>> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps"))?;
    let memory = File::open(format!("/proc/{pid}/mem"))?;
    let is_guest = |base: &u64| {
        let mut word = [0; 8];
        memory
            .read_exact_at(&mut word, base + BOOT_INFO_GPA)
            .is_ok()
            && u64::from_le_bytes(word) == BOOT_MAGIC
    };
    let ranges = maps.lines().filter_map(|line| {
        let (range, rest) = line.split_once(' ')?;
        let (start, end) = range.split_once('-')?;
        let number = |text| u64::from_str_radix(text, 16).ok();
        rest.starts_with("rw")
            .then_some((number(start)?, number(end)?))
    });
    let candidates = ranges.flat_map(|(start, end)| {
        (start.next_multiple_of(HUGE_PAGE_SIZE)..end).step_by(HUGE_PAGE_SIZE as usize)
    });
    Ok({ candidates }.find(is_guest))
}

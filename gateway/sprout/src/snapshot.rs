//! `sprout snapshot`: takes, lists and shows snapshots.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use clap::Subcommand;
use sprout_abi::boot::boot_flags;
use sprout_agent::{Limits, ResponseDecoder, ResponseEvent};
use sprout_images::Store;
use sprout_vmm::backend::buffered::Buffered;
use sprout_vmm::backend::terminal::Terminal;
use sprout_vmm::boot::ImageMount;
use sprout_vmm::snapshot::manifest::Manifest;
use sprout_vmm::snapshot::write::{Description, Rehearsal};
use sprout_vmm::snapshot::{MEMORY_FILE, Snapshot};
use sprout_vmm::vm::Stop;
use sprout_vmm::vm::shell::Shell;
use sprout_worker::first_request;

use crate::guest::GuestArgs;
use crate::restore;

/// Arguments of `sprout snapshot`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Boot a program, and take a snapshot when it waits for a request
    Create(Create),
    /// List the snapshots in the store
    Ls,
    /// Show what a snapshot is and needs
    Inspect(Inspect),
}

#[derive(Debug, clap::Args)]
struct Create {
    /// Name of the snapshot; an older one of that name is replaced
    name: String,
    /// Body of a request the program answers before the snapshot is taken
    #[arg(long, value_name = "BODY")]
    warmup: Vec<String>,
    /// Print each system call to standard error
    #[arg(long)]
    strace: bool,
    #[command(flatten)]
    guest: GuestArgs,
}

#[derive(Debug, clap::Args)]
struct Inspect {
    /// Name of the snapshot
    name: String,
    /// Read every part and every image, and check their digests
    #[arg(long)]
    verify: bool,
}

/// Runs `sprout snapshot`.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let store = Store::open_default()?;
    match args.command {
        Command::Create(args) => create(&store, &args),
        Command::Ls => list(&store),
        Command::Inspect(args) => inspect(&store, &args),
    }
}

fn create(store: &Store, args: &Create) -> anyhow::Result<ExitCode> {
    let target = store.snapshot_dir(&args.name)?;
    let kernel = args.guest.kernel()?;
    let strace = if args.strace { boot_flags::STRACE } else { 0 };
    let mut config = args
        .guest
        .boot_config(&kernel, boot_flags::CHANNEL | strace)?;
    if !config.images.is_empty() {
        let path = store.agent_image()?.path;
        config.images.push(ImageMount {
            path,
            mount: "/sprout".into(),
        });
    }
    let requests = args
        .warmup
        .iter()
        .map(|body| restore::request("warmup", "/", body))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let expected = requests.len();
    let rehearsal = requests.last().cloned();
    let terminal = Terminal::new().context("cannot take over the terminal's signals")?;
    let mut backend = Buffered::new(requests).with_terminal(terminal);
    let mut vm = Shell::new()?.boot(&config)?;
    match vm.run(Some(&kernel), &mut backend)? {
        Stop::Ready => {}
        Stop::Panicked(report) => bail!("{report}"),
        ended => bail!(
            "the program ended with status {} before it waited for a request on /dev/sprout",
            ended.shell_status()
        ),
    }
    check_warmup(&backend.take_responses(), expected)?;
    let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
    let description = Description {
        sentry: kernel.build_id(),
        command: config.program.args.iter().map(text).collect(),
    };
    let waiting = vm.waiting()?;
    match rehearsal {
        Some(request) => {
            let first = first_request;
            waiting.snapshot_rehearsed(
                &target,
                &description,
                Rehearsal {
                    request: &request,
                    first,
                },
            )?
        }
        None => waiting.snapshot(&target, &description)?,
    };
    println!("{}", target.display());
    Ok(ExitCode::SUCCESS)
}

/// Every warm-up request must have been answered without an error.
fn check_warmup(mut bytes: &[u8], expected: usize) -> anyhow::Result<()> {
    for number in 1..=expected {
        let mut decoder = ResponseDecoder::new(Limits::default());
        decoder.push(bytes);
        loop {
            match decoder.next_event()? {
                Some(ResponseEvent::End) => break,
                Some(ResponseEvent::Failed(report)) => {
                    bail!(
                        "warm-up request {number} failed: {}\n{}",
                        report.message,
                        report.stack
                    )
                }
                Some(_) => {}
                None => bail!("warm-up request {number} was not answered completely"),
            }
        }
        bytes = bytes
            .get(bytes.len() - decoder.unread()..)
            .unwrap_or_default();
    }
    Ok(())
}

fn list(store: &Store) -> anyhow::Result<ExitCode> {
    let directory = store.snapshots_dir();
    let mut names = Vec::new();
    match fs::read_dir(&directory) {
        Ok(entries) => {
            for entry in entries {
                names.push(entry?.file_name().to_string_lossy().into_owned());
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).context(directory.display().to_string()),
    }
    names.retain(|name| !name.starts_with('.'));
    names.sort();
    if names.is_empty() {
        eprintln!("no snapshots in {}", directory.display());
        return Ok(ExitCode::SUCCESS);
    }
    println!(
        "{:<24} {:>9} {:>9} {:>6}  {:<12} COMMAND",
        "SNAPSHOT", "MEMORY", "STORED", "AGE", "MODE"
    );
    let mut outcome = ExitCode::SUCCESS;
    for name in names {
        let path = directory.join(&name);
        match Manifest::read(&path) {
            Ok(manifest) => println!("{}", line(&name, &path, &manifest)),
            Err(error) => {
                outcome = ExitCode::FAILURE;
                eprintln!("sprout: {error}");
            }
        }
    }
    Ok(outcome)
}

fn line(name: &str, path: &Path, manifest: &Manifest) -> String {
    let stored = fs::metadata(path.join(MEMORY_FILE)).map_or(0, |metadata| metadata.blocks() * 512);
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let age = now
        .saturating_sub(Duration::from_secs(manifest.created))
        .as_secs();
    let age = match age {
        0..3600 => format!("{}min", age / 60),
        3600..86400 => format!("{}h", age / 3600),
        _ => format!("{}d", age / 86400),
    };
    let mode = manifest.privilege_mode.name();
    format!(
        "{name:<24} {:>5} MiB {:>5} MiB {age:>6}  {mode:<12} {}",
        manifest.memory_size >> 20,
        stored >> 20,
        manifest.command.join(" ")
    )
}

fn inspect(store: &Store, args: &Inspect) -> anyhow::Result<ExitCode> {
    let path = store.snapshot_dir(&args.name)?;
    let snapshot = Snapshot::open(&path)?;
    if args.verify {
        snapshot.verify()?;
    }
    println!("{}", serde_json::to_string_pretty(snapshot.manifest())?);
    Ok(ExitCode::SUCCESS)
}

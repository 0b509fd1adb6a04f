//! `sprout restore`: one instance of a snapshot answers one request, without a gateway.

use std::io::Write;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use sprout_abi::boot::boot_flags;
use sprout_agent::{Limits, RequestHead, ResponseDecoder, ResponseEvent, encode_request};
use sprout_images::Store;
use sprout_text::printable;
use sprout_vmm::backend::buffered::Buffered;
use sprout_vmm::backend::terminal::Terminal;
use sprout_vmm::boot::kernel::Kernel;
use sprout_vmm::snapshot::Snapshot;
use sprout_vmm::snapshot::manifest::Manifest;
use sprout_vmm::snapshot::restore::prepare;
use sprout_vmm::vm::Stop;
use sprout_vmm::vm::shell::Shell;
use sprout_worker::first_request;
use sprout_worker::isolation::suffices;

use crate::folios;
use crate::isolation::Requirement;

/// Arguments of `sprout restore`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Name of the snapshot
    name: String,
    /// Body of the request
    #[arg(long, value_name = "BODY", default_value = "")]
    data: String,
    /// Path and query of the request
    #[arg(long, value_name = "PATH", default_value = "/")]
    path: String,
    /// Print each system call to standard error
    #[arg(long)]
    strace: bool,
    /// Print where the time went, and the counters of KVM and the sentry, to standard error
    #[arg(long)]
    stats: bool,
    /// Read every part of the snapshot first and check its digest
    #[arg(long)]
    verify: bool,
    #[command(flatten)]
    requirement: Requirement,
}

/// A request as bytes for the guest.
pub fn request(id: &str, path: &str, body: &str) -> anyhow::Result<Vec<u8>> {
    let mut headers = vec![("host".to_owned(), "localhost".to_owned())];
    if !body.is_empty() {
        headers.push(("content-type".into(), "application/json".into()));
        headers.push(("content-length".into(), body.len().to_string()));
    }
    let head = RequestHead {
        id: id.into(),
        method: if body.is_empty() { "GET" } else { "POST" }.into(),
        url: format!("http://localhost{path}"),
        headers,
    };
    Ok(encode_request(&head, body.as_bytes())?)
}

/// Restores, sends the request, and prints the response's body.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let path = Store::open_default()?.snapshot_dir(&args.name)?;
    let terminal = Terminal::new().context("cannot take over the terminal's signals")?;
    let known = Manifest::read(&path)?;
    let folios = folios::keep(known.images.iter().map(|image| image.path.as_path()));
    let start = Instant::now();
    let snapshot = Snapshot::open(&path)?;
    let manifest = snapshot.manifest();
    if args.verify {
        snapshot.verify()?;
    }
    if let Err(reason) = suffices(manifest.privilege_mode, args.requirement.required()) {
        bail!("the snapshot {}: {reason}", args.name);
    }
    let mut created = Duration::ZERO;
    let waiting = prepare(&snapshot, || {
        let shell = Shell::new()?;
        created = shell.created_in();
        Ok(shell)
    })?;
    let set = |condition, flag| if condition { flag } else { 0 };
    let flags = set(args.strace, boot_flags::STRACE) | set(args.stats, boot_flags::STATS);
    let request = request("restore", &args.path, &args.data)?;
    let (mut vm, instance) = waiting.resume(flags | boot_flags::CHANNEL)?;
    let bytes = first_request(&instance, &request)?;
    let mut backend = Buffered::new([bytes])
        .with_terminal(terminal)
        .with_first_request();
    let resumed = start.elapsed() - created;
    let kernel = Kernel::embedded().ok();
    let stop = vm.run(kernel.as_ref(), &mut backend)?;
    let ran = start.elapsed() - created - resumed;

    if args.stats {
        // They add up to the whole: memory is loaded from the start, beside the VM's creation.
        let phases = [("create", created), ("restore", resumed), ("run", ran)];
        for (name, duration) in phases {
            eprintln!("{name:<9} {:>9.3} ms", duration.as_secs_f64() * 1e3);
        }
        for (name, value) in vm.counters().into_iter().chain(folios) {
            eprintln!("{name} {value}");
        }
        if let Some(text) = backend.take_stats() {
            eprintln!("{}", text.trim_end());
        }
    }
    let complete = print_response(&backend.take_responses())?;
    match stop {
        Stop::Panicked(report) => bail!("{report}"),
        _ if complete => Ok(ExitCode::SUCCESS),
        Stop::Ready => bail!("the guest waits for another request and gave no complete response"),
        ended => bail!(
            "the guest ended with status {} before its response was complete",
            ended.shell_status()
        ),
    }
}

/// Prints the body; whether the response was complete.
fn print_response(bytes: &[u8]) -> anyhow::Result<bool> {
    let mut decoder = ResponseDecoder::new(Limits::default());
    decoder.push(bytes);
    let mut output = std::io::stdout().lock();
    loop {
        match decoder.next_event()? {
            None => return Ok(false),
            Some(ResponseEvent::Head(head)) if head.status >= 400 => {
                eprintln!("sprout: the function answered with status {}", head.status);
            }
            Some(ResponseEvent::Head(_)) => {}
            Some(ResponseEvent::Body(piece)) => output.write_all(&piece)?,
            Some(ResponseEvent::Log(text)) => eprintln!("{}", printable(&text)),
            Some(ResponseEvent::Failed(report)) => {
                let stack: Vec<_> = report.stack.lines().map(printable).collect();
                let message = printable(&report.message);
                bail!("the function failed: {message}\n{}", stack.join("\n"))
            }
            Some(ResponseEvent::End) => {
                output.flush()?;
                return Ok(true);
            }
        }
    }
}

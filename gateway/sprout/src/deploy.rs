//! `sprout deploy`: makes a function out of a directory: its image, a guest that has loaded it and
//! answered a request, the snapshot of that guest, and the record that `sprout serve` reads.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use std::{io, thread};

use anyhow::{Context, bail, ensure};
use sprout_abi::boot::boot_flags;
use sprout_agent::{Limits, RequestHead, ResponseDecoder, ResponseEvent, encode_request};
use sprout_gateway::registry::{Deployment, FunctionRecord, RECORD_VERSION};
use sprout_gateway::units::parse_duration;
use sprout_images::{Image, Store};
use sprout_protocol::Instances;
use sprout_vmm::backend::buffered::Buffered;
use sprout_vmm::backend::terminal::Terminal;
use sprout_vmm::boot::kernel::Kernel;
use sprout_vmm::boot::{BootConfig, ImageMount, Program};
use sprout_vmm::snapshot::Snapshot;
use sprout_vmm::snapshot::write::{Description, Rehearsal};
use sprout_vmm::vm::shell::Shell;
use sprout_vmm::vm::{Stop, VmError, Waiting};
use sprout_worker::first_request;

use crate::guest::{parse_size, parse_vcpus};
use crate::isolation::Isolation;

/// What Node is told: the agent's entry point, and that V8 needs no more helper threads than the
/// guest has vCPUs (it would start four).
fn agent_arguments(vcpus: usize) -> [String; 2] {
    [
        format!("--v8-pool-size={vcpus}"),
        "/sprout/agent.mjs".to_owned(),
    ]
}

/// How often a deployment shows what it waits for.
const SHOWN_EACH: Duration = Duration::from_secs(10);

/// Arguments of `sprout deploy`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Directory of the function: package.json or index.mjs, with
    /// `export default async (request) => Response`
    directory: PathBuf,
    /// Name of the function: it answers at /f/NAME
    #[arg(long)]
    name: String,
    /// Runtime image
    #[arg(long, value_name = "NAME:TAG", default_value = "node:24")]
    image: String,
    /// Memory of each instance
    #[arg(long, value_name = "SIZE", default_value = "256M", value_parser = parse_size)]
    memory: u64,
    /// Number of vCPUs of each instance
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = parse_vcpus)]
    vcpus: usize,
    /// Environment variable of the function
    #[arg(long, value_name = "KEY=VALUE")]
    env: Vec<String>,
    /// How long the function may take to load and to answer its warm-up requests
    #[arg(long, value_name = "TIME", default_value = "120s", value_parser = parse_duration)]
    deploy_timeout: Duration,
    /// What becomes of its VMs after their answers: `fresh` or `rewind`, see `sprout serve --help`
    /// [default: as the gateway is told]
    #[arg(long, value_name = "HOW")]
    instances: Option<Instances>,
    #[command(flatten)]
    warmup: Warmup,
    /// Sentry to boot instead of the built-in one
    #[arg(long, value_name = "FILE")]
    kernel: Option<PathBuf>,
    #[command(flatten)]
    isolation: Isolation,
    /// Print each system call of the guest to standard error
    #[arg(long)]
    strace: bool,
}

/// The request a function answers once before its snapshot is taken, so that no instance has to
/// compile what it runs or touch memory for the first time.
#[derive(Debug, clap::Args)]
struct Warmup {
    /// Take the snapshot without a warm-up request
    #[arg(long, conflicts_with_all = ["warmup_method", "warmup_path", "warmup_body"])]
    no_warmup: bool,
    /// Method of the warm-up request [default: GET, or POST with a body]
    #[arg(long, value_name = "METHOD")]
    warmup_method: Option<String>,
    /// Path and query of the warm-up request
    #[arg(long, value_name = "PATH")]
    warmup_path: Option<String>,
    /// Body of the warm-up request, as JSON unless --warmup-type says otherwise
    #[arg(long, value_name = "TEXT")]
    warmup_body: Option<String>,
    /// Content type of the warm-up body
    #[arg(long, value_name = "TYPE", default_value = "application/json")]
    warmup_type: String,
    /// How often the warm-up request is sent
    #[arg(long, value_name = "N", default_value_t = 1)]
    warmup_count: usize,
}

impl Warmup {
    /// Whether the operator said what the request is, and so that it has to work.
    fn is_chosen(&self) -> bool {
        self.warmup_method.is_some() || self.warmup_path.is_some() || self.warmup_body.is_some()
    }

    fn requests(&self) -> anyhow::Result<Vec<Vec<u8>>> {
        if self.no_warmup {
            return Ok(Vec::new());
        }
        let path = self.warmup_path.as_deref().unwrap_or("/");
        ensure!(
            path.starts_with('/'),
            "--warmup-path {path}: expected a path that begins with `/`"
        );
        let body = self.warmup_body.as_deref().unwrap_or_default();
        let default_method = if self.warmup_body.is_some() {
            "POST"
        } else {
            "GET"
        };
        let method = self.warmup_method.as_deref().unwrap_or(default_method);
        let mut headers = vec![("host".to_owned(), "localhost".to_owned())];
        if !body.is_empty() {
            headers.push(("content-type".into(), self.warmup_type.clone()));
            headers.push(("content-length".into(), body.len().to_string()));
        }
        let head = RequestHead {
            id: "warmup".into(),
            method: method.to_ascii_uppercase(),
            url: format!("http://localhost{path}"),
            headers,
        };
        let request = encode_request(&head, body.as_bytes())?;
        Ok(vec![request; self.warmup_count])
    }
}

/// Deploys a function.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let start = Instant::now();
    let progress = |line: &str| eprintln!("[{:5.1}s] {line}", start.elapsed().as_secs_f32());
    let store = Store::open_default()?;
    let deployment = Deployment::begin(&store.functions_dir(), &args.name)?;
    ensure!(
        args.directory.is_dir(),
        "{} is no directory",
        args.directory.display()
    );

    let image = store.resolve(&args.image)?;
    let function = store.function_image(&args.directory, &mut |note| progress(note))?;
    progress(&format!(
        "function image {} ({} KiB)",
        function.digest,
        function.size >> 10
    ));
    let agent = store.agent_image()?;
    let mounts = [
        (&image.path, "/"),
        (&agent.path, "/sprout"),
        (&function.path, "/function"),
    ];
    for (path, _) in mounts {
        sprout_vmm::memory::page_cache::settle(path)
            .with_context(|| format!("reading {}", path.display()))?;
    }
    let images = mounts
        .map(|(path, mount)| ImageMount {
            path: path.clone(),
            mount: mount.into(),
        })
        .to_vec();

    let kernel = match &args.kernel {
        Some(path) => Kernel::from_file(path)?,
        None => Kernel::embedded()?,
    };
    let (program, command) = program(&image, &args.env, args.vcpus)?;
    let strace = if args.strace { boot_flags::STRACE } else { 0 };
    let config = BootConfig {
        kernel: &kernel,
        ram_size: args.memory,
        vcpus: args.vcpus,
        images,
        program,
        flags: boot_flags::CHANNEL | strace | args.isolation.flags(),
        strace: "all".into(),
        hostname: args.name.clone(),
    };
    let waiting = boot(&config, &args.warmup, args.deploy_timeout, start)?;
    progress("loaded and warmed up");

    let snapshot = format!("{}-{:x}", args.name, milliseconds_since_1970());
    let directory = store.snapshot_dir(&snapshot)?;
    let description = Description {
        sentry: kernel.build_id(),
        command,
    };
    match args.warmup.requests()?.last() {
        Some(request) => {
            let first = first_request;
            waiting.snapshot_rehearsed(&directory, &description, Rehearsal { request, first })?
        }
        None => waiting.snapshot(&directory, &description)?,
    };
    Snapshot::open(&directory)?.verify()?;
    progress(&format!("snapshot {}", directory.display()));

    let record = FunctionRecord {
        version: RECORD_VERSION,
        name: args.name.clone(),
        image: image.reference.to_string(),
        function_image: function.digest.to_string(),
        snapshot,
        previous_snapshot: None,
        memory: args.memory,
        deployed_at: milliseconds_since_1970() / 1000,
        instances: args.instances,
    };
    if let Some(obsolete) = deployment.publish(record)? {
        remove_snapshot(&store, &obsolete);
    }
    progress(&format!("deployed: /f/{}", args.name));
    Ok(ExitCode::SUCCESS)
}

/// The agent on the image's runtime, and the same as a command line for the operator.
fn program(
    image: &Image,
    extra: &[String],
    vcpus: usize,
) -> anyhow::Result<(Program, Vec<String>)> {
    let config = &image.config;
    let Some(path) = config
        .entrypoint
        .first()
        .filter(|path| path.starts_with('/'))
    else {
        bail!(
            "the image {} names no program to run functions with",
            image.reference
        );
    };
    let mut env = config.env.clone();
    for variable in extra {
        let name = match variable.split_once('=') {
            Some((name, _)) if !name.is_empty() => format!("{name}="),
            _ => bail!("--env {variable}: expected KEY=VALUE"),
        };
        env.retain(|known| !known.starts_with(&name));
        env.push(variable.clone());
    }
    let mut command = config.entrypoint.clone();
    command.extend(agent_arguments(vcpus));
    let bytes = |list: &[String]| list.iter().map(|text| text.clone().into_bytes()).collect();
    let program = Program {
        path: path.clone().into_bytes(),
        file: None,
        args: bytes(&command),
        env: bytes(&env),
        cwd: b"/function".to_vec(),
    };
    Ok((program, command))
}

/// Boots a guest, has it answer the warm-up requests, and stops it where it waits for the next; all
/// that within `limit`. `start`: of the deployment, for what is shown.
fn boot(
    config: &BootConfig<'_>,
    warmup: &Warmup,
    limit: Duration,
    start: Instant,
) -> anyhow::Result<Waiting> {
    let terminal = Terminal::new().context("cannot take over the terminal's signals")?;
    let requests = warmup.requests()?;
    let count = requests.len();
    let mut backend = Buffered::new(requests)
        .with_terminal(terminal)
        .ending_in(limit);
    let handed_out = backend.handed_out();
    let waits_for = move || match handed_out.load(Ordering::Relaxed) {
        0 => "the function to load: its module's top level is still running".to_owned(),
        number => format!("the answer to warm-up request {number} of {count}"),
    };
    let mut vm = Shell::new()?.boot(config)?;
    let result = thread::scope(|scope| {
        let (ended, end) = mpsc::channel::<()>();
        let shown = &waits_for;
        scope.spawn(move || {
            // Ends with the sender.
            while end.recv_timeout(SHOWN_EACH) == Err(RecvTimeoutError::Timeout) {
                let seconds = start.elapsed().as_secs_f32();
                eprintln!(
                    "[{seconds:5.1}s] waiting for {} (at most {limit:?})",
                    shown()
                );
            }
        });
        let result = vm.run(Some(config.kernel), &mut backend);
        drop(ended);
        result
    });
    let stop = match result {
        Err(VmError::Io { cause, .. }) if cause.kind() == io::ErrorKind::TimedOut => bail!(
            "the function is not ready after {limit:?}: deploy was waiting for {}; \
             --deploy-timeout gives it longer",
            waits_for()
        ),
        other => other?,
    };
    match stop {
        Stop::Ready => {}
        Stop::Exited { status, signal: 0 } => {
            bail!("the function's process exited with status {status} before it was ready")
        }
        Stop::Exited { signal, .. } => {
            bail!("the function's process was killed by signal {signal} before it was ready")
        }
        Stop::Panicked(report) => bail!("the guest kernel panicked: {report}"),
    }
    if let Err(reason) = check_responses(&backend.take_responses()) {
        if warmup.is_chosen() {
            bail!("the warm-up request failed: {reason}");
        }
        eprintln!(
            "sprout: the warm-up request (GET /) failed: {reason}; say which one works with \
             --warmup-method, --warmup-path and --warmup-body"
        );
    }
    Ok(vm.waiting()?)
}

/// Whether every response to the warm-up requests is complete and no error of the server.
fn check_responses(mut bytes: &[u8]) -> Result<(), String> {
    while !bytes.is_empty() {
        let mut decoder = ResponseDecoder::new(Limits::default());
        decoder.push(bytes);
        loop {
            match decoder.next_event().map_err(|error| error.to_string())? {
                None => return Err("its response is incomplete".into()),
                Some(ResponseEvent::Failed(report)) => return Err(report.message),
                Some(ResponseEvent::Head(head)) if head.status >= 500 => {
                    return Err(format!("the function answered with status {}", head.status));
                }
                Some(ResponseEvent::End) => break,
                Some(_) => {}
            }
        }
        bytes = bytes
            .get(bytes.len() - decoder.unread()..)
            .unwrap_or_default();
    }
    Ok(())
}

/// Removes a snapshot no request can begin with any more; instances that run have it mapped.
fn remove_snapshot(store: &Store, name: &str) {
    let removed = store
        .snapshot_dir(name)
        .map_err(anyhow::Error::from)
        .and_then(|path| remove_directory(&path));
    if let Err(error) = removed {
        eprintln!("sprout: the old snapshot {name} stays: {error:#}");
    }
}

fn remove_directory(path: &Path) -> anyhow::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

fn milliseconds_since_1970() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

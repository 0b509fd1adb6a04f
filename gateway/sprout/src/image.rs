//! `sprout image`: builds, lists and shows the read-only images guests run from.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use clap::Subcommand;
use serde_json::json;
use sprout_images::erofs;
use sprout_images::erofs::read::{Entry, Reader};
use sprout_images::recipe::{Accept, Accepted, Prepared, Recipe};
use sprout_images::tree::{Tree, TreeKind};
use sprout_images::{Image, ImageConfig, Provenance, Reference, Store};

/// Arguments of `sprout image`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build an image from a recipe or a directory
    Build(Build),
    /// List the images in the store
    Ls,
    /// Show what an image contains and where it comes from
    Inspect(Inspect),
}

#[derive(Debug, clap::Args)]
struct Build {
    /// A recipe (such as node:24), a recipe file (*.json), or a directory with a root file system
    source: String,
    /// Name for the image; a recipe has one of its own
    #[arg(long, value_name = "NAME:TAG")]
    name: Option<Reference>,
    /// Environment variable for programs in the image (of a directory)
    #[arg(long, value_name = "KEY=VALUE")]
    env: Vec<String>,
    /// Working directory of programs in the image (of a directory)
    #[arg(long, value_name = "PATH", default_value = "/")]
    cwd: String,
    /// Program to start, and its first arguments: one option for each (of a directory)
    #[arg(long, value_name = "PATH|ARG", allow_hyphen_values = true)]
    entrypoint: Vec<String>,
    /// Version of a Debian package that will do where the archive has none the recipe knows
    #[arg(long, value_name = "PACKAGE=VERSION:SHA256")]
    accept: Vec<Accepted>,
    /// Where the configured archive has no version of a Debian package that the recipe knows, take
    /// what it has, on the strength of its signature; the image's provenance says so
    #[arg(long)]
    accept_archive_versions: bool,
}

#[derive(Debug, clap::Args)]
struct Inspect {
    /// Name of the image
    image: String,
    /// List the files too: type and permissions, links, owner and group, size, offset in the image
    /// (`-`: in pieces, or none), modification time, path
    #[arg(long)]
    files: bool,
    /// Read the whole image and check its digest
    #[arg(long)]
    verify: bool,
}

/// Runs `sprout image`.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let store = Store::open_default()?;
    match args.command {
        Command::Build(args) => build(&store, args),
        Command::Ls => list(&store),
        Command::Inspect(args) => inspect(&store, &args),
    }
}

fn build(store: &Store, args: Build) -> anyhow::Result<ExitCode> {
    let started = Instant::now();
    let mut progress = |line: &str| eprintln!("[{:5.1}s] {line}", started.elapsed().as_secs_f32());
    let (reference, prepared) = prepare(args, &mut progress)?;
    for note in &prepared.tree.notes {
        progress(&format!("note: {note}"));
    }
    progress(&format!("writing {reference}"));
    let Prepared {
        tree,
        mtime,
        config,
        provenance,
    } = prepared;
    let image = store.add_image(&reference, &tree, mtime, config, provenance)?;
    progress(&format!(
        "{} ({})",
        image.path.display(),
        megabytes(image.size)
    ));
    let large = sprout_vmm::memory::page_cache::settle(&image.path)
        .with_context(|| format!("reading {} back", image.path.display()))?;
    progress(&format!("page cache: {} in large pages", megabytes(large)));
    print_lines([format!("{reference} {}", image.digest)])
}

/// Finds out what the source is and gathers the files.
fn prepare(args: Build, progress: &mut dyn FnMut(&str)) -> anyhow::Result<(Reference, Prepared)> {
    let path = Path::new(&args.source);
    let is_builtin = Recipe::builtin_names().any(|name| name == args.source);
    if !is_builtin && path.is_dir() {
        let Some(reference) = args.name else {
            bail!("an image made from a directory needs a name: --name NAME:TAG");
        };
        return Ok((
            reference,
            prepare_directory(path, args.env, args.entrypoint, args.cwd)?,
        ));
    }
    if !args.env.is_empty() || !args.entrypoint.is_empty() || args.cwd != "/" {
        bail!("--env, --cwd and --entrypoint are for directories; a recipe states its own");
    }
    let recipe = if !is_builtin && path.extension().is_some_and(|ending| ending == "json") {
        Recipe::load(path)?
    } else {
        Recipe::builtin(&args.source)
            .with_context(|| format!("`{}` is neither a directory nor a recipe", args.source))?
    };
    let reference = args.name.map_or_else(|| recipe.name.parse(), Ok)?;
    let accept = Accept {
        packages: args.accept,
        archive_versions: args.accept_archive_versions,
    };
    let prepared = recipe.prepare(std::env::consts::ARCH, &accept, progress)?;
    Ok((reference, prepared))
}

fn prepare_directory(
    path: &Path,
    env: Vec<String>,
    entrypoint: Vec<String>,
    cwd: String,
) -> anyhow::Result<Prepared> {
    if let Some(variable) = env.iter().find(|variable| !variable.contains('=')) {
        bail!("--env {variable}: expected KEY=VALUE");
    }
    if !cwd.starts_with('/') {
        bail!("--cwd {cwd}: expected an absolute path in the image");
    }
    if entrypoint
        .first()
        .is_some_and(|program| !program.starts_with('/'))
    {
        bail!("--entrypoint: the program must be an absolute path in the image");
    }
    let shown: PathBuf = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    Ok(Prepared {
        tree: Tree::from_directory(path, TreeKind::Root)?,
        mtime: erofs::DEFAULT_MTIME,
        config: ImageConfig {
            env,
            entrypoint,
            cwd,
        },
        provenance: Provenance::new(format!("directory {}", shown.display())),
    })
}

fn list(store: &Store) -> anyhow::Result<ExitCode> {
    let images = store.list()?;
    if images.is_empty() {
        let recipes: Vec<&str> = Recipe::builtin_names().collect();
        eprintln!(
            "no images in {}; `sprout image build` knows {}",
            store.images_dir().display(),
            recipes.join(", ")
        );
        return Ok(ExitCode::SUCCESS);
    }
    let mut damaged = false;
    let mut found = Vec::new();
    for image in images {
        match image {
            Ok(image) => found.push(image),
            Err(error) => {
                damaged = true;
                eprintln!("sprout: {error}");
            }
        }
    }
    print_lines(table(&found))?;
    Ok(if damaged {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// The images in columns, the first as wide as its longest name.
fn table(images: &[Image]) -> Vec<String> {
    let names: Vec<String> = images
        .iter()
        .map(|image| image.reference.to_string())
        .collect();
    let width = names.iter().map(String::len).max().unwrap_or(0).max(20);
    let mut lines = vec![format!(
        "{:<width$} {:<12} {:>9}  {:<9} MADE FROM",
        "IMAGE", "DIGEST", "SIZE", "AGE"
    )];
    lines.extend(names.iter().zip(images).map(|(name, image)| {
        format!(
            "{name:<width$} {:<12} {:>9}  {:<9} {}",
            image.digest.0.to_hex().get(..12).unwrap_or_default(),
            megabytes(image.size),
            age(image.provenance.created),
            // A directory's name may hold anything.
            image.provenance.made_from.escape_debug()
        )
    }));
    lines
}

fn inspect(store: &Store, args: &Inspect) -> anyhow::Result<ExitCode> {
    let image = store.resolve(&args.image)?;
    if args.verify {
        image.verify()?;
    }
    let reader = Reader::open(&image.path)?;
    let superblock = reader.superblock();
    let shown = json!({
        "reference": image.reference.to_string(),
        "path": image.path,
        "digest": image.digest,
        "size": image.size,
        "verified": args.verify,
        "config": image.config,
        "provenance": image.provenance,
        "filesystem": {
            "type": "erofs",
            "inodes": superblock.inodes,
            "blocks": superblock.blocks,
            "modified": superblock.build_time,
        },
    });
    let mut lines = vec![serde_json::to_string_pretty(&shown)?];
    if args.files {
        lines.extend(
            reader
                .entries()?
                .iter()
                .map(|entry| line_of_file(&reader, entry)),
        );
    }
    print_lines(lines)
}

fn line_of_file(reader: &Reader, entry: &Entry) -> String {
    let path = String::from_utf8_lossy(&entry.path);
    let inode = &entry.inode;
    let offset = entry.offset().map(|offset| format!("{offset:#x}"));
    let line = format!(
        "{:06o} {:>3} {:>9} {:>10} {:>10} {}.{:09} {}",
        inode.mode,
        inode.links,
        format!("{}:{}", inode.uid, inode.gid),
        inode.size,
        offset.as_deref().unwrap_or("-"),
        inode.mtime.seconds,
        inode.mtime.nanoseconds,
        path.escape_debug()
    );
    match entry.is_symlink().then(|| reader.data(entry)) {
        Some(Ok(target)) => {
            format!(
                "{line} -> {}",
                String::from_utf8_lossy(&target).escape_debug()
            )
        }
        Some(Err(error)) => format!("{line} -> ({error})"),
        None => line,
    }
}

/// Writes to standard output; a reader that has seen enough (`| head`) is no error.
fn print_lines(lines: impl IntoIterator<Item = String>) -> anyhow::Result<ExitCode> {
    let mut output = io::stdout().lock();
    for line in lines {
        match writeln!(output, "{line}") {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => break,
            result => result.context("cannot write to standard output")?,
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn megabytes(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

/// How long ago, in the largest unit that fits.
fn age(created: u64) -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| time.as_secs());
    let seconds = now.saturating_sub(created);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}min", seconds / 60),
        3600..86400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86400),
    }
}

//! The `sprout` command under test.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, bail};

/// The path of the `sprout` binary: `SPROUT_BIN` if set, else it is built (once) in release mode
/// into the target directory in use.
pub fn binary() -> Result<&'static Path> {
    static FOUND: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    match FOUND.get_or_init(|| locate().map_err(|error| format!("{error:#}"))) {
        Ok(path) => Ok(path),
        Err(error) => bail!("{error}"),
    }
}

fn locate() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("SPROUT_BIN") {
        let path = PathBuf::from(path);
        return path
            .canonicalize()
            .with_context(|| format!("SPROUT_BIN names {}", path.display()));
    }
    let target = crate::target_dir();
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["build", "--release", "--package", "sprout"])
        .arg("--target-dir")
        .arg(&target)
        .current_dir(crate::source_dir())
        .status()
        .context("starting cargo to build sprout")?;
    if !status.success() {
        bail!("building sprout failed ({status}); SPROUT_BIN names a ready one");
    }
    Ok(target.join("release/sprout"))
}

/// A command line that starts with the `sprout` binary.
pub fn command() -> Result<Command> {
    Ok(Command::new(binary()?))
}

/// Whether this machine can run virtual machines at all; the error is one line for people.
pub fn kvm() -> Result<()> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/kvm")
        .map(drop)
        .map_err(|error| {
            anyhow::anyhow!("no virtual machines here: /dev/kvm can't be opened ({error})")
        })
}

//! A store of images, functions and snapshots for the tests (`SPROUT_HOME`), kept below the target
//! directory so that the image is built once.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::run::{Outcome, run};
use crate::{source_dir, sprout, target_dir};

/// The image functions run on in the tests.
pub const IMAGE: &str = "node:24";

/// Building an image downloads packages.
const BUILD_DEADLINE: Duration = Duration::from_secs(600);

/// Deploying boots the runtime and takes a snapshot.
const DEPLOY_DEADLINE: Duration = Duration::from_secs(120);

/// A `SPROUT_HOME`.
#[derive(Debug, Clone)]
pub struct Store {
    home: PathBuf,
}

impl Store {
    /// The tests' own store: `SPROUT_TEST_HOME`, else below the target directory.
    pub fn of_tests() -> Self {
        let home = std::env::var_os("SPROUT_TEST_HOME")
            .map_or_else(|| target_dir().join("sprout-tests/home"), PathBuf::from);
        Self { home }
    }

    /// Its directory.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// A `sprout` command line on this store.
    pub fn sprout(&self) -> Result<Command> {
        let mut command = sprout::command()?;
        command.env("SPROUT_HOME", &self.home);
        Ok(command)
    }

    /// Runs `sprout` with these arguments to its end.
    pub fn run(&self, args: &[&str], deadline: Duration) -> Result<Outcome> {
        run(self.sprout()?.args(args), deadline)
    }

    /// Builds the image unless it is there.
    pub fn ensure_image(&self) -> Result<()> {
        std::fs::create_dir_all(&self.home)
            .with_context(|| format!("creating {}", self.home.display()))?;
        let list = self.run(&["image", "ls"], BUILD_DEADLINE)?;
        if list.status == Some(0) && list.out().lines().any(|line| line.starts_with(IMAGE)) {
            return Ok(());
        }
        // Debian's archive moves on; that is no fault of ours.
        let build = ["image", "build", IMAGE, "--accept-archive-versions"];
        let built = self.run(&build, BUILD_DEADLINE)?;
        ensure!(
            built.status == Some(0),
            "building image {IMAGE} failed:\n{}",
            built.err()
        );
        Ok(())
    }

    /// Deploys `tests/functions/NAME` under its name.
    pub fn deploy(&self, name: &str) -> Result<()> {
        self.deploy_as(name, name, &[])
    }

    /// Deploys `tests/functions/SOURCE` under `name`, with further arguments.
    pub fn deploy_as(&self, source: &str, name: &str, args: &[&str]) -> Result<()> {
        self.deploy_directory(&source_dir().join("functions").join(source), name, args)
    }

    /// Deploys a directory under `name`, with further arguments.
    pub fn deploy_directory(&self, source: &Path, name: &str, args: &[&str]) -> Result<()> {
        let deployed = self.try_deploy(source, name, args)?;
        ensure!(
            deployed.status == Some(0),
            "deploying {} failed with status {:?}:\n{}",
            source.display(),
            deployed.status,
            deployed.err()
        );
        Ok(())
    }

    /// What `sprout deploy` makes of a directory.
    pub fn try_deploy(&self, source: &Path, name: &str, args: &[&str]) -> Result<Outcome> {
        let mut command = self.sprout()?;
        command
            .arg("deploy")
            .arg(source)
            .args(["--name", name])
            .args(args);
        run(&mut command, DEPLOY_DEADLINE)
    }

    /// The directory of the snapshot a deployed function starts from.
    pub fn snapshot_of(&self, function: &str) -> Result<PathBuf> {
        let record = self
            .home
            .join("functions")
            .join(function)
            .join("function.json");
        let text =
            std::fs::read(&record).with_context(|| format!("reading {}", record.display()))?;
        let record: serde_json::Value = serde_json::from_slice(&text)?;
        let snapshot = record["snapshot"]
            .as_str()
            .context("the record names no snapshot")?;
        Ok(self.home.join("snapshots").join(snapshot))
    }
}

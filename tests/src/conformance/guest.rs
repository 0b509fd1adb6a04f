//! The guest of a suite whose tests need more than themselves: helper programs of the same folder,
//! a shell, users to become, and a parent that is not process 1.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::search_path;
use crate::run::run;
use crate::sprout;

/// Where the folder lies in the guest.
const SUITE: &str = "/suite";

/// The image's name in the store of a run.
const IMAGE: &str = "conformance:1";

/// Debian's package busybox-static puts it here.
const SHELL: &str = "/bin/busybox";

/// Runs its arguments as a child and ends as that child did.
const FIRST_PROCESS: &str = r#""$0" "$@"; exit $?"#;

const FILES: &[(&str, &str)] = &[
    (
        "etc/passwd",
        "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/:/bin/sh\nbin:x:2:2:bin:/:/bin/sh\n\
         nobody:x:65534:65534:nobody:/:/bin/sh\n",
    ),
    (
        "etc/group",
        "root:x:0:\ndaemon:x:1:\nbin:x:2:\nusers:x:100:\nnogroup:x:65534:\n",
    ),
    (
        "etc/nsswitch.conf",
        "passwd: files\ngroup: files\nhosts: files\n",
    ),
    ("etc/hosts", "127.0.0.1 localhost\n"),
];

/// Makes an image with the folder at [`SUITE`], in a store of its own.
pub fn build_image(dir: &Path, store: &Path) -> Result<()> {
    // Beside the folder, so that its files can be linked instead of copied.
    let root = tempfile::tempdir_in(dir.parent().unwrap_or(dir))?;
    let at = |path: &str| -> PathBuf { root.path().join(path.trim_start_matches('/')) };
    for folder in ["bin", "etc"] {
        fs::create_dir(at(folder))?;
    }
    fs::copy(SHELL, at("bin/busybox"))
        .with_context(|| format!("{SHELL} is wanted as the guest's shell (busybox-static)"))?;
    symlink("busybox", at("bin/sh"))?;
    for (path, text) in FILES {
        fs::write(at(path), text)?;
    }
    let copied = run(
        Command::new("cp")
            .args(["-rlL", "--"])
            .arg(dir)
            .arg(at(SUITE)),
        Duration::from_secs(600),
    )?;
    ensure!(
        copied.status == Some(0),
        "linking the folder's files: {}",
        copied.err()
    );
    let mut command = sprout::command()?;
    command
        .env("SPROUT_HOME", store)
        .args(["image", "build", "--name", IMAGE])
        .arg(root.path());
    let built = run(&mut command, Duration::from_secs(1200))?;
    ensure!(
        built.status == Some(0),
        "building an image of the folder: {}",
        built.err()
    );
    Ok(())
}

/// Completes `sprout run ...` up to the test's arguments.
pub fn run_from_image(command: &mut Command, program: &str) {
    command
        .args(["--image", IMAGE, "--cwd", "/tmp", "--env"])
        .arg(format!("PATH={}", search_path(SUITE)))
        .args(["--", "/bin/busybox", "sh", "-c", FIRST_PROCESS])
        .arg(Path::new(SUITE).join(program));
}

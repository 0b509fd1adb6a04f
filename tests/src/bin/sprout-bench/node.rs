//! Node, from start to exit and at work.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use sprout_tests::source_dir;
use sprout_tests::store::{IMAGE, Store};

use crate::Options;
use crate::measure::{compare, median, number, print_counts, row, timed};

/// Node in the image.
const GUEST_NODE: &str = "/usr/bin/node";

/// `node -e 0` from exec to exit.
pub fn node(options: &Options) -> Result<()> {
    let store = Store::of_tests();
    store.ensure_image()?;
    let peer = host_node()?;
    let ours = |stats: &[&str]| -> Result<Command> {
        let mut command = store.sprout()?;
        command
            .arg("run")
            .args(stats)
            .args(["--image", IMAGE, "--", GUEST_NODE, "-e", "0"]);
        Ok(command)
    };
    let (our_time, peer_time) = compare(
        options.rounds,
        0,
        || ours(&[]),
        || {
            let mut command = Command::new(&peer.0);
            command.args(["-e", "0"]);
            command
        },
    )?;
    row("node -e 0, exec to exit", our_time, peer_time, "ms");
    println!("    plain Linux: {} {}", peer.0.display(), peer.1);
    print_counts(ours(&["--stats"])?, 0)
}

/// Short-lived objects, arrays and Buffers, timed by the script itself. V8 sizes its young generation
/// after the machine's memory, so the guest gets as much as makes that the same on both sides.
pub fn churn(options: &Options) -> Result<()> {
    let store = Store::of_tests();
    store.ensure_image()?;
    let peer = host_node()?;
    let path = source_dir().join("bench/churn.mjs");
    let script = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let arguments = ["--input-type=module", "-e", &script];
    let (mut ours, mut peers) = (Vec::new(), Vec::new());
    for _ in 0..options.rounds.min(5) {
        let mut command = store.sprout()?;
        command.args(["run", "--memory", "4G", "--image", IMAGE, "--", GUEST_NODE]);
        ours.push(number(command.args(arguments))?);
        peers.push(number(Command::new(&peer.0).args(arguments))?);
    }
    let (our_time, peer_time) = (median(&mut ours), median(&mut peers));
    row(
        "JavaScript that allocates 1 GiB and more",
        our_time,
        peer_time,
        "ms",
    );
    println!("    plain Linux: {} {}", peer.0.display(), peer.1);
    Ok(())
}

/// Node on this host (`SPROUT_PEER_NODE`, else from the search path), and its version.
pub fn host_node() -> Result<(PathBuf, String)> {
    let path = std::env::var_os("SPROUT_PEER_NODE").map_or_else(|| "node".into(), PathBuf::from);
    let (_, outcome) = timed(Command::new(&path).arg("--version"), 0)
        .context("no Node on this host to compare with (set SPROUT_PEER_NODE)")?;
    Ok((path, outcome.out().trim().to_owned()))
}

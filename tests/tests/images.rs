//! Images of real directories: what a program sees below one is what it sees in a guest of the
//! image made of it.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, SystemTime};

use anyhow::{Result, ensure};
use libtest_mimic::{Arguments, Failed, Trial};
use rustix::fs::{CWD, FileType, Mode};
use sprout_tests::run::{Outcome, run};
use sprout_tests::{programs, source_dir, sprout, target_dir};

const DEADLINE: Duration = Duration::from_secs(120);

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let trial = |name: &str, test: fn() -> Result<()>| {
        Trial::test(name, move || {
            sprout::kvm()
                .and_then(|()| test())
                .map_err(|error| Failed::from(format!("{error:#}")))
        })
    };
    let trials = vec![
        trial("a_directory_is_in_its_image_as_it_was", same_as_it_was),
        trial("long_names_and_damage_are_told", long_names_and_damage),
        trial("a_store_is_its_owners_alone", private_store),
    ];
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// The compiled guest program.
fn program() -> Result<PathBuf> {
    let sources = source_dir().join("guests");
    let out = target_dir().join("sprout-tests/guests");
    let mut cases = programs::cases(&sources)?;
    cases.retain(|case| case.name == "image_tree");
    programs::build(&sources, &out, &cases)?;
    Ok(out.join("image_tree"))
}

fn sprout_in(home: &Path, arguments: &[&OsStr]) -> Result<Outcome> {
    let mut command = sprout::command()?;
    run(command.env("SPROUT_HOME", home).args(arguments), DEADLINE)
}

fn words<'a>(words: &[&'a str]) -> Vec<&'a OsStr> {
    words.iter().map(|word| OsStr::new(*word)).collect()
}

/// Everything that root directories from package managers and archives hold.
fn fill(root: &Path) -> Result<()> {
    let mode = |path: &Path, mode| fs::set_permissions(path, PermissionsExt::from_mode(mode));
    for directory in [
        "bin", "odd", "deep", "empty", "links", "data", "many", "run",
    ] {
        fs::create_dir_all(root.join(directory))?;
    }
    fs::write(root.join("bin/one"), "program")?;
    fs::hard_link(root.join("bin/one"), root.join("links/two"))?;
    fs::hard_link(root.join("bin/one"), root.join("three"))?;
    symlink("/bin/one", root.join("links/absolute"))?;
    symlink("../nowhere", root.join("links/dangling"))?;
    symlink("x".repeat(4095), root.join("links/long"))?;
    fs::hard_link(root.join("links/dangling"), root.join("links/same"))?;
    for (name, bits) in [("su", 0o6755), ("secret", 0o000), ("sticky", 0o1644)] {
        fs::write(root.join("bin").join(name), name)?;
        mode(&root.join("bin").join(name), bits)?;
    }
    mode(&root.join("empty"), 0o3555)?;
    let long = [b'n'; 255];
    for name in [
        &b"new\nline"[..],
        b"not utf-8 \xff\xfe",
        b" ",
        b".wh.file",
        b".wh..wh..opq",
        b"...",
        b"\x01\x7f",
        b"-",
        &long,
    ] {
        fs::write(root.join("odd").join(OsStr::from_bytes(name)), name)?;
    }
    let mut deep = root.join("deep");
    for _ in 0..150 {
        deep.push("d");
        fs::create_dir(&deep)?;
    }
    for number in 0..2000 {
        fs::write(root.join(format!("many/{number}")), "")?;
    }
    let block: Vec<u8> = (0..3u32 << 20).map(|i| (i / 7) as u8).collect();
    fs::write(root.join("data/a"), &block)?;
    fs::write(root.join("data/equal"), &block)?;
    let sparse = File::create(root.join("data/sparse"))?;
    sparse.set_len(10 << 30)?;
    sparse.write_all_at(b"middle", 5 << 30)?;
    sparse.write_all_at(b"end", (10 << 30) - 3)?;
    File::create(root.join("data/hole"))?.set_len(1 << 20)?;
    let dated = File::options().write(true).open(root.join("data/a"))?;
    let date = SystemTime::UNIX_EPOCH + Duration::new(1_000_000_000, 123_456_789);
    dated.set_modified(date)?;
    rustix::fs::mknodat(
        CWD,
        root.join("run/pipe"),
        FileType::Fifo,
        Mode::from_raw_mode(0o620),
        0,
    )?;
    drop(UnixListener::bind(root.join("run/socket"))?);
    if rustix::process::geteuid().is_root() {
        let null = rustix::fs::makedev(1, 3);
        let mode = Mode::from_raw_mode(0o666);
        rustix::fs::mknodat(
            CWD,
            root.join("run/null"),
            FileType::CharacterDevice,
            mode,
            null,
        )?;
        std::os::unix::fs::chown(root.join("bin/su"), Some(7), Some(70_000))?;
    }
    Ok(())
}

fn same_as_it_was() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let (home, root) = (directory.path().join("home"), directory.path().join("root"));
    let tree = root.join("tree");
    fs::create_dir_all(&tree)?;
    fill(&tree)?;
    let program = program()?;
    fs::copy(&program, root.join("program"))?;

    let build = [
        &words(&["image", "build"])[..],
        &[root.as_os_str()],
        &words(&["--name", "tree:1"]),
    ]
    .concat();
    let built = sprout_in(&home, &build)?;
    ensure!(built.status == Some(0), "building:\n{}", built.err());
    ensure!(
        built.err().contains("run/socket: left out"),
        "no note about the socket:\n{}",
        built.err()
    );
    let again = sprout_in(&home, &build)?;
    ensure!(
        built.stdout == again.stdout,
        "another digest the second time"
    );
    let image = fs::read_dir(home.join("images"))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|ending| ending == "erofs"));
    let size = image.map_or(Ok(0), |path| fs::metadata(path).map(|found| found.len()))?;
    ensure!(
        (1..=12 << 20).contains(&size),
        "{size} bytes for 5 MiB of content: holes or equal files take space"
    );

    let arguments = ["bin/one", "links/two"];
    let guest = [
        &words(&["run", "--image", "tree:1", "--", "/program", "/tree"])[..],
        &words(&arguments),
    ]
    .concat();
    let guest = sprout_in(&home, &guest)?;
    let native = run(Command::new(&program).arg(&tree).args(arguments), DEADLINE)?;
    ensure!(
        native.status == Some(0) && guest.status == Some(0),
        "status {:?} natively, {:?} in the guest: {}",
        native.status,
        guest.status,
        guest.err()
    );
    let (native, guest) = (native.out(), guest.out());
    ensure!(
        native.contains("written: same 1, size 11, links 3, then 2"),
        "{native}"
    );
    if let Some((wanted, found)) = native.lines().zip(guest.lines()).find(|(a, b)| a != b) {
        anyhow::bail!("wanted: {wanted}\nfound:  {found}");
    }
    ensure!(
        native.lines().count() == guest.lines().count(),
        "lines are missing"
    );
    Ok(())
}

/// Names as long as they may be, in columns; and a damaged image is an error, not a panic.
fn long_names_and_damage() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let (home, root) = (
        directory.path().join("home"),
        directory.path().join("root\n"),
    );
    fs::create_dir_all(root.join("d".repeat(255)).join("e".repeat(255)))?;
    let name = format!("{}:{}", "n".repeat(100), "t".repeat(100));
    let build = [
        &words(&["image", "build"])[..],
        &[root.as_os_str()],
        &words(&["--name", &name]),
    ]
    .concat();
    let built = sprout_in(&home, &build)?;
    ensure!(built.status == Some(0), "building:\n{}", built.err());
    let list = sprout_in(&home, &words(&["image", "ls"]))?;
    ensure!(
        list.out().lines().count() == 2 && list.out().contains(&name),
        "{}",
        list.out()
    );
    let inspect = words(&["image", "inspect", "--files", &name]);
    let shown = sprout_in(&home, &inspect)?;
    let path = format!("/{}/{}", "d".repeat(255), "e".repeat(255));
    ensure!(shown.out().contains(&path), "{}", shown.out());

    let image = fs::read_dir(home.join("images"))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|ending| ending == "erofs"));
    let image = image.ok_or_else(|| anyhow::anyhow!("no image in the store"))?;
    let good = fs::read(&image)?;
    for position in [1024, 1024 + 14, 1024 + 36, 4096 + 1, 4096 + 9, 8192 + 8] {
        let mut bad = good.clone();
        bad[position] ^= 0xff;
        fs::remove_file(&image)?;
        fs::write(&image, &bad)?;
        let shown = sprout_in(&home, &inspect)?;
        ensure!(
            shown.status == Some(125) && shown.err().contains("is damaged"),
            "byte {position}: status {:?}: {}",
            shown.status,
            shown.err()
        );
    }
    Ok(())
}

/// Whatever the umask: nobody else reads what is in the store; what an older version left open is
/// closed.
fn private_store() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let (home, root) = (directory.path().join("home"), directory.path().join("root"));
    fs::create_dir_all(root.join("bin"))?;
    fs::create_dir_all(home.join("images"))?;
    fs::write(home.join("images/old.erofs"), "")?;
    fs::set_permissions(home.join("images"), PermissionsExt::from_mode(0o777))?;
    fs::set_permissions(
        home.join("images/old.erofs"),
        PermissionsExt::from_mode(0o644),
    )?;
    let mut shell = Command::new("/bin/sh");
    shell
        .args(["-c", "umask 0; exec \"$0\" image build \"$1\" --name x:1"])
        .arg(sprout::binary()?)
        .arg(&root)
        .env("SPROUT_HOME", &home);
    let built = run(&mut shell, DEADLINE)?;
    ensure!(built.status == Some(0), "building:\n{}", built.err());
    let mut open = vec![home];
    while let Some(path) = open.pop() {
        let metadata = fs::symlink_metadata(&path)?;
        let mode = metadata.permissions().mode();
        ensure!(
            mode & 0o077 == 0,
            "{} has mode {mode:o}: others may use it",
            path.display()
        );
        if metadata.is_dir() {
            open.extend(fs::read_dir(&path)?.filter_map(|e| Some(e.ok()?.path())));
        }
    }
    Ok(())
}

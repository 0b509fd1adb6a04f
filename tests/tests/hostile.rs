//! Inputs that lie: corrupt images and snapshots, and a guest that rings the doorbell itself. None
//! may make the VMM panic, die or hang, and each must be answered with an error that says what is
//! wrong.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use libtest_mimic::{Arguments, Trial};
use sprout_tests::run::{Outcome, run};
use sprout_tests::store::Store;
use sprout_tests::{programs, source_dir, sprout, target_dir};

/// The sentry's doorbell, as in `sprout_abi::layout::DOORBELL_PORT`.
const DOORBELL_PORT: &str = "0x0e70";

const DEADLINE: Duration = Duration::from_secs(60);

/// Bytes to flip at a time in a corrupt image: positions within the metadata, which comes first.
const FLIPS: usize = 24;

type Test = fn() -> Result<()>;

/// Guest-physical addresses that no request may be at, or that are not whole requests.
const WILD_ADDRESSES: [u32; 15] = [
    0,
    1,
    7,
    0xfff,
    0x1000,
    0x20_0000,
    0x1ff_fff8,
    0x3ff_fff8,
    0x400_0000,
    0x7fff_fff8,
    0x8000_0000,
    0xc000_0000,
    0xffff_fff0,
    0xffff_fff8,
    0xffff_ffff,
];

/// How many different memories full of requests are tried.
const RANDOM_SEEDS: u32 = 20;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let tests: [(&str, Test); 11] = [
        ("a_guest_that_rings_the_doorbell_harms_nobody", doorbell),
        (
            "a_program_gets_all_memory_and_is_killed_for_more",
            all_memory,
        ),
        ("no_way_to_use_up_memory_breaks_the_machine", used_up_memory),
        ("a_truncated_or_foreign_image_is_refused", broken_image),
        ("an_image_with_flipped_metadata_is_survived", flipped_image),
        (
            "a_snapshot_with_any_broken_part_is_refused",
            broken_snapshot,
        ),
        ("a_program_that_is_none_is_refused", broken_program),
        ("wrong_command_lines_are_refused", wrong_command_lines),
        ("a_guest_that_runs_wild_ends_as_on_linux", wild_guest),
        (
            "a_guest_that_reaches_for_the_sentry_harms_nobody",
            reaching_guest,
        ),
        (
            "a_guest_that_calls_everything_with_anything_harms_nobody",
            calling_guest,
        ),
    ];
    let trials = tests
        .into_iter()
        .map(|(name, test)| {
            Trial::test(name, move || {
                sprout::kvm()
                    .and_then(|()| test())
                    .map_err(|error| format!("{error:#}").into())
            })
        })
        .collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// Nothing that happened was the VMM's own failure.
fn ensure_no_harm(outcome: &Outcome, what: &str) -> Result<()> {
    let text = outcome.err();
    ensure!(
        outcome.killed_by.is_none(),
        "{what}: sprout itself died by signal {:?}\n{text}",
        outcome.killed_by
    );
    ensure!(
        outcome.status.is_some(),
        "{what}: still running after {DEADLINE:?}\n{text}"
    );
    ensure!(
        !text.contains("panicked at") && !text.contains("RUST_BACKTRACE"),
        "{what}: a panic:\n{text}"
    );
    Ok(())
}

/// An error was reported as one should be: by exit status and by words.
fn ensure_refused(outcome: &Outcome, what: &str) -> Result<()> {
    ensure_no_harm(outcome, what)?;
    ensure!(
        outcome.status != Some(0),
        "{what}: accepted\n{}",
        outcome.out()
    );
    ensure!(
        !outcome.err().trim().is_empty(),
        "{what}: refused without a word"
    );
    Ok(())
}

fn compile(name: &str, flags: &[String]) -> Result<PathBuf> {
    compile_from("hostile", name, flags)
}

fn compile_from(folder: &str, name: &str, flags: &[String]) -> Result<PathBuf> {
    let out = target_dir().join("sprout-tests/hostile");
    fs::create_dir_all(&out)?;
    let binary = out.join(name);
    let source = source_dir().join(folder).join(format!("{name}.c"));
    // Tests run side by side: none may see another's half-written program.
    let fresh = tempfile::NamedTempFile::new_in(&out)?.into_temp_path();
    let compiled = run(
        Command::new("gcc")
            .args(["-static", "-O1", "-Wall", "-Werror"])
            .args(flags)
            .arg("-o")
            .arg(&fresh)
            .arg(source),
        DEADLINE,
    )?;
    ensure!(
        compiled.status == Some(0),
        "compiling {name}.c:\n{}",
        compiled.err()
    );
    fresh.persist(&binary)?;
    Ok(binary)
}

fn doorbell() -> Result<()> {
    let program = compile("doorbell", &[format!("-DDOORBELL_PORT={DOORBELL_PORT}")])?;
    let doctor = run(
        sprout::command()?.args(["doctor", "--require-hardware-isolation"]),
        DEADLINE,
    )?;
    let hardware = doctor.status == Some(0);
    let addresses = WILD_ADDRESSES.map(|address| ["address".to_owned(), address.to_string()]);
    let seeds = (0..RANDOM_SEEDS).map(|seed| ["random".to_owned(), seed.to_string()]);
    for (index, args) in addresses.into_iter().chain(seeds).enumerate() {
        let vcpus = if index % 2 == 0 { "1" } else { "2" };
        for isolation in ["shared", "strict"] {
            ring(
                &program,
                &args,
                vcpus,
                isolation,
                hardware || isolation == "strict",
            )?;
        }
    }
    Ok(())
}

fn memory_program(how: &str) -> Result<Outcome> {
    static PROGRAM: Mutex<Option<PathBuf>> = Mutex::new(None);
    let program = {
        let mut program = PROGRAM.lock().map_err(|_| anyhow!("not compiled"))?;
        match &*program {
            Some(path) => path.clone(),
            None => program.insert(compile("memory", &[])?).clone(),
        }
    };
    let mut command = sprout::command()?;
    command.args(["run", "--memory", "64M", "--"]).arg(program);
    run(command.arg(how), DEADLINE)
}

/// Overcommitted memory ends in the death of the process that has most, with a line that says so.
fn all_memory() -> Result<()> {
    const LINE: &str = "sprout: out of memory: killed process";
    let outcome = memory_program("capacity")?;
    ensure!(
        outcome.out() == "total 65536 kB, all of it available: yes\n",
        "{outcome:?}"
    );
    for how in ["eat", "copy"] {
        let outcome = memory_program(how)?;
        ensure!(outcome.status == Some(137), "{how}: {outcome:?}");
        ensure!(
            outcome.err().matches(LINE).count() == 1 && outcome.err().contains("--memory"),
            "{how}: {}",
            outcome.err()
        );
    }
    let outcome = memory_program("child")?;
    ensure!(
        outcome.status == Some(0)
            && outcome.out() == "child killed by signal 9\nits memory is back\n"
            && outcome.err().matches(LINE).count() == 1,
        "{outcome:?}"
    );
    Ok(())
}

/// What belongs to the sentry (stacks, areas, buffers) runs out like what is the program's.
fn used_up_memory() -> Result<()> {
    for how in ["threads", "areas", "pipes", "sockets", "files", "forks"] {
        let outcome = memory_program(how)?;
        ensure_no_harm(&outcome, how)?;
        ensure!(
            matches!(outcome.status, Some(0 | 137)),
            "{how}: {outcome:?}"
        );
    }
    Ok(())
}

/// Has the program ring the doorbell; behind a wall it can't.
fn ring(program: &Path, args: &[String], vcpus: &str, isolation: &str, wall: bool) -> Result<()> {
    let what = format!("{} ({isolation}, {vcpus} vCPUs)", args.join(" "));
    let mut command = sprout::command()?;
    command
        .args(["run", "--memory", "64M", "--sentry-isolation", isolation])
        .args(["--vcpus", vcpus, "--"])
        .arg(program)
        .args(args);
    // A request that by chance is a sound one for sleeping sleeps: no harm either.
    let outcome = run(&mut command, Duration::from_secs(3))?;
    if outcome.status.is_some() || wall {
        ensure_no_harm(&outcome, &what)?;
    }
    ensure!(
        !wall || outcome.status == Some(139),
        "{what}: the program reached the doorbell through the wall: {outcome:?}"
    );
    ensure!(
        outcome.status != Some(125) || !outcome.err().trim().is_empty(),
        "{what}: the machine was stopped without a word"
    );
    Ok(())
}

/// A store with one small image named `small:1` in it, and that image's file.
fn small_image() -> Result<(tempfile::TempDir, PathBuf)> {
    let home = tempfile::tempdir()?;
    let root = tempfile::tempdir()?;
    let sources = source_dir().join("programs");
    let out = target_dir().join("sprout-tests/programs");
    let cases: Vec<_> = programs::cases(&sources)?
        .into_iter()
        .filter(|case| case.name == "hello")
        .collect();
    programs::build(&sources, &out, &cases)?;
    fs::create_dir_all(root.path().join("bin"))?;
    fs::copy(out.join("hello"), root.path().join("bin/hello"))?;
    for n in 0..200 {
        fs::write(
            root.path().join(format!("file-with-a-name-{n}")),
            format!("content {n}"),
        )?;
    }
    let mut command = sprout::command()?;
    command
        .env("SPROUT_HOME", home.path())
        .args(["image", "build"])
        .arg(root.path());
    let built = run(command.args(["--name", "small:1"]), DEADLINE)?;
    ensure!(
        built.status == Some(0),
        "building the image:\n{}",
        built.err()
    );
    let image = fs::read_dir(home.path().join("images"))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|e| e == "erofs"))
        .context("the store has no image file")?;
    Ok((home, image))
}

fn run_from_image(home: &Path) -> Result<Outcome> {
    let mut command = sprout::command()?;
    command.env("SPROUT_HOME", home);
    run(
        command.args([
            "run",
            "--image",
            "small:1",
            "--memory",
            "64M",
            "--",
            "/bin/hello",
        ]),
        DEADLINE,
    )
}

/// Puts other bytes where the store keeps an image, which may be read-only.
fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::remove_file(path)?;
    fs::write(path, bytes)?;
    Ok(())
}

fn broken_image() -> Result<()> {
    let (home, image) = small_image()?;
    let good = fs::read(&image)?;
    let outcome = run_from_image(home.path())?;
    ensure!(
        outcome.status == Some(7),
        "the sound image does not run: {outcome:?}"
    );
    let mut wrong_magic = good.clone();
    *wrong_magic
        .get_mut(1024)
        .context("the image has no superblock")? ^= 0xff;
    let variants: [(&str, Vec<u8>); 6] = [
        ("empty", Vec::new()),
        ("one byte", vec![0xe2]),
        ("only zeros", vec![0; good.len()]),
        (
            "cut in the superblock",
            good[..1040.min(good.len())].to_vec(),
        ),
        ("cut in half", good[..good.len() / 2].to_vec()),
        ("another magic", wrong_magic),
    ];
    for (what, bytes) in variants {
        replace(&image, &bytes)?;
        ensure_refused(&run_from_image(home.path())?, what)?;
    }
    fs::remove_file(&image)?;
    ensure_refused(&run_from_image(home.path())?, "missing")
}

fn flipped_image() -> Result<()> {
    let (home, image) = small_image()?;
    let good = fs::read(&image)?;
    let mut seed = 12345_usize;
    for _ in 0..FLIPS {
        let mut bad = good.clone();
        let mut places = Vec::new();
        for _ in 0..4 {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            // The superblock, the inodes and the directories lie in the first blocks.
            let place = 1024 + (seed >> 33) % good.len().min(48 << 10).saturating_sub(1024).max(1);
            if let Some(byte) = bad.get_mut(place) {
                *byte ^= ((seed >> 16) as u8) | 1;
                places.push(place);
            }
        }
        replace(&image, &bad)?;
        let outcome = run_from_image(home.path())?;
        ensure_no_harm(&outcome, &format!("flipped bytes at {places:?}"))?;
    }
    Ok(())
}

fn broken_snapshot() -> Result<()> {
    let store = Store::of_tests();
    store.ensure_image()?;
    store.deploy("hello")?;
    let original = store.snapshot_of("hello")?;
    let name = "broken-for-tests";
    let copy = original.with_file_name(name);
    let restore = || -> Result<Outcome> { store.run(&["restore", name], DEADLINE) };
    let refresh = || -> Result<()> {
        if copy.exists() {
            fs::remove_dir_all(&copy)?;
        }
        let copied = run(
            Command::new("cp")
                .args(["-r", "--sparse=always"])
                .arg(&original)
                .arg(&copy),
            DEADLINE,
        )?;
        ensure!(
            copied.status == Some(0),
            "copying the snapshot:\n{}",
            copied.err()
        );
        Ok(())
    };
    let result = (|| {
        refresh()?;
        let sound = restore()?;
        ensure!(
            sound.status == Some(0),
            "the sound copy does not restore: {:?}\n{}",
            sound.status,
            sound.err()
        );
        for (what, damage) in DAMAGES {
            refresh()?;
            damage(&copy).with_context(|| format!("preparing: {what}"))?;
            ensure_refused(&restore()?, what)?;
        }
        Ok(())
    })();
    if copy.exists() {
        fs::remove_dir_all(&copy)?;
    }
    result
}

type Damage = fn(&Path) -> Result<()>;

/// Each part of a snapshot, broken in each way that matters.
const DAMAGES: &[(&str, Damage)] = &[
    ("manifest cut in half", |dir| {
        cut(&dir.join("manifest.json"), 2)
    }),
    ("manifest empty", |dir| {
        Ok(fs::write(dir.join("manifest.json"), "")?)
    }),
    ("manifest is other JSON", |dir| {
        Ok(fs::write(dir.join("manifest.json"), "[1, 2]")?)
    }),
    ("manifest missing", |dir| {
        Ok(fs::remove_file(dir.join("manifest.json"))?)
    }),
    ("manifest of another format", |dir| {
        number_in_manifest(dir, "format")
    }),
    ("manifest of another abi", |dir| {
        number_in_manifest(dir, "abi")
    }),
    ("state flipped", |dir| flip(&dir.join("state.bin"))),
    ("state cut in half", |dir| cut(&dir.join("state.bin"), 2)),
    ("state empty", |dir| {
        Ok(fs::write(dir.join("state.bin"), "")?)
    }),
    ("state missing", |dir| {
        Ok(fs::remove_file(dir.join("state.bin"))?)
    }),
    ("memory cut in half", |dir| cut(&dir.join("memory"), 2)),
    ("memory one byte short", |dir| {
        let path = dir.join("memory");
        let length = fs::metadata(&path)?.len();
        Ok(fs::OpenOptions::new()
            .write(true)
            .open(path)?
            .set_len(length - 1)?)
    }),
    ("memory missing", |dir| {
        Ok(fs::remove_file(dir.join("memory"))?)
    }),
];

/// Puts another number where the manifest has one.
fn number_in_manifest(dir: &Path, field: &str) -> Result<()> {
    let path = dir.join("manifest.json");
    let mut manifest: serde_json::Value = serde_json::from_slice(&fs::read(&path)?)?;
    let value = manifest.get_mut(field).filter(|value| value.is_number());
    *value.with_context(|| format!("the manifest has no number {field:?}"))? = 999.into();
    Ok(fs::write(path, manifest.to_string())?)
}

fn cut(path: &Path, divisor: u64) -> Result<()> {
    let length = fs::metadata(path)?.len();
    Ok(fs::OpenOptions::new()
        .write(true)
        .open(path)?
        .set_len(length / divisor)?)
}

fn flip(path: &Path) -> Result<()> {
    let mut bytes = fs::read(path)?;
    let middle = bytes.len() / 2;
    *bytes.get_mut(middle).context("the part is empty")? ^= 0x55;
    Ok(fs::write(path, bytes)?)
}

fn broken_program() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let sound = fs::read(compile(
        "doorbell",
        &[format!("-DDOORBELL_PORT={DOORBELL_PORT}")],
    )?)?;
    let mut wrong_entry = sound.clone();
    wrong_entry[24..32].copy_from_slice(&u64::MAX.to_le_bytes());
    let mut wild_headers = sound.clone();
    wild_headers[32..40].copy_from_slice(&(u64::MAX - 7).to_le_bytes());
    let mut many_headers = sound.clone();
    many_headers[56..58].copy_from_slice(&u16::MAX.to_le_bytes());
    let mut huge_segment = sound.clone();
    // The first program header's p_memsz.
    huge_segment[64 + 40..64 + 48].copy_from_slice(&(u64::MAX / 2).to_le_bytes());
    let variants: [(&str, Vec<u8>); 7] = [
        ("empty", Vec::new()),
        ("text", b"not a program\n".to_vec()),
        ("cut after the header", sound[..64].to_vec()),
        ("entry outside the address space", wrong_entry),
        ("program headers outside the file", wild_headers),
        ("too many program headers", many_headers),
        ("a segment larger than the address space", huge_segment),
    ];
    for (what, bytes) in variants {
        let path = dir.path().join("program");
        fs::write(&path, bytes)?;
        let mut command = sprout::command()?;
        command.args(["run", "--memory", "64M", "--"]).arg(&path);
        ensure_refused_or_killed(&run(&mut command, DEADLINE)?, what)?;
    }
    Ok(())
}

/// Refused by words, or started and ended by a signal, as Linux may do it for such a file.
fn ensure_refused_or_killed(outcome: &Outcome, what: &str) -> Result<()> {
    ensure_no_harm(outcome, what)?;
    match outcome.status {
        Some(139) => Ok(()),
        _ => ensure_refused(outcome, what),
    }
}

fn wrong_command_lines() -> Result<()> {
    let lines: [&[&str]; 11] = [
        &["run", "--", "/no/such/program"],
        &["run", "--memory", "0", "--", "/bin/true"],
        &["run", "--memory", "99999999T", "--", "/bin/true"],
        &["run", "--memory", "1M", "--", "/bin/true"],
        &["run", "--vcpus", "0", "--", "/bin/true"],
        &["run", "--vcpus", "17", "--", "/bin/true"],
        &["run", "--vcpus", "two", "--", "/bin/true"],
        &["run", "--image", "no-such-image:1", "--", "/bin/true"],
        &["run", "--image", "../../etc/passwd", "--", "/bin/true"],
        &["run"],
        &["restore", "no-such-snapshot"],
    ];
    let home = tempfile::tempdir()?;
    for line in lines {
        let mut command = sprout::command()?;
        command.env("SPROUT_HOME", home.path()).args(line);
        let outcome = run(&mut command, DEADLINE)?;
        if let Err(error) = ensure_refused(&outcome, &line.join(" ")) {
            bail!("{error:#}\nstandard error: {}", outcome.err());
        }
    }
    Ok(())
}

/// Runs the guest program in a small machine.
fn run_guest(program: &Path, args: &[&str], deadline: Duration) -> Result<Outcome> {
    let mut command = sprout::command()?;
    command
        .args(["run", "--memory", "64M", "--"])
        .arg(program)
        .args(args);
    run(&mut command, deadline)
}

fn wild_guest() -> Result<()> {
    let program = compile("guest", &[])?;
    // What each way to misbehave ends with: a signal, or the program's own answer to an error.
    let ways: [(&str, &[i32], &str); 6] = [
        ("nowhere", &[139], ""),
        ("recurse", &[139], ""),
        ("allocate", &[137], "out of memory"),
        ("map", &[5, 137], ""),
        ("fork", &[6, 137], ""),
        ("threads", &[7], ""),
    ];
    for (way, wanted, words) in ways {
        let outcome = run_guest(&program, &[way], DEADLINE)?;
        ensure_no_harm(&outcome, way)?;
        ensure!(
            outcome
                .status
                .is_some_and(|status| wanted.contains(&status)),
            "{way}: {wanted:?} expected, {outcome:?}"
        );
        ensure!(
            outcome.err().contains(words),
            "{way}: no {words:?} in {}",
            outcome.err()
        );
        // Death for want of memory is always said to be that.
        ensure!(
            outcome.status != Some(137) || outcome.err().contains("out of memory"),
            "{way}: killed without a word"
        );
    }
    Ok(())
}

fn reaching_guest() -> Result<()> {
    let program = compile("guest", &[])?;
    let doctor = run(
        sprout::command()?.args(["doctor", "--require-hardware-isolation"]),
        DEADLINE,
    )?;
    let hardware = doctor.status == Some(0);
    for address in [
        "0xffffffff80000000",
        "0xffffffff80200000",
        "0xffff808000000000",
    ] {
        for way in ["read", "write", "jump"] {
            let what = format!("{way} {address}");
            // Where program and sentry share a privilege level a guest can break its own sentry,
            // and then may hang or stop; the VMM goes on either way.
            let outcome = run_guest(&program, &[way, address], Duration::from_secs(5))?;
            ensure!(
                outcome.killed_by.is_none(),
                "{what}: sprout itself died by signal {:?}",
                outcome.killed_by
            );
            ensure!(
                !hardware || outcome.status == Some(139),
                "{what}: not stopped in hardware mode: {outcome:?}"
            );
        }
    }
    Ok(())
}

fn calling_guest() -> Result<()> {
    let flags = ["-DEVERYTHING", "-Wno-format-truncation", "-Wno-unused"];
    let program = compile_from("programs", "fuzz", &flags.map(str::to_owned))?;
    for range in [
        &["0", "160"][..],
        &["160", "340"],
        &["340", "600"],
        &["wild"],
    ] {
        let outcome = run_guest(&program, range, Duration::from_secs(120))?;
        ensure_no_harm(&outcome, &range.join(" "))?;
        ensure!(
            outcome.status == Some(0),
            "calls {range:?} end with {:?}:\n{}\n{}",
            outcome.status,
            outcome.out().lines().last().unwrap_or_default(),
            outcome.err()
        );
    }
    Ok(())
}

//! `sprout run` as a command among others: its streams, its terminal, its signals, its end.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use libtest_mimic::{Arguments, Trial};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Termios, Winsize, tcgetattr, tcsetwinsize};
use sprout_tests::run::{Outcome, kill_group, run, shell_status, wait};
use sprout_tests::{programs, source_dir, sprout, target_dir};

const DEADLINE: Duration = Duration::from_secs(60);

type Test = fn() -> Result<()>;

const TESTS: &[(&str, Test)] = &[
    ("streams_that_are_pipes_are_no_terminals", pipes),
    (
        "streams_that_are_terminals_are_the_guests_terminal",
        terminals,
    ),
    ("standard_input_ends_where_the_hosts_does", standard_input),
    ("input_comes_to_a_reader_beside_a_busy_thread", busy),
    ("freed_memory_goes_back_to_the_host", given_back),
    ("raw_mode_is_the_terminals_and_is_undone", raw_mode),
    (
        "raw_mode_is_undone_when_the_program_is_killed",
        raw_mode_killed,
    ),
    ("lines_are_edited_by_the_terminal", lines),
    ("the_interrupt_key_reaches_the_program", interrupt_key),
    ("the_window_has_the_terminals_size", window),
    ("signals_reach_the_program", signals),
    ("a_program_that_ignores_sigterm_dies_with_sprout", ignored),
    ("a_reader_that_goes_away_is_sigpipe", reader_gone),
    ("a_time_limit_ends_the_program", time_limit),
    ("the_exit_status_is_the_programs", exit_status),
    ("stats_show_phases_and_counters", stats),
    ("strace_decodes_arguments", strace),
    ("strace_filters_calls", strace_filter),
    ("strace_shows_deaths", strace_death),
    ("programs_that_can_not_be_run_are_explained", bad_programs),
    ("doctor_grades_its_checks", doctor),
];

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let trials = TESTS
        .iter()
        .map(|(name, test)| {
            Trial::test(*name, move || {
                sprout::kvm()
                    .and_then(|()| test())
                    .map_err(|error| format!("{error:#}").into())
            })
        })
        .collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// The program that runs inside.
fn guest() -> Result<PathBuf> {
    static BUILD: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let sources = source_dir().join("guests");
    let out = target_dir().join("sprout-tests/guests");
    let cases = programs::cases(&sources)?;
    let _one = BUILD.lock().unwrap_or_else(|error| error.into_inner());
    programs::build(&source_dir().join("guests"), &out, &cases)?;
    Ok(out.join("terminal"))
}

fn sprout_run(options: &[&str], args: &[&str]) -> Result<Command> {
    let mut command = sprout::command()?;
    command
        .args(["run", "--memory", "64M"])
        .args(options)
        .arg("--")
        .arg(guest()?)
        .args(args);
    Ok(command)
}

fn finished(options: &[&str], args: &[&str]) -> Result<Outcome> {
    run(&mut sprout_run(options, args)?, DEADLINE)
}

/// `sprout run` on a pseudo-terminal of its own, as its controlling terminal.
struct Session {
    child: Child,
    master: File,
    /// Kept open, so that the terminal can be looked at after the end.
    slave: OwnedFd,
    seen: String,
}

impl Session {
    fn start(options: &[&str], args: &[&str]) -> Result<Session> {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let name = ptsname(&master, Vec::new())?;
        let slave = rustix::fs::open(
            name.as_c_str(),
            rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY,
            rustix::fs::Mode::empty(),
        )?;
        tcsetwinsize(&slave, window_of(33, 101))?;
        let inner = sprout_run(options, args)?;
        // Makes standard input the controlling terminal of a new session.
        let child = Command::new("setsid")
            .args(["--ctty", "--wait"])
            .arg(inner.get_program())
            .args(inner.get_args())
            .stdin(Stdio::from(slave.try_clone()?))
            .stdout(Stdio::from(slave.try_clone()?))
            .stderr(Stdio::from(slave.try_clone()?))
            .spawn()
            .context("setsid (util-linux) is needed")?;
        Ok(Session {
            child,
            master: File::from(master),
            slave,
            seen: String::new(),
        })
    }

    /// Reads what is written to the terminal until `text` is in it.
    fn expect(&mut self, text: &str) -> Result<()> {
        let end = Instant::now() + DEADLINE;
        while !self.seen.contains(text) {
            ensure!(
                Instant::now() < end,
                "{text:?} does not come; there is {:?}",
                self.seen
            );
            let mut fds = [PollFd::new(&self.master, PollFlags::IN)];
            let second = Timespec {
                tv_sec: 1,
                tv_nsec: 0,
            };
            if poll(&mut fds, Some(&second))? > 0 {
                let mut bytes = [0; 4096];
                let count = self.master.read(&mut bytes)?;
                self.seen += &String::from_utf8_lossy(&bytes[..count]);
            }
        }
        Ok(())
    }

    fn type_in(&mut self, bytes: &[u8]) -> Result<()> {
        self.master.write_all(bytes).map_err(Into::into)
    }

    fn modes(&self) -> Result<Termios> {
        tcgetattr(&self.slave).map_err(Into::into)
    }

    fn status(&mut self) -> Result<i32> {
        match wait(&mut self.child, DEADLINE)? {
            Some(status) => Ok(shell_status(status)),
            None => bail!("does not end; there is {:?}", self.seen),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // A hang-up, should it still run.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn window_of(rows: u16, columns: u16) -> Winsize {
    Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    }
}

fn same_modes(before: &Termios, after: &Termios) -> Result<()> {
    ensure!(
        (
            before.input_modes,
            before.output_modes,
            before.control_modes,
            before.local_modes
        ) == (
            after.input_modes,
            after.output_modes,
            after.control_modes,
            after.local_modes
        ),
        "before {before:?}\nafter {after:?}"
    );
    Ok(())
}

fn pipes() -> Result<()> {
    let outcome = finished(&[], &["streams"])?;
    ensure!(outcome.out() == "0 0 0\n/dev/tty: ENXIO\n", "{outcome:?}");
    Ok(())
}

fn terminals() -> Result<()> {
    let mut session = Session::start(&[], &["streams"])?;
    session.expect("1 1 1\r\n/dev/tty: open\r\n/dev/console, foreground: 1\r\n")?;
    ensure!(session.status()? == 0, "{}", session.seen);
    Ok(())
}

fn standard_input() -> Result<()> {
    let mut child = sprout_run(&[], &["count"])?
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut input = child.stdin.take().context("no pipe")?;
    input.write_all(&vec![b'x'; 300_000])?;
    drop(input);
    let output = child.wait_with_output()?;
    ensure!(output.stdout == b"300000\n", "{output:?}");
    Ok(())
}

fn raw_mode() -> Result<()> {
    let mut session = Session::start(&[], &["raw"])?;
    let before = session.modes()?;
    session.expect("raw\n")?;
    let during = session.modes()?;
    ensure!(
        !during
            .local_modes
            .intersects(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG),
        "{during:?}"
    );
    session.type_in(b"a")?;
    session.expect("<61>\n")?;
    session.type_in(b"\x03")?;
    session.expect("<03>\n")?;
    session.type_in(b"q")?;
    ensure!(session.status()? == 0, "{}", session.seen);
    same_modes(&before, &session.modes()?)
}

fn raw_mode_killed() -> Result<()> {
    let mut session = Session::start(&["--timeout", "3s"], &["raw"])?;
    let before = session.modes()?;
    session.expect("raw\n")?;
    session.expect("ran for longer than 3s")?;
    ensure!(session.status()? == 124, "{}", session.seen);
    same_modes(&before, &session.modes()?)
}

fn lines() -> Result<()> {
    let mut session = Session::start(&[], &["lines"])?;
    session.expect("ready")?;
    session.type_in(b"helxx\x7f\x7flo\r")?;
    session.expect("6: hello")?;
    session.type_in(b"more\x04")?;
    session.type_in(b"\x04")?;
    session.expect("4: moreend")?;
    ensure!(session.status()? == 0, "{}", session.seen);
    Ok(())
}

fn interrupt_key() -> Result<()> {
    for how in ["wait", "spin"] {
        let mut session = Session::start(&[], &[how])?;
        session.expect("ready")?;
        session.type_in(b"\x03")?;
        let status = session.status()?;
        ensure!(status == 130, "{how}: {status} {}", session.seen);
    }
    Ok(())
}

fn window() -> Result<()> {
    let mut session = Session::start(&[], &["size"])?;
    session.expect("33 x 101")?;
    tcsetwinsize(&session.slave, window_of(44, 55))?;
    session.expect("44 x 55")?;
    ensure!(session.status()? == 0, "{}", session.seen);
    Ok(())
}

/// Starts the program with its output in a pipe and waits for its first line.
fn started(args: &[&str]) -> Result<(Child, ChildStdout)> {
    started_with(&[], Stdio::null(), args)
}

fn started_with(options: &[&str], input: Stdio, args: &[&str]) -> Result<(Child, ChildStdout)> {
    let mut child = sprout_run(options, args)?
        .stdin(input)
        .stdout(Stdio::piped())
        .spawn()?;
    let mut out = child.stdout.take().context("no pipe")?;
    let mut line = [0; 6];
    out.read_exact(&mut line)?;
    ensure!(&line == b"ready\n", "{line:?}");
    Ok((child, out))
}

/// With several vCPUs one that is idle watches the input, though a task of another one wants it.
fn busy() -> Result<()> {
    for vcpus in ["1", "2"] {
        let (mut child, _out) = started_with(&["--vcpus", vcpus], Stdio::piped(), &["busy"])?;
        // The reader waits by then, and the other vCPU sleeps.
        std::thread::sleep(Duration::from_millis(100));
        let mut input = child.stdin.take().context("no pipe")?;
        input.write_all(b"x")?;
        let status = wait(&mut child, Duration::from_secs(10))?.map(shell_status);
        child.kill()?;
        ensure!(status == Some(0), "{vcpus} vCPUs: {status:?}");
    }
    Ok(())
}

/// Whether the program idles or computes: what it freed is not the host's burden any more.
fn given_back() -> Result<()> {
    for then in ["wait", "compute"] {
        let (mut child, mut out) = started_with(&[], Stdio::piped(), &["free", "40", then])?;
        // What is made ready ahead is there by then.
        std::thread::sleep(Duration::from_millis(300));
        let with = resident(&child)?;
        let mut input = child.stdin.take().context("no pipe")?;
        input.write_all(b"x")?;
        let mut line = [0; 6];
        out.read_exact(&mut line)?;
        ensure!(&line == b"freed\n", "{line:?}");
        let end = Instant::now() + DEADLINE;
        loop {
            let now = resident(&child)?;
            // 40 MiB less a block at each end.
            if with.saturating_sub(now) >= 36 << 20 {
                break;
            }
            ensure!(
                Instant::now() < end,
                "{then}: {with} bytes before, {now} after"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        kill_group_of(&mut child)?;
    }
    Ok(())
}

/// Bytes of memory a process has for itself.
fn resident(child: &Child) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id()))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|line| line.split_whitespace().next());
    Ok(kib.context("no RssAnon")?.parse::<u64>()? << 10)
}

fn send(child: &Child, signal: Signal) -> Result<()> {
    let pid = Pid::from_raw(child.id().cast_signed()).context("no pid")?;
    kill_process(pid, signal).map_err(Into::into)
}

fn signals() -> Result<()> {
    let sent = [
        (Signal::HUP, 1),
        (Signal::INT, 2),
        (Signal::QUIT, 3),
        (Signal::USR1, 10),
        (Signal::USR2, 12),
        (Signal::TERM, 15),
    ];
    let (mut child, mut out) = started(&["catch", "1", "2", "3", "4", "5", "6"])?;
    for (signal, number) in sent {
        send(&child, signal)?;
        let wanted = format!("got {number}\n");
        let mut got = vec![0; wanted.len()];
        out.read_exact(&mut got)?;
        ensure!(got == wanted.as_bytes(), "{number}: {got:?}");
    }
    let status = wait(&mut child, DEADLINE)?.map(shell_status);
    ensure!(status == Some(0), "{status:?}");
    for how in ["wait", "spin"] {
        let (mut child, _out) = started(&[how])?;
        send(&child, Signal::TERM)?;
        let status = wait(&mut child, DEADLINE)?.map(shell_status);
        ensure!(status == Some(143), "{how}: {status:?}");
    }
    Ok(())
}

fn ignored() -> Result<()> {
    let (mut child, mut out) = started(&["wait", "15"])?;
    send(&child, Signal::TERM)?;
    let status = wait(&mut child, Duration::from_secs(1))?;
    ensure!(status.is_none(), "{status:?}");
    kill_group_of(&mut child)?;
    // Nothing holds the pipe any more.
    let mut rest = Vec::new();
    out.read_to_end(&mut rest)?;
    ensure!(rest.is_empty(), "{rest:?}");
    Ok(())
}

fn kill_group_of(child: &mut Child) -> Result<()> {
    send(child, Signal::KILL)?;
    let status = wait(child, DEADLINE)?.map(shell_status);
    ensure!(status == Some(137), "{status:?}");
    Ok(())
}

fn reader_gone() -> Result<()> {
    for (args, wanted, said) in [
        (&["flood"][..], 141, ""),
        (&["flood", "ignore"], 3, "write: EPIPE\n"),
    ] {
        let mut child = sprout_run(&["--stats"], args)?
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut out = child.stdout.take().context("no pipe")?;
        out.read_exact(&mut [0; 100])?;
        drop(out);
        let output = child.wait_with_output()?;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(
            shell_status(output.status) == wanted && text.starts_with(said),
            "{:?} {text}",
            output.status
        );
    }
    // Nobody reads anything at all.
    let mut child = sprout_run(&["--stats"], &["die", "15"])?
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    drop((child.stdout.take(), child.stderr.take()));
    let status = wait(&mut child, DEADLINE)?.map(shell_status);
    ensure!(status == Some(143), "{status:?}");
    Ok(())
}

fn time_limit() -> Result<()> {
    for args in [&["wait", "15"][..], &["spin"]] {
        let outcome = finished(&["--timeout", "1500ms"], args)?;
        ensure!(
            outcome.status == Some(124) && outcome.err().contains("--timeout"),
            "{outcome:?}"
        );
    }
    // A program that is stuck in its output is ended too.
    let mut child = sprout_run(&["--timeout", "1500ms"], &["flood"])?
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let status = wait(&mut child, DEADLINE)?.map(shell_status);
    if status.is_none() {
        kill_group(&mut child);
    }
    ensure!(status == Some(124), "{status:?}");
    let outcome = finished(&["--timeout", "soon"], &["wait"])?;
    ensure!(outcome.status == Some(2), "{outcome:?}");
    Ok(())
}

fn exit_status() -> Result<()> {
    for (signal, wanted) in [("6", 134), ("9", 137), ("11", 139), ("15", 143)] {
        let outcome = finished(&[], &["die", signal])?;
        ensure!(
            outcome.status == Some(wanted) && outcome.err().is_empty(),
            "{outcome:?}"
        );
    }
    Ok(())
}

fn traced(option: &str, args: &[&str]) -> Result<Outcome> {
    let program = guest()?.with_file_name("calls");
    let mut command = sprout::command()?;
    command
        .args(["run", "--memory", "64M", option, "--"])
        .arg(program)
        .args(args);
    run(&mut command, DEADLINE)
}

/// Each text must be on a line of its own, in this order.
fn in_order(trace: &str, wanted: &[&str]) -> Result<()> {
    let mut lines = trace.lines();
    for text in wanted {
        ensure!(
            lines.any(|line| line.contains(text)),
            "{text:?} is not there, or not at its place, in:\n{trace}"
        );
    }
    Ok(())
}

fn strace() -> Result<()> {
    let outcome = traced("--strace", &[])?;
    ensure!(outcome.status == Some(0), "{outcome:?}");
    in_order(
        &outcome.err(),
        &[
            r#"openat(AT_FDCWD, "file", O_RDWR|O_CREAT|O_TRUNC, 0640) = 3"#,
            r#"write(3, "some \"text\"\n", 12) = 12"#,
            "lseek(3, 0, SEEK_SET) = 0",
            r#"read(3, "some \"text\"\n", 64) = 12"#,
            "{st_mode=S_IFREG|0640, st_size=12, ...}",
            "close(3) = 0",
            r#""/no/such/file", O_RDONLY|O_CLOEXEC) = -1 ENOENT (No such file or directory)"#,
            "mmap(NULL, 8192, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x",
            ", 4096, PROT_READ) = 0",
            "rt_sigaction(SIGUSR1, {sa_handler=0x",
            "--- SIGUSR1 {si_signo=SIGUSR1, si_code=SI_TKILL, si_pid=1, si_uid=0} ---",
            "socket(AF_INET, SOCK_STREAM|SOCK_CLOEXEC, 0) = 3",
            r#"connect(3, {sa_family=AF_INET, sin_port=htons(1), sin_addr=inet_addr("127.0.0.1")}, 16) = -1 ECONNREFUSED (Connection refused)"#,
            "pipe2([4, 5], 0) = 0",
            r#"writev(5, [{iov_base="ab", iov_len=2}, {iov_base="c", iov_len=1}], 2) = 3"#,
            r#"read(4, "abc", 3) = 3"#,
            "poll([{fd=4, events=POLLIN}], 1, 0) = 0",
            "{tv_sec=0, tv_nsec=1000}",
            "CLONE_CHILD_SETTID",
            "+++ exited with 3 +++",
            "read(4,  <unfinished ...>",
            r#"<... read resumed>"x", 1) = 1"#,
            "exit_group(0) = ?",
            "+++ exited with 0 +++",
        ],
    )?;
    in_order(
        &outcome.err(),
        &["sa_mask=[TERM], sa_flags=SA_RESTORER|SA_RESTART"],
    )?;
    in_order(
        &outcome.err(),
        &["<... wait4 resumed>[{WIFEXITED(s) && WEXITSTATUS(s) == 3}], 0, NULL) = "],
    )?;
    in_order(&outcome.err(), &["[pid "])
}

fn strace_filter() -> Result<()> {
    let lines = |filter: &str| -> Result<Vec<String>> {
        let outcome = traced(&format!("--strace={filter}"), &[])?;
        ensure!(outcome.status == Some(0), "{outcome:?}");
        Ok(outcome
            .err()
            .lines()
            .filter(|line| line.contains('(') && !line.contains("---"))
            .map(str::to_owned)
            .collect())
    };
    for line in lines("socket,connect")? {
        ensure!(
            line.contains("socket(") || line.contains("connect("),
            "{line}"
        );
    }
    ensure!(lines("trace=%network")?.len() == 2, "sockets only");
    let memory = lines("%memory")?;
    ensure!(
        memory.iter().any(|line| line.contains("munmap(")),
        "{memory:?}"
    );
    ensure!(
        !memory.iter().any(|line| line.contains("read(")),
        "{memory:?}"
    );
    let rest = lines("!%memory")?;
    ensure!(
        !rest.iter().any(|line| line.contains("munmap(")),
        "{rest:?}"
    );
    let wrong = traced("--strace=opne", &[])?;
    ensure!(
        wrong.status == Some(2) && wrong.err().contains("no system call is named \"opne\""),
        "{wrong:?}"
    );
    Ok(())
}

fn strace_death() -> Result<()> {
    let outcome = traced("--strace=none", &["fault"])?;
    ensure!(outcome.status == Some(139), "{outcome:?}");
    in_order(
        &outcome.err(),
        &[
            "--- SIGSEGV {si_signo=SIGSEGV, si_code=SEGV_MAPERR, si_addr=0x8} ---",
            "+++ killed by SIGSEGV",
        ],
    )
}

fn bad_programs() -> Result<()> {
    let home = tempfile::tempdir()?;
    let sound = std::fs::read(guest()?)?;
    let with = |at: usize, bytes: &[u8]| {
        let mut changed = sound.clone();
        changed[at..at + bytes.len()].copy_from_slice(bytes);
        changed
    };
    let file = |name: &str, content: &[u8], mode: u32| -> Result<PathBuf> {
        use std::os::unix::fs::PermissionsExt;
        let path = home.path().join(name);
        std::fs::write(&path, content)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode))?;
        Ok(path)
    };
    let cases = [
        (home.path().join("missing"), 127, "No such file"),
        (home.path().to_owned(), 126, "a directory"),
        (file("plain", &sound, 0o644)?, 126, "chmod +x"),
        (
            file("script", b"#!/bin/sh\n", 0o755)?,
            126,
            "a script for /bin/sh",
        ),
        (
            file("text", b"text\n", 0o755)?,
            126,
            "not an ELF executable",
        ),
        (
            file("cut", &sound[..9000], 0o755)?,
            126,
            "truncated: it has 9000 bytes",
        ),
        (file("arm", &with(18, &[183, 0]), 0o755)?, 126, "(arm64)"),
        (
            file("narrow", &with(4, &[1]), 0o755)?,
            126,
            "another architecture",
        ),
    ];
    for (path, status, text) in cases {
        let mut command = sprout::command()?;
        command.args(["run", "--"]).arg(&path);
        let outcome = run(&mut command, DEADLINE)?;
        let names_it = outcome.err().contains(&*path.to_string_lossy());
        ensure!(
            outcome.status == Some(status) && outcome.err().contains(text) && names_it,
            "{path:?}: {outcome:?}"
        );
    }
    let kernels = [
        (home.path().join("none"), "No such file"),
        (file("kernel", b"text", 0o644)?, "no intact ELF"),
        (
            file("program", &sound, 0o755)?,
            "the kernel is an ELF file, but",
        ),
    ];
    for (path, text) in kernels {
        let mut command = sprout::command()?;
        command
            .args(["run", "--kernel"])
            .arg(&path)
            .arg("--")
            .arg(guest()?);
        let outcome = run(&mut command, DEADLINE)?;
        ensure!(
            outcome.status == Some(125)
                && outcome.err().contains(text)
                && outcome.err().contains("--kernel"),
            "{path:?}: {outcome:?}"
        );
    }
    let large = with(0, &sound[..1]).into_iter().chain(vec![0; 20 << 20]);
    let large = file("large", &large.collect::<Vec<u8>>(), 0o755)?;
    let mut command = sprout::command()?;
    command.args(["run", "--memory", "16M", "--"]).arg(large);
    let outcome = run(&mut command, DEADLINE)?;
    ensure!(
        outcome.status == Some(125) && outcome.err().contains("give it more (--memory)"),
        "{outcome:?}"
    );
    Ok(())
}

fn doctor() -> Result<()> {
    let outcome = run(sprout::command()?.args(["doctor", "--json"]), DEADLINE)?;
    let checks: Vec<serde_json::Value> = serde_json::from_slice(&outcome.stdout)?;
    for name in [
        "kvm",
        "isolation",
        "processor",
        "memory",
        "huge pages",
        "seccomp",
        "files",
    ] {
        ensure!(
            checks.iter().any(|check| check["name"] == name),
            "no {name}"
        );
    }
    let problems = checks.iter().any(|check| check["grade"] == "problem");
    ensure!(outcome.status == Some(i32::from(problems)), "{outcome:?}");
    for check in &checks {
        let must_have = check["grade"] != "ok";
        ensure!(check["remedy"].is_string() == must_have, "{check}");
    }
    Ok(())
}

fn stats() -> Result<()> {
    let outcome = finished(&["--stats"], &["streams"])?;
    let text = outcome.err();
    for name in [
        "create ",
        "load ",
        "boot ",
        "run ",
        "exit ",
        "kvm.exits ",
        "sentry.syscalls ",
    ] {
        let found = text
            .lines()
            .any(|line| line.starts_with(name) || format!("sentry.{line}").starts_with(name));
        ensure!(found, "no {name:?} in:\n{text}");
    }
    Ok(())
}

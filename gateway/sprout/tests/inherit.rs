//! What the processes with guests in them have from whoever started the gateway: nothing.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const WORKERS: usize = 2;

/// A number far from those in use.
const DESCRIPTOR: i32 = 200;

struct Gateway(Child);

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Gateway {
    /// Started as carelessly as can be: signals ignored and blocked, a descriptor left open, in a
    /// directory, with a secret in the environment.
    #[allow(unsafe_code)]
    fn start(directory: &Path, secret: &File) -> Self {
        let secret = secret.as_raw_fd();
        let mut command = Command::new(env!("CARGO_BIN_EXE_sprout"));
        command
            .args(["serve", "--listen", "127.0.0.1:0"])
            .args(["--workers", &WORKERS.to_string()])
            .env("SPROUT_HOME", directory)
            .env("ODD_SECRET", "hidden")
            .env("SPROUT_LOG", "warn")
            .current_dir(directory)
            .stdin(Stdio::piped())
            .stderr(Stdio::piped());
        // SAFETY: the closure makes only system calls that a child may make before exec.
        unsafe {
            command.pre_exec(move || {
                if libc::dup2(secret, DESCRIPTOR) == -1 {
                    return Err(std::io::Error::last_os_error());
                }
                libc::umask(0);
                libc::signal(libc::SIGHUP, libc::SIG_IGN);
                libc::signal(libc::SIGUSR1, libc::SIG_IGN);
                let mut set = std::mem::zeroed();
                libc::sigemptyset(&mut set);
                libc::sigaddset(&mut set, libc::SIGUSR2);
                libc::sigprocmask(libc::SIG_BLOCK, &set, std::ptr::null_mut());
                Ok(())
            });
        }
        let mut child = command.spawn().expect("sprout serve");
        let mut lines = BufReader::new(child.stderr.take().expect("standard error")).lines();
        let gateway = Self(child);
        let line = lines.next().expect("a line").expect("text");
        assert!(line.contains("listening on"), "{line}");
        // Read on, so that nobody waits or ends because of it.
        std::thread::spawn(move || lines.for_each(|line| println!("{line:?}")));
        gateway
    }

    /// The nursery and its workers, once all are there and each has its VM.
    fn children(&self) -> Vec<PathBuf> {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let children = children_of(self.0.id());
            let with_vm = |child: &&PathBuf| has_vm(child);
            if children.len() == 1 + WORKERS && children.iter().filter(with_vm).count() == WORKERS {
                return children;
            }
            assert!(Instant::now() < deadline, "no workers: {children:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn children_of(pid: u32) -> Vec<PathBuf> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).expect("threads");
    let lists = threads.map(|thread| {
        let path = thread.expect("thread").path().join("children");
        std::fs::read_to_string(path).expect("the kernel's list of children")
    });
    let lists: Vec<String> = lists.collect();
    let pids = lists.iter().flat_map(|list| list.split_whitespace());
    pids.map(|pid| Path::new("/proc").join(pid)).collect()
}

/// Numbers of open descriptors and what they lead to. Nothing that can't be read is passed over.
fn descriptors(process: &Path) -> Vec<(i32, String)> {
    let entries = std::fs::read_dir(process.join("fd")).expect("only root looks into workers");
    let mut all: Vec<_> = entries
        .map(|entry| {
            let path = entry.expect("descriptor").path();
            let number = path.file_name().and_then(|name| name.to_str());
            let number = number.expect("name").parse().expect("number");
            let target = std::fs::read_link(path).expect("target");
            (number, target.display().to_string())
        })
        .collect();
    all.sort();
    all
}

fn has_vm(process: &Path) -> bool {
    std::fs::read_dir(process.join("fd")).is_ok_and(|entries| {
        let mut links = entries.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
        links.any(|link| link.to_string_lossy().contains("kvm-vcpu"))
    })
}

/// A mask of `/proc/PID/status`.
fn mask(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    u64::from_str_radix(line.expect(name).trim(), 16).expect("a mask")
}

#[test]
fn nursery_and_workers_have_nothing_from_who_started_the_gateway() {
    let directory = tempfile::tempdir().expect("directory");
    let secret = tempfile::tempfile_in(directory.path()).expect("file");
    let gateway = Gateway::start(directory.path(), &secret);
    // The gateway itself has all of it: what follows is no accident.
    let own = Path::new("/proc").join(gateway.0.id().to_string());
    assert!(descriptors(&own).iter().any(|(fd, _)| *fd == DESCRIPTOR));
    let environment = std::fs::read_to_string(own.join("environ")).expect("environment");
    assert!(environment.contains("ODD_SECRET=hidden"));
    for child in gateway.children() {
        let environment = std::fs::read_to_string(child.join("environ")).expect("environment");
        for variable in environment.split_terminator('\0') {
            let (name, _) = variable.split_once('=').expect("a variable");
            let known = ["SPROUT_LOG", "RUST_BACKTRACE", "RUST_LIB_BACKTRACE"];
            assert!(known.contains(&name), "{variable}");
        }
        assert!(environment.contains("SPROUT_LOG=warn\0"), "{environment:?}");

        let descriptors = descriptors(&child);
        for (fd, target) in &descriptors {
            let kind = match fd {
                0 | 1 => target == "/dev/null",
                2 => target.starts_with("pipe:"),
                _ => [
                    "socket:",
                    "anon_inode:kvm-",
                    "anon_inode:[event",
                    "/dev/kvm",
                ]
                .iter()
                .any(|kind| target.starts_with(kind)),
            };
            assert!(kind, "{fd} leads to {target}: {descriptors:?}");
        }
        let sockets = descriptors
            .iter()
            .filter(|(_, to)| to.starts_with("socket:"));
        assert_eq!(sockets.count(), 1, "{descriptors:?}");

        let cwd = std::fs::read_link(child.join("cwd")).expect("directory");
        assert_eq!(cwd, Path::new("/"));
        let status = std::fs::read_to_string(child.join("status")).expect("status");
        // The standard library ignores SIGPIPE: writing fails instead.
        assert_eq!(mask(&status, "SigIgn:"), 1 << (libc::SIGPIPE - 1));
        assert_eq!(mask(&status, "SigBlk:"), 0);
        let umask = status.lines().find_map(|line| line.strip_prefix("Umask:"));
        assert_eq!(umask.expect("umask").trim(), "0077");
        let stat = std::fs::read_to_string(child.join("stat")).expect("stat");
        // After the name: state, parent, group, session, terminal.
        let fields = stat.rsplit_once(')').expect("a name").1;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let session: u32 = fields[3].parse().expect("session");
        assert!(
            children_of(gateway.0.id()).contains(&Path::new("/proc").join(session.to_string()))
        );
        assert_eq!(fields[4], "0", "no terminal");
    }
}

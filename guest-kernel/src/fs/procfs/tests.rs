use super::*;
use crate::errno::{Errno, Result};
use crate::fs::fd::{FdTable, FsContext};
use crate::fs::file::{OpenFile, OpenFlags};
use crate::fs::inode::{FileKind, LinkTarget};
use crate::fs::path::{Context, Follow, resolve};
use crate::fs::testing::NullFile;
use crate::io::{Destination, Source};
use crate::mm::AddressSpace;
use crate::sync::{Lock, Rank};
use crate::time::CpuTime;
use alloc::string::String;
use alloc::vec::Vec;

/// One process, 7, with threads 7 and 9; descriptor 3 is open.
struct OneProcess;

static RENAMED: Lock<Vec<u8>> = Lock::new(Rank::Leaf, Vec::new());

impl ProcSource for OneProcess {
    fn current(&self) -> Option<(u32, u32)> {
        Some((7, 9))
    }
    fn processes(&self) -> Vec<u32> {
        Vec::from([7])
    }
    fn threads(&self, pid: u32) -> Vec<u32> {
        if pid == 7 {
            Vec::from([7, 9])
        } else {
            Vec::new()
        }
    }
    fn process_of(&self, id: u32) -> Option<u32> {
        matches!(id, 7 | 9).then_some(7)
    }
    fn process(&self, pid: u32) -> Option<ProcessInfo> {
        if pid != 7 {
            return None;
        }
        let mut files = FdTable::new();
        let open = || OpenFile::new(Arc::new(NullFile), OpenFlags::RDWR, Vec::new());
        files.insert_from(3, open(), true).ok()?;
        Some(ProcessInfo {
            pid,
            parent: 1,
            group: 7,
            session: 7,
            zombie: false,
            cpu: CpuTime {
                total_ns: 50_000_000,
                system_ns: 30_000_000,
            },
            children_cpu: CpuTime::default(),
            start_ns: 0,
            threads: 2,
            space: Arc::new(AddressSpace::new().ok()?),
            files: Arc::new(Lock::new(Rank::Descriptors, files)),
            fs: Arc::new(Lock::new(Rank::FsContext, FsContext::new(proc_root()))),
            exe: b"/bin/program".to_vec(),
            cmdline: b"program\0-x\0".to_vec(),
            environ: b"A=1\0".to_vec(),
            auxv: Vec::from([6, 4096, 0, 0]),
            limits: Vec::from([(1, u64::MAX); 16]),
            oom_score_adj: 0,
            queued_signals: 3,
            pending: 0,
            ignored: 1 << 12,
            caught: 0,
        })
    }
    fn thread(&self, pid: u32, tid: u32) -> Option<ThreadInfo> {
        let name = if tid == 7 {
            b"main".to_vec()
        } else {
            b"worker (2)".to_vec()
        };
        let info = ThreadInfo {
            tid,
            name,
            state: 'S',
            cpu_time: CpuTime::default(),
            pending: 0,
            blocked: 0,
            allowed_cpus: 1,
            cpu: 0,
            priority: 25,
            nice: 5,
            real_time_priority: 0,
            policy: 3,
            groups: Vec::from([4, 20]),
            capabilities: [0, 0x1ff, 0x1f, 0x1ff],
            personality: 0x4_0000,
            no_new_privileges: true,
        };
        (pid == 7 && (tid == 7 || tid == 9)).then_some(info)
    }
    fn set_oom_score_adj(&self, _: u32, _: i32) -> Result<()> {
        Ok(())
    }
    fn set_thread_name(&self, _: u32, name: &[u8]) -> Result<()> {
        *RENAMED.lock() = name.to_vec();
        Ok(())
    }
    fn system(&self) -> SystemInfo {
        SystemInfo {
            release: "6.1",
            version: "#1",
            host_name: b"guest".to_vec(),
            threads: 2,
            runnable: 1,
            cpu_ns: 0,
            cpuinfo: b"processor\t: 0\n".to_vec(),
            busy_ns: vec![20_000_000, 30_000_000],
        }
    }
}

fn find_in(root: &Arc<dyn Inode>, path: &str) -> Result<Arc<dyn Inode>> {
    set_source(&OneProcess);
    let context = Context { root, start: root };
    resolve(&context, path.as_bytes(), Follow::IfSlash).map(|found| found.inode)
}

fn find(path: &str) -> Result<Arc<dyn Inode>> {
    find_in(&proc_root(), path)
}

fn read(inode: Arc<dyn Inode>) -> String {
    let file = inode.open(OpenFlags::empty(), b"").unwrap();
    let mut bytes = alloc::vec![0; 8192];
    let n = file
        .read_at(&mut Destination::kernel(&mut bytes), 0)
        .unwrap();
    String::from_utf8_lossy(&bytes[..n]).into_owned()
}

fn text(path: &str) -> String {
    read(find(path).unwrap())
}

fn list(path: &str) -> Vec<String> {
    let directory = find(path).unwrap();
    let (mut names, mut cookie) = (Vec::new(), 0);
    loop {
        let (before, from) = (names.len(), cookie);
        let mut one = |entry: crate::fs::inode::DirEntry<'_>| {
            names.push(String::from_utf8_lossy(entry.name).into_owned());
            cookie = entry.next;
            false
        };
        directory.clone().read_dir(from, &mut one).unwrap();
        if names.len() == before {
            return names;
        }
    }
}

#[test]
fn self_leads_to_the_caller() {
    assert_eq!(find("self").unwrap().readlink().unwrap(), b"7");
    assert_eq!(text("self/comm"), "main\n");
    assert_eq!(text("thread-self/comm"), "worker (2)\n");
    assert_eq!(text("7/cmdline"), "program\0-x\0");
    assert_eq!(find("8").err(), Some(Errno::ENOENT));
    assert_eq!(find("07").err(), Some(Errno::ENOENT));
    assert_eq!(find("+7").err(), Some(Errno::ENOENT));
}

#[test]
fn stat_has_52_fields_whatever_the_name() {
    let stat = text("self/task/9/stat");
    assert!(stat.starts_with("9 (worker (2)) S 1 7 7 "));
    let after_name = stat.rsplit_once(')').unwrap().1;
    assert_eq!(after_name.split_whitespace().count(), 50);
    assert_eq!(text("self/stat").split_whitespace().nth(13), Some("2"));
    assert!(text("self/status").contains("SigIgn:\t0000000000001000\n"));
}

#[test]
fn descriptors_are_links_and_infos() {
    assert_eq!(list("self/fd"), ["3"]);
    let link = find("self/fd/3").unwrap();
    assert_eq!(link.kind(), FileKind::Symlink);
    assert_eq!(link.readlink().unwrap(), b"anon_inode:[test]");
    assert!(matches!(link.follow(), Ok(LinkTarget::File(_))));
    assert_eq!(find("self/fd/4").err(), Some(Errno::ENOENT));
    assert!(text("self/fdinfo/3").starts_with("pos:\t0\nflags:\t02000002\n"));
}

#[test]
fn every_listed_name_exists_and_reads() {
    for directory in [
        "/",
        "7",
        "7/task",
        "7/task/9",
        "sys",
        "sys/kernel",
        "sys/kernel/random",
    ] {
        let names = list(directory);
        assert!(!names.is_empty(), "{directory}");
        for name in names {
            let inode = find(&alloc::format!("{directory}/{name}")).unwrap();
            if inode.kind() == FileKind::Regular {
                read(inode);
            }
        }
    }
    assert!(list("/").contains(&"7".into()));
    assert!(!list("7/task/9").contains(&"task".into()));
}

#[test]
fn parents_lead_back() {
    assert_eq!(find("7/fd/..").unwrap().id(), find("7").unwrap().id());
    assert_eq!(
        find("7/task/9/../..").unwrap().id(),
        find("7").unwrap().id()
    );
    assert_eq!(find("7/..").unwrap().id(), find("/").unwrap().id());
    assert_eq!(
        find("sys/kernel/random/..").unwrap().id(),
        find("sys/kernel").unwrap().id()
    );
    assert_eq!(find("sys/..").unwrap().id(), find("/").unwrap().id());
}

#[test]
fn only_names_can_be_written() {
    let open = |path| find(path).unwrap().open(OpenFlags::WRONLY, b"");
    assert_eq!(open("self/stat").err(), Some(Errno::EACCES));
    assert_eq!(open("meminfo").err(), Some(Errno::EACCES));
    let file = open("self/comm").unwrap();
    assert_eq!(file.write_at(&mut Source::kernel(b"name\n"), 0), Ok(5));
    assert_eq!(*RENAMED.lock(), b"name");
}

#[test]
fn system_texts_have_the_forms_programs_parse() {
    let memory = text("meminfo");
    assert!(memory.starts_with("MemTotal:  "));
    let total = memory.lines().next().unwrap();
    assert_eq!(total.split_whitespace().count(), 3);
    let uuid = text("sys/kernel/random/uuid");
    assert_eq!((uuid.len(), uuid.as_bytes()[14]), (37, b'4'));
    assert_ne!(uuid, text("sys/kernel/random/uuid"));
    assert_eq!(
        text("sys/kernel/random/boot_id"),
        text("sys/kernel/random/boot_id")
    );
    assert_eq!(text("uptime").split_whitespace().count(), 2);
    let sys = sys_root();
    assert_eq!(
        read(find_in(&sys, "devices/system/cpu/online").unwrap()),
        "0\n"
    );
    assert_eq!(find_in(&sys, "fs/cgroup").err(), Some(Errno::ENOENT));
}

#[test]
fn processors_are_listed_as_ranges() {
    assert_eq!(super::render::list(1), "0");
    assert_eq!(super::render::list(0b1_0110_0111), "0-2,5-6,8");
    assert_eq!(super::render::list(u64::MAX), "0-63");
    assert_eq!(super::render::list(0), "");
}

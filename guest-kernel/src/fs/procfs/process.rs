//! `/proc/PID`: a directory for each process, and in it one for each thread.

use super::fixed::{FixedNode, NET};
use super::source::{ProcessInfo, ThreadInfo, source};
use super::text::{Text, TextFile, ino_of};
use super::{proc_root, render, system};
use crate::errno::{Errno, Result};
use crate::fs::directory::DirectoryFile;
use crate::fs::file::{File, OpenFile, OpenFlags};
use crate::fs::inode::{
    DeviceNumber, DirEntry, FileKind, FileSystemInfo, Inode, InodeId, LinkTarget, Metadata,
    NewInode,
};
use crate::fs::mount;
use crate::fs::path::{self, Context, Follow, directory_path};
use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;

/// What a node is; in one process, or one thread of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// `/proc/PID`, `/proc/PID/task/TID`.
    Directory,
    /// `task`.
    Threads,
    /// `fd`.
    Descriptors,
    /// `fdinfo`.
    DescriptorInfos,
    /// `fd/N`.
    Descriptor(i32),
    /// `fdinfo/N`.
    DescriptorInfo(i32),
    /// A file or link by its name.
    Named(&'static str, FileKind),
}

/// What is in a process's or thread's directory.
const ENTRIES: &[(&str, Kind)] = &[
    ("auxv", text("auxv")),
    ("cgroup", text("cgroup")),
    ("cmdline", text("cmdline")),
    ("comm", text("comm")),
    ("cwd", link("cwd")),
    ("environ", text("environ")),
    ("exe", link("exe")),
    ("fd", Kind::Descriptors),
    ("fdinfo", Kind::DescriptorInfos),
    ("limits", text("limits")),
    ("maps", text("maps")),
    ("mountinfo", text("mountinfo")),
    ("mounts", text("mounts")),
    ("net", Kind::Named("net", FileKind::Directory)),
    ("oom_score", text("oom_score")),
    ("oom_score_adj", text("oom_score_adj")),
    ("personality", text("personality")),
    ("root", link("root")),
    ("smaps", text("smaps")),
    ("smaps_rollup", text("smaps_rollup")),
    ("stat", text("stat")),
    ("statm", text("statm")),
    ("status", text("status")),
];
/// Only processes have it.
const TASK: (&str, Kind) = ("task", Kind::Threads);

const fn text(name: &'static str) -> Kind {
    Kind::Named(name, FileKind::Regular)
}

const fn link(name: &'static str) -> Kind {
    Kind::Named(name, FileKind::Symlink)
}

impl Kind {
    fn file_kind(self) -> FileKind {
        match self {
            Kind::Directory | Kind::Threads | Kind::Descriptors | Kind::DescriptorInfos => {
                FileKind::Directory
            }
            Kind::Descriptor(_) => FileKind::Symlink,
            Kind::DescriptorInfo(_) => FileKind::Regular,
            Kind::Named(_, kind) => kind,
        }
    }

    fn is_writable(self) -> bool {
        matches!(self, Kind::Named("comm" | "oom_score_adj", _))
    }

    /// The name in the directory it is in.
    fn name(self) -> Vec<u8> {
        match self {
            Kind::Directory => Vec::new(),
            Kind::Threads => b"task".to_vec(),
            Kind::Descriptors => b"fd".to_vec(),
            Kind::DescriptorInfos => b"fdinfo".to_vec(),
            Kind::Descriptor(fd) | Kind::DescriptorInfo(fd) => format!("{fd}").into_bytes(),
            Kind::Named(name, _) => name.as_bytes().to_vec(),
        }
    }

    /// The path below the process's or thread's directory, for inode numbers.
    fn path(self) -> Vec<u8> {
        match self {
            Kind::Descriptor(fd) => format!("fd/{fd}").into_bytes(),
            Kind::DescriptorInfo(fd) => format!("fdinfo/{fd}").into_bytes(),
            other => other.name(),
        }
    }
}

/// A node below `/proc/PID`.
pub struct ProcessNode {
    pid: u32,
    thread: Option<u32>,
    kind: Kind,
}

/// Inode number of `/proc/PID`.
pub fn directory_ino(pid: u32) -> u64 {
    ino(pid, None, Kind::Directory)
}

fn ino(pid: u32, thread: Option<u32>, kind: Kind) -> u64 {
    let mut words = pid.to_le_bytes().to_vec();
    words.extend_from_slice(&thread.unwrap_or(0).to_le_bytes());
    words.extend_from_slice(&kind.path());
    ino_of(&words)
}

/// A decimal number without signs or leading zeroes.
fn number(name: &[u8]) -> Option<u32> {
    let text = core::str::from_utf8(name).ok()?;
    let plain = text.bytes().all(|byte| byte.is_ascii_digit())
        && (text.len() == 1 || !text.starts_with('0'));
    text.parse().ok().filter(|_| plain)
}

impl ProcessNode {
    /// The directory of the process that `name` is the id of.
    pub fn find(name: &[u8]) -> Result<Arc<ProcessNode>> {
        let id = number(name).ok_or(Errno::ENOENT)?;
        // A thread's id will do, though no listing has it.
        let process = source()?.process_of(id).ok_or(Errno::ENOENT)?;
        Ok(Arc::new(ProcessNode {
            pid: process,
            thread: (process != id).then_some(id),
            kind: Kind::Directory,
        }))
    }

    fn sibling(&self, kind: Kind) -> ProcessNode {
        ProcessNode {
            pid: self.pid,
            thread: self.thread,
            kind,
        }
    }

    /// ESRCH once the process is gone.
    fn process(&self) -> Result<ProcessInfo> {
        source()?.process(self.pid).ok_or(Errno::ESRCH)
    }

    fn thread(&self) -> Result<ThreadInfo> {
        let tid = self.thread.unwrap_or(self.pid);
        let source = source()?;
        let thread = source.thread(self.pid, tid).or_else(|| {
            // The first thread may have ended before the others.
            let other = source.threads(self.pid).first().copied()?;
            source.thread(self.pid, other)
        });
        thread.ok_or(Errno::ESRCH)
    }

    fn open_file(&self, fd: i32) -> Result<(Arc<OpenFile>, bool)> {
        let process = source()?.process(self.pid).ok_or(Errno::ENOENT)?;
        let files = process.files.lock();
        let file = files.get(fd).map_err(|_| Errno::ENOENT)?;
        Ok((file, files.close_on_exec(fd).unwrap_or(false)))
    }

    fn entries(&self) -> impl Iterator<Item = (&'static str, Kind)> {
        let task = self.thread.is_none().then_some(TASK);
        ENTRIES.iter().copied().chain(task)
    }

    /// Entries of the directories that are named by numbers.
    fn numbered(&self) -> Result<Vec<u32>> {
        match self.kind {
            Kind::Threads => Ok(source()?.threads(self.pid)),
            Kind::Descriptors | Kind::DescriptorInfos => {
                let process = self.process()?;
                let files = process.files.lock();
                Ok(files.iter().map(|(fd, _)| fd as u32).collect())
            }
            _ => Err(Errno::ENOTDIR),
        }
    }

    /// The entry `number` of such a directory.
    fn numbered_entry(&self, number: u32) -> Result<ProcessNode> {
        let fd = i32::try_from(number).map_err(|_| Errno::ENOENT)?;
        match self.kind {
            Kind::Descriptors => Ok(self.sibling(Kind::Descriptor(fd))),
            Kind::DescriptorInfos => Ok(self.sibling(Kind::DescriptorInfo(fd))),
            Kind::Threads => Ok(ProcessNode {
                pid: self.pid,
                thread: Some(number),
                kind: Kind::Directory,
            }),
            _ => Err(Errno::ENOTDIR),
        }
    }

    /// The path of the process's program.
    fn exe(&self) -> Result<Vec<u8>> {
        let exe = source()?.process(self.pid).ok_or(Errno::ENOENT)?.exe;
        match exe.is_empty() {
            true => Err(Errno::ENOENT),
            false => Ok(exe),
        }
    }

    fn directory_link(&self, directory: Arc<dyn Inode>) -> Result<LinkTarget> {
        let root = mount::root()?;
        let path = directory_path(&root, &directory).unwrap_or_else(|_| b"/ (deleted)".to_vec());
        Ok(LinkTarget::Inode(directory, path))
    }
}

impl Text for ProcessNode {
    fn text(&self) -> Result<Vec<u8>> {
        let process = self.process()?;
        if let Kind::DescriptorInfo(fd) = self.kind {
            let (file, close_on_exec) = self.open_file(fd)?;
            return render::descriptor(&file, close_on_exec);
        }
        let Kind::Named(name, FileKind::Regular) = self.kind else {
            return Err(Errno::EINVAL);
        };
        Ok(match name {
            "auxv" => render::auxv(&process),
            "cgroup" => b"0::/\n".to_vec(),
            "cmdline" => process.cmdline,
            "comm" => {
                let mut name = self.thread()?.name;
                name.push(b'\n');
                name
            }
            "environ" => process.environ,
            "limits" => render::limits(&process),
            "maps" => render::areas(|out| process.space.write_maps(out))?,
            "mountinfo" => system::mount_info(),
            "mounts" => system::mounts(),
            "oom_score" => b"0\n".to_vec(),
            "oom_score_adj" => format!("{}\n", process.oom_score_adj).into_bytes(),
            "personality" => format!("{:08x}\n", self.thread()?.personality).into_bytes(),
            "smaps" => render::areas(|out| process.space.write_smaps(out))?,
            "smaps_rollup" => render::areas(|out| process.space.write_smaps_rollup(out))?,
            "stat" => render::stat(&process, &self.thread()?, self.thread.is_some()),
            "statm" => render::statm(&process.space),
            "status" => render::status(&process, &self.thread()?),
            _ => return Err(Errno::ENOENT),
        })
    }

    fn set_text(&self, text: &[u8]) -> Result<()> {
        let text = text.strip_suffix(b"\n").unwrap_or(text);
        match self.kind {
            Kind::Named("comm", _) => {
                source()?.set_thread_name(self.thread.unwrap_or(self.pid), text)
            }
            Kind::Named("oom_score_adj", _) => {
                let value = core::str::from_utf8(text).ok();
                let value = value.and_then(|text| text.trim().parse().ok());
                let value = value.filter(|value| (-1000..=1000).contains(value));
                source()?.set_oom_score_adj(self.pid, value.ok_or(Errno::EINVAL)?)
            }
            _ => Err(Errno::EACCES),
        }
    }
}

impl Inode for ProcessNode {
    fn id(&self) -> InodeId {
        InodeId {
            dev: DeviceNumber::PROC,
            ino: ino(self.pid, self.thread, self.kind),
        }
    }

    fn kind(&self) -> FileKind {
        self.kind.file_kind()
    }

    fn metadata(&self) -> Result<Metadata> {
        let mode = match (self.kind(), self.kind) {
            (FileKind::Directory, _) => 0o555,
            (FileKind::Symlink, _) => 0o777,
            _ if self.kind.is_writable() => 0o644,
            _ => 0o444,
        };
        let nlink = if self.kind() == FileKind::Directory {
            2
        } else {
            1
        };
        Ok(Metadata {
            nlink,
            ..Metadata::anonymous(self.id(), self.kind(), mode)
        })
    }

    fn open(self: Arc<Self>, flags: OpenFlags, _: &[u8]) -> Result<Arc<dyn File>> {
        match self.kind() {
            FileKind::Directory => Ok(Arc::new(DirectoryFile::new(self))),
            FileKind::Symlink => Err(Errno::ELOOP),
            _ if flags.writable() && !self.kind.is_writable() => Err(Errno::EACCES),
            _ => Ok(Arc::new(TextFile::new(self))),
        }
    }

    fn lookup(self: Arc<Self>, name: &[u8]) -> Result<Arc<dyn Inode>> {
        if self.kind == Kind::Directory {
            let found = self.entries().find(|(entry, _)| entry.as_bytes() == name);
            let (_, kind) = found.ok_or(Errno::ENOENT)?;
            if kind == Kind::Named("net", FileKind::Directory) {
                return Ok(FixedNode::root_in(&NET, Some((self, "net"))));
            }
            return Ok(Arc::new(self.sibling(kind)));
        }
        if self.kind() != FileKind::Directory {
            return Err(Errno::ENOTDIR);
        }
        let number = number(name).ok_or(Errno::ENOENT)?;
        let numbers = self.numbered().map_err(|_| Errno::ENOENT)?;
        if !numbers.contains(&number) {
            return Err(Errno::ENOENT);
        }
        Ok(Arc::new(self.numbered_entry(number)?))
    }

    fn parent(&self) -> Option<(Arc<dyn Inode>, Vec<u8>)> {
        match (self.kind, self.thread) {
            (Kind::Directory, None) => Some((proc_root(), format!("{}", self.pid).into_bytes())),
            (Kind::Directory, Some(tid)) => {
                let tasks = ProcessNode {
                    pid: self.pid,
                    thread: None,
                    kind: Kind::Threads,
                };
                Some((Arc::new(tasks), format!("{tid}").into_bytes()))
            }
            (kind, _) => Some((Arc::new(self.sibling(Kind::Directory)), kind.name())),
        }
    }

    fn create(self: Arc<Self>, _: &[u8], _: &NewInode<'_>) -> Result<Arc<dyn Inode>> {
        Err(Errno::ENOENT)
    }

    fn read_dir(
        self: Arc<Self>,
        cookie: u64,
        sink: &mut dyn FnMut(DirEntry<'_>) -> bool,
    ) -> Result<()> {
        const FIRST: u64 = 3;
        if self.kind == Kind::Directory {
            for (position, (name, kind)) in self.entries().enumerate() {
                let next = FIRST + position as u64;
                let ino = ino(self.pid, self.thread, kind);
                let (name, kind) = (name.as_bytes(), kind.file_kind());
                if next > cookie
                    && !sink(DirEntry {
                        name,
                        ino,
                        kind,
                        next,
                    })
                {
                    break;
                }
            }
            return Ok(());
        }
        for number in self.numbered()? {
            // Each number is its own cookie, so a listing survives what comes and goes.
            let next = FIRST + u64::from(number);
            let node = self.numbered_entry(number)?;
            let name = format!("{number}");
            let (ino, kind) = (node.id().ino, node.kind());
            if next > cookie
                && !sink(DirEntry {
                    name: name.as_bytes(),
                    ino,
                    kind,
                    next,
                })
            {
                break;
            }
        }
        Ok(())
    }

    fn readlink(&self) -> Result<Vec<u8>> {
        if let Kind::Descriptor(fd) = self.kind {
            return Ok(render::descriptor_target(&self.open_file(fd)?.0));
        }
        if self.kind == Kind::Named("exe", FileKind::Symlink) {
            return self.exe();
        }
        match self.follow()? {
            LinkTarget::Path(path) | LinkTarget::Inode(_, path) => Ok(path),
            LinkTarget::File(file) => Ok(file.describe()),
        }
    }

    fn follow(&self) -> Result<LinkTarget> {
        match self.kind {
            Kind::Descriptor(fd) => {
                let (file, _) = self.open_file(fd)?;
                match file.file().inode() {
                    Some(inode) => Ok(LinkTarget::Inode(inode, render::descriptor_target(&file))),
                    None => Ok(LinkTarget::File(file.file().clone())),
                }
            }
            Kind::Named("exe", FileKind::Symlink) => {
                // It leads to the file, whatever the root of who follows it is.
                let exe = self.exe()?;
                let root = mount::root()?;
                let context = Context {
                    root: &root,
                    start: &root,
                };
                let found = path::resolve(&context, &exe, Follow::Always)?;
                Ok(LinkTarget::Inode(found.inode, exe))
            }
            Kind::Named(name @ ("cwd" | "root"), FileKind::Symlink) => {
                let process = source()?.process(self.pid).ok_or(Errno::ENOENT)?;
                let fs = process.fs.lock().clone();
                self.directory_link(if name == "cwd" { fs.cwd } else { fs.root })
            }
            _ => Err(Errno::EINVAL),
        }
    }

    fn file_system(&self) -> FileSystemInfo {
        proc_root().file_system()
    }

    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}

//! Gathers a tree from a directory of the host.

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, Metadata};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use super::content::unreadable;
use super::long_path::reach;
use super::{
    Attributes, Bytes, Content, Directory, File, HostFile, Leaf, Node, Special, Time, Tree,
    TreeKind, check_name, check_target,
};
use crate::{Error, Result};

/// Types of file systems whose files are the running kernel's, not the directory's.
const KERNEL_FILE_SYSTEMS: [u64; 10] = [
    0x9fa0,      // proc
    0x6265_6572, // sysfs
    0x1cd1,      // devpts
    0x0027_e0eb, // cgroup
    0x6367_7270, // cgroup2
    0x6462_6720, // debugfs
    0x7472_6163, // tracefs
    0x7363_6673, // securityfs
    0xcafe_4a11, // bpf
    0x1980_0202, // mqueue
];

impl Tree {
    /// Gathers everything below the directory `path`. Links are recorded, never followed. Of the
    /// permissions and owners only "executable" is taken over for a function, whose files thus
    /// look the same under any umask and user; a root file system keeps all of them.
    pub fn from_directory(path: &Path, kind: TreeKind) -> Result<Tree> {
        let metadata = fs::metadata(path).map_err(Error::io("read", path))?;
        if !metadata.is_dir() {
            return Err(Error::unsupported(path, "is not a directory"));
        }
        let mut walk = Walk {
            kind,
            user: (
                rustix::process::geteuid().as_raw(),
                rustix::process::getegid().as_raw(),
            ),
            leaves: HashMap::new(),
            notes: Vec::new(),
            with_attributes: (0, BTreeSet::new()),
        };
        let root = walk.tree(path, &metadata)?;
        Ok(Tree {
            root,
            notes: walk.notes(),
        })
    }
}

/// A directory being gathered.
struct Open {
    name: Vec<u8>,
    path: PathBuf,
    device: u64,
    directory: Directory,
    /// Names still to be looked at.
    rest: Vec<Vec<u8>>,
}

/// What is known while a tree is gathered.
struct Walk {
    kind: TreeKind,
    user: (u32, u32),
    /// Leaves with several names, by device and inode number.
    leaves: HashMap<(u64, u64), Arc<Leaf>>,
    notes: Vec<String>,
    /// How many files have extended attributes, and which.
    with_attributes: (usize, BTreeSet<String>),
}

impl Walk {
    /// Depth first, with a list instead of recursion: directories may nest deeper than a stack.
    fn tree(&mut self, path: &Path, metadata: &Metadata) -> Result<Directory> {
        let mut open = vec![self.open(Vec::new(), path.to_owned(), metadata, None)?];
        loop {
            let depth = open.len() - 1;
            let Some(current) = open.last_mut() else {
                return Err(Error::unsupported(path, "is not a directory"));
            };
            if let Some(name) = current.rest.pop() {
                let path = current.path.join(std::ffi::OsStr::from_bytes(&name));
                let device = current.device;
                check_name(&path, &name)?;
                let metadata = reach(&path)
                    .and_then(|short| fs::symlink_metadata(short.path()))
                    .map_err(|error| unreadable("read", &path, error))?;
                if metadata.is_dir() {
                    open.push(self.open(name, path, &metadata, Some(device))?);
                } else if let Some(leaf) = self.leaf(path, &metadata, depth)? {
                    current.directory.entries.insert(name, Node::Leaf(leaf));
                }
                continue;
            }
            let Some(done) = open.pop() else { continue };
            match open.last_mut() {
                Some(parent) => {
                    let node = Node::Directory(done.directory);
                    parent.directory.entries.insert(done.name, node);
                }
                None => return Ok(done.directory),
            }
        }
    }

    /// Lists a directory; `parent` is the device its parent is on.
    fn open(
        &mut self,
        name: Vec<u8>,
        path: PathBuf,
        metadata: &Metadata,
        parent: Option<u64>,
    ) -> Result<Open> {
        let mut rest = Vec::new();
        if parent.is_some_and(|parent| parent != metadata.dev()) && self.is_kernels(&path) {
            self.notes.push(format!(
                "{}: left empty, because a file system of the kernel is mounted there",
                shown(&path)
            ));
        } else {
            let failed = |error| unreadable("list", &path, error);
            let short = reach(&path).map_err(failed)?;
            for entry in fs::read_dir(short.path()).map_err(failed)? {
                let name = entry.map_err(failed)?.file_name();
                if self.kind != TreeKind::Function || name != ".git" {
                    rest.push(name.into_vec());
                }
            }
        }
        self.count_attributes(&path);
        // Sorted, so that hard links, notes and errors come in the same order everywhere.
        rest.sort_unstable_by(|a, b| b.cmp(a));
        Ok(Open {
            name,
            device: metadata.dev(),
            directory: Directory::new(self.attributes(metadata)),
            path,
            rest,
        })
    }

    fn is_kernels(&self, path: &Path) -> bool {
        reach(path)
            .ok()
            .and_then(|short| rustix::fs::statfs(short.path()).ok())
            .is_some_and(|found| KERNEL_FILE_SYSTEMS.contains(&(found.f_type as u32).into()))
    }

    /// What is no directory; `depth` is how many directories lie between it and the top. `None`:
    /// it is left out, with a note.
    fn leaf(
        &mut self,
        path: PathBuf,
        metadata: &Metadata,
        depth: usize,
    ) -> Result<Option<Arc<Leaf>>> {
        let identity = (metadata.dev(), metadata.ino());
        if let Some(known) = self.leaves.get(&identity) {
            return Ok(Some(known.clone()));
        }
        let Some(content) = self.content(&path, metadata, depth)? else {
            return Ok(None);
        };
        self.count_attributes(&path);
        let leaf = Arc::new(Leaf {
            attributes: self.attributes(metadata),
            content,
        });
        if metadata.nlink() > 1 {
            self.leaves.insert(identity, leaf.clone());
        }
        Ok(Some(leaf))
    }

    fn content(
        &mut self,
        path: &Path,
        metadata: &Metadata,
        depth: usize,
    ) -> Result<Option<Content>> {
        let kind = metadata.file_type();
        let number = || {
            let device = metadata.rdev();
            (rustix::fs::major(device), rustix::fs::minor(device))
        };
        Ok(Some(if kind.is_file() {
            Content::File(File {
                size: metadata.len(),
                bytes: Bytes::Host(HostFile::new(path.to_owned(), metadata)),
            })
        } else if kind.is_symlink() {
            let target = reach(path)
                .and_then(|short| fs::read_link(short.path()))
                .map_err(|error| unreadable("read", path, error))?;
            if self.kind == TreeKind::Function && leaves(&target, depth) {
                return Err(Error::unsupported(
                    path,
                    format!(
                        "this link points out of the directory, to {}, and would dangle in the \
                         guest: replace it by a copy (for npm: `npm install --install-links`)",
                        target.display()
                    ),
                ));
            }
            let target = target.into_os_string().into_vec();
            check_target(path, &target)?;
            Content::Symlink(target)
        } else if kind.is_fifo() {
            Content::Special(Special::Fifo)
        } else if kind.is_char_device() {
            let (major, minor) = number();
            Content::Special(Special::CharDevice(major, minor))
        } else if kind.is_block_device() {
            let (major, minor) = number();
            Content::Special(Special::BlockDevice(major, minor))
        } else {
            self.notes.push(format!(
                "{}: left out, a socket is of no use without the process that made it",
                shown(path)
            ));
            return Ok(None);
        }))
    }

    fn attributes(&self, metadata: &Metadata) -> Attributes {
        let mode = (metadata.mode() & 0o7777) as u16;
        let mtime = Some(Time {
            seconds: metadata.mtime(),
            nanoseconds: metadata.mtime_nsec() as u32,
        });
        // Who is not root can't have made files that are root's: their own stand for those.
        let owner = |id: u32, own: u32| if id == own { 0 } else { id };
        match self.kind {
            TreeKind::Root => Attributes {
                mode,
                uid: owner(metadata.uid(), self.user.0),
                gid: owner(metadata.gid(), self.user.1),
                mtime,
            },
            TreeKind::Function => {
                let plain = metadata.is_dir() || metadata.is_symlink() || mode & 0o111 != 0;
                Attributes {
                    mtime,
                    ..Attributes::of_mode(match plain {
                        _ if metadata.is_symlink() => 0o777,
                        true => 0o755,
                        false => 0o644,
                    })
                }
            }
        }
    }

    /// Extended attributes have no place in our images: they are counted for a note.
    fn count_attributes(&mut self, path: &Path) {
        if self.kind != TreeKind::Root {
            return;
        }
        let mut names = [0; 4096];
        let Ok(Ok(length)) =
            reach(path).map(|short| rustix::fs::llistxattr(short.path(), &mut names))
        else {
            return;
        };
        let mut names: BTreeSet<String> = names
            .get(..length)
            .unwrap_or_default()
            .split(|byte| *byte == 0)
            .map(|name| String::from_utf8_lossy(name).into_owned())
            .collect();
        // A host's own labels, which say nothing about the file.
        names.retain(|name| !name.is_empty() && name != "security.selinux");
        if !names.is_empty() {
            self.with_attributes.0 += 1;
            self.with_attributes.1.append(&mut names);
        }
    }

    fn notes(mut self) -> Vec<String> {
        let (count, names) = self.with_attributes;
        if count > 0 {
            let names: Vec<String> = names.into_iter().collect();
            self.notes.push(format!(
                "extended attributes of {count} files are left out: {}",
                names.join(", ").escape_debug()
            ));
        }
        self.notes
    }
}

/// A path as it can be printed.
fn shown(path: &Path) -> String {
    path.to_string_lossy().escape_debug().to_string()
}

/// Whether a link `depth` directories below the top points above the top, judged by its text.
fn leaves(target: &Path, depth: usize) -> bool {
    let mut depth = depth as isize;
    for component in target.components() {
        match component {
            Component::RootDir | Component::Prefix(_) => return true,
            Component::ParentDir => depth -= 1,
            Component::Normal(_) => depth += 1,
            Component::CurDir => {}
        }
        if depth < 0 {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::os::unix::net::UnixListener;

    fn mode(tree: &Tree, path: &str) -> u16 {
        tree.get(path).unwrap().attributes().mode
    }

    fn target(tree: &Tree, path: &str) -> Vec<u8> {
        match &tree.get(path).unwrap().as_leaf().unwrap().content {
            Content::Symlink(target) => target.clone(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn files_links_and_modes_are_gathered() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("lib/.git")).unwrap();
        let file = dir.path().join("lib/a.mjs");
        fs::write(&file, "1").unwrap();
        fs::set_permissions(&file, PermissionsExt::from_mode(0o4600)).unwrap();
        symlink("lib/a.mjs", dir.path().join("index.mjs")).unwrap();
        symlink("../index.mjs", dir.path().join("lib/back")).unwrap();

        let tree = Tree::from_directory(dir.path(), TreeKind::Function).unwrap();
        assert_eq!(mode(&tree, "lib/a.mjs"), 0o644);
        assert_eq!(target(&tree, "lib/back"), b"../index.mjs");
        assert!(tree.get("lib/.git").is_none());

        let tree = Tree::from_directory(dir.path(), TreeKind::Root).unwrap();
        assert_eq!(mode(&tree, "lib/a.mjs"), 0o4600);
        assert!(tree.get("lib/.git").is_some());
        let attributes = tree.get("lib/a.mjs").unwrap().attributes();
        let metadata = fs::metadata(&file).unwrap();
        let mtime = attributes.mtime.unwrap();
        assert_eq!(mtime.seconds, metadata.mtime());
        assert_eq!(i64::from(mtime.nanoseconds), metadata.mtime_nsec());
        // Whoever runs the test, the files are theirs.
        assert_eq!((attributes.uid, attributes.gid), (0, 0));
    }

    #[test]
    fn hard_links_are_one_leaf() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("sub")).unwrap();
        fs::write(dir.path().join("a"), "1").unwrap();
        fs::hard_link(dir.path().join("a"), dir.path().join("sub/b")).unwrap();
        fs::write(dir.path().join("c"), "1").unwrap();
        for kind in [TreeKind::Root, TreeKind::Function] {
            let tree = Tree::from_directory(dir.path(), kind).unwrap();
            let leaf = |path: &str| tree.get(path).unwrap().as_leaf().unwrap();
            assert!(std::ptr::eq(leaf("a"), leaf("sub/b")));
            assert!(!std::ptr::eq(leaf("a"), leaf("c")));
        }
    }

    #[test]
    fn links_out_of_a_function_are_refused_and_kept_in_a_root() {
        for target in ["/etc/passwd", "../x", "sub/../../x"] {
            let dir = tempfile::tempdir().unwrap();
            symlink(target, dir.path().join("link")).unwrap();
            let error = Tree::from_directory(dir.path(), TreeKind::Function).unwrap_err();
            assert!(
                error.to_string().contains("points out of the directory"),
                "{error}"
            );
            assert!(Tree::from_directory(dir.path(), TreeKind::Root).is_ok());
        }
    }

    #[test]
    fn sockets_are_left_out_with_a_note_and_pipes_stay() {
        let dir = tempfile::tempdir().unwrap();
        let _listener = UnixListener::bind(dir.path().join("s\n")).unwrap();
        let status = std::process::Command::new("mkfifo")
            .arg(dir.path().join("p"))
            .status();
        assert!(status.unwrap().success());
        let tree = Tree::from_directory(dir.path(), TreeKind::Function).unwrap();
        assert!(tree.get("s\n").is_none());
        assert!(
            tree.notes[0].contains(r"s\n: left out, a socket"),
            "{:?}",
            tree.notes
        );
        let pipe = &tree.get("p").unwrap().as_leaf().unwrap().content;
        assert!(matches!(pipe, Content::Special(Special::Fifo)));
    }

    #[test]
    fn a_tree_deeper_than_a_path_may_be_long_is_gathered() {
        let dir = tempfile::tempdir().unwrap();
        let name = "d".repeat(200);
        let mut path = dir.path().to_owned();
        for _ in 0..60 {
            path.push(&name);
            fs::create_dir(reach(&path).unwrap().path()).unwrap();
        }
        path.push("file");
        fs::write(reach(&path).unwrap().path(), "deep").unwrap();
        let tree = Tree::from_directory(dir.path(), TreeKind::Root).unwrap();
        let inside = format!("{}file", format!("{name}/").repeat(60));
        let file = tree.get(&inside).unwrap().as_leaf().unwrap();
        let mut bytes = [0; 4];
        let opened = file.as_file().unwrap().open().unwrap();
        opened.read(&mut bytes, 0).unwrap();
        opened.close().unwrap();
        assert_eq!(&bytes, b"deep");
    }

    #[test]
    fn a_missing_directory_is_named() {
        let error = Tree::from_directory(Path::new("/no/such/dir"), TreeKind::Root).unwrap_err();
        assert!(error.to_string().contains("/no/such/dir"), "{error}");
    }
}

//! Gathers a tree from a directory of the host.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Component, Path};

use super::{Content, Directory, File, Node, Tree, TreeKind, check_name, check_target};
use crate::{Error, Result};

impl Tree {
    /// Gathers everything below the directory `path`. Links are recorded, never followed. Of the
    /// permissions only "executable" is taken over for a function, whose files thus look the same
    /// under any umask; a root file system keeps all of them.
    pub fn from_directory(path: &Path, kind: TreeKind) -> Result<Tree> {
        let metadata = fs::metadata(path).map_err(Error::io("read", path))?;
        if !metadata.is_dir() {
            return Err(Error::unsupported(path, "is not a directory"));
        }
        let mode = mode_of(&metadata, kind);
        Ok(Tree {
            root: Directory {
                mode,
                entries: entries_of(path, kind, 0)?,
            },
        })
    }
}

/// Reads one directory; `depth` is how many directories lie between it and the top.
fn entries_of(directory: &Path, kind: TreeKind, depth: usize) -> Result<BTreeMap<Vec<u8>, Node>> {
    let mut entries = BTreeMap::new();
    for entry in fs::read_dir(directory).map_err(Error::io("list", directory))? {
        let entry = entry.map_err(Error::io("list", directory))?;
        let (name, path) = (entry.file_name(), entry.path());
        if kind == TreeKind::Function && name == ".git" {
            continue;
        }
        check_name(&path, name.as_bytes())?;
        let metadata = fs::symlink_metadata(&path).map_err(Error::io("read", &path))?;
        let node = if metadata.is_dir() {
            let mode = mode_of(&metadata, kind);
            Node::Directory(Directory {
                mode,
                entries: entries_of(&path, kind, depth + 1)?,
            })
        } else if metadata.is_file() {
            let mode = mode_of(&metadata, kind);
            Node::File(File {
                mode,
                size: metadata.len(),
                content: Content::Host(path),
            })
        } else if metadata.is_symlink() {
            let target = fs::read_link(&path).map_err(Error::io("read", &path))?;
            if kind == TreeKind::Function && leaves(&target, depth) {
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
            check_target(&path, &target)?;
            Node::Symlink(target)
        } else {
            let what = kind_name(&metadata);
            return Err(Error::unsupported(
                path,
                format!("{what} cannot be part of an image: remove it"),
            ));
        };
        entries.insert(name.into_vec(), node);
    }
    Ok(entries)
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

fn mode_of(metadata: &Metadata, kind: TreeKind) -> u16 {
    let mode = (metadata.permissions().mode() & 0o7777) as u16;
    match kind {
        TreeKind::Root => mode,
        TreeKind::Function if metadata.is_dir() || mode & 0o111 != 0 => 0o755,
        TreeKind::Function => 0o644,
    }
}

fn kind_name(metadata: &Metadata) -> &'static str {
    let kind = metadata.file_type();
    if kind.is_socket() {
        "a socket"
    } else if kind.is_fifo() {
        "a named pipe"
    } else if kind.is_block_device() || kind.is_char_device() {
        "a device"
    } else {
        "a file of this kind"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    #[test]
    fn files_links_and_modes_are_gathered() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("lib/.git")).unwrap();
        fs::write(dir.path().join("lib/a.mjs"), "1").unwrap();
        fs::set_permissions(
            dir.path().join("lib/a.mjs"),
            PermissionsExt::from_mode(0o600),
        )
        .unwrap();
        symlink("lib/a.mjs", dir.path().join("index.mjs")).unwrap();
        symlink("../index.mjs", dir.path().join("lib/back")).unwrap();

        let tree = Tree::from_directory(dir.path(), TreeKind::Function).unwrap();
        assert!(matches!(tree.get("lib/a.mjs"), Some(Node::File(f)) if f.mode == 0o644));
        assert!(matches!(tree.get("lib/back"), Some(Node::Symlink(t)) if t == b"../index.mjs"));
        assert!(tree.get("lib/.git").is_none());

        let tree = Tree::from_directory(dir.path(), TreeKind::Root).unwrap();
        assert!(matches!(tree.get("lib/a.mjs"), Some(Node::File(f)) if f.mode == 0o600));
        assert!(tree.get("lib/.git").is_some());
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
    fn sockets_are_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let _listener = UnixListener::bind(dir.path().join("s")).unwrap();
        let error = Tree::from_directory(dir.path(), TreeKind::Function).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("a socket cannot be part of an image"),
            "{error}"
        );
    }

    #[test]
    fn a_missing_directory_is_named() {
        let error = Tree::from_directory(Path::new("/no/such/dir"), TreeKind::Root).unwrap_err();
        assert!(error.to_string().contains("/no/such/dir"), "{error}");
    }
}

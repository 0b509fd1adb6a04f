//! Keeps a store to its owner: directories 0700, files 0600.
//!
//! What is made new has these modes from the start. Stores of older versions are closed when they
//! are opened.

use std::fs::{self, DirBuilder, Metadata};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::Path;

/// What the store's root holds.
const PARTS: [&str; 3] = ["images", "snapshots", "functions"];
/// Permissions of everybody but the owner.
const OTHERS: u32 = 0o077;

/// Creates a directory and its missing parents, for the owner alone.
pub fn create_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Takes others' rights from a store at `root`, if there is one and it is ours. Costs four looks
/// when there is nothing to do. What fails is left: it is no worse than before.
pub fn tighten(root: &Path) {
    if is_open(root) && is_all_ours(root) {
        close(root);
    }
    for part in PARTS.map(|part| root.join(part)) {
        if is_open(&part) {
            close_all(&part);
        }
    }
}

/// Whether `path` is a directory of ours that others may use. Not a shared one as `/tmp` is.
fn is_open(path: &Path) -> bool {
    let own = rustix::process::geteuid().as_raw();
    fs::symlink_metadata(path).is_ok_and(|found| {
        found.is_dir() && found.uid() == own && found.mode() & 0o1000 == 0 && is_too_open(&found)
    })
}

fn is_too_open(metadata: &Metadata) -> bool {
    metadata.mode() & OTHERS != 0
}

/// Whether a directory has nothing but parts of a store: else it may serve others, too.
fn is_all_ours(root: &Path) -> bool {
    fs::read_dir(root).is_ok_and(|mut entries| {
        entries.all(|entry| {
            entry.is_ok_and(|entry| PARTS.iter().any(|part| entry.file_name() == *part))
        })
    })
}

fn close(path: &Path) {
    // A link's own mode means nothing, and what it points to is not the store's.
    if let Ok(metadata) = fs::symlink_metadata(path)
        && !metadata.is_symlink()
        && is_too_open(&metadata)
    {
        let mode = metadata.mode() & 0o7777 & !OTHERS;
        let _ = fs::set_permissions(path, fs::Permissions::from_mode(mode));
    }
}

/// Everything below `directory` first, itself last: until then it counts as open.
fn close_all(directory: &Path) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => close_all(&path),
            _ => close(&path),
        }
    }
    close(directory);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    fn set(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn an_open_store_is_closed_and_nothing_else() {
        let outside = tempfile::tempdir().unwrap();
        let root = outside.path().join("store");
        let seed = root.join("snapshots/seed");
        fs::create_dir_all(&seed).unwrap();
        for file in [seed.join("memory"), outside.path().join("other")] {
            fs::write(&file, "").unwrap();
            set(&file, 0o644);
        }
        symlink(outside.path().join("other"), seed.join("link")).unwrap();
        for directory in [&seed, &root.join("snapshots"), &root] {
            set(directory, 0o755);
        }
        tighten(&root);
        assert_eq!(mode(&root), 0o700);
        assert_eq!(mode(&seed), 0o700);
        assert_eq!(mode(&seed.join("memory")), 0o600);
        assert_eq!(mode(&outside.path().join("other")), 0o644);
    }

    #[test]
    fn a_directory_that_serves_others_stays_and_its_store_is_closed() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("images")).unwrap();
        fs::write(root.path().join("other"), "").unwrap();
        set(root.path(), 0o755);
        set(&root.path().join("images"), 0o755);
        tighten(root.path());
        assert_eq!(mode(root.path()), 0o755);
        assert_eq!(mode(&root.path().join("images")), 0o700);
    }
}

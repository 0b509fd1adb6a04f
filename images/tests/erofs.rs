//! The EROFS writer, judged by its own reader and by the kernel project's `fsck.erofs`.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use proptest::prelude::*;
use sprout_images::erofs::read::Reader;
use sprout_images::erofs::{self, DEFAULT_MTIME};
use sprout_images::tree::{Directory, File, Node, Tree};

const HUGE: u64 = 2 << 20;

/// An image in a temporary directory.
struct Built {
    directory: tempfile::TempDir,
    written: erofs::Written,
}

impl Built {
    fn new(tree: &Tree) -> Built {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("image.erofs");
        let mut file = fs::File::create(&path).unwrap();
        let written = erofs::write(tree, DEFAULT_MTIME, &mut file, &path).unwrap();
        Built { directory, written }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("image.erofs")
    }
}

/// What a tree comes down to: path to type, mode and content.
type Listing = BTreeMap<Vec<u8>, (char, u16, Vec<u8>)>;

fn listing_of_tree(tree: &Tree) -> Listing {
    fn add(path: Vec<u8>, directory: &Directory, listing: &mut Listing) {
        for (name, node) in &directory.entries {
            let path = [&path[..], b"/", name].concat();
            let entry = match node {
                Node::Directory(inner) => {
                    add(path.clone(), inner, listing);
                    ('d', inner.mode, Vec::new())
                }
                Node::File(file) => {
                    let sprout_images::tree::Content::Bytes(bytes) = &file.content else {
                        panic!("test trees are in memory");
                    };
                    ('f', file.mode, bytes.to_vec())
                }
                Node::Symlink(target) => ('l', 0o777, target.clone()),
            };
            listing.insert(path, entry);
        }
    }
    let mut listing = BTreeMap::from([(b"/".to_vec(), ('d', tree.root.mode, Vec::new()))]);
    add(Vec::new(), &tree.root, &mut listing);
    listing
}

fn listing_of_image(path: &Path) -> Listing {
    let reader = Reader::open(path).unwrap();
    let entry = |entry: sprout_images::erofs::read::Entry| {
        let mode = entry.inode.mode & 0o7777;
        let value = match (entry.is_directory(), entry.is_symlink()) {
            (true, _) => ('d', mode, Vec::new()),
            (_, true) => ('l', mode, reader.data(&entry).unwrap()),
            _ => ('f', mode, reader.data(&entry).unwrap()),
        };
        (entry.path, value)
    };
    reader.entries().unwrap().into_iter().map(entry).collect()
}

/// Whether `fsck.erofs` is installed (Debian: erofs-utils); the tests that need it say so if not.
fn fsck_available() -> bool {
    let found = Command::new("fsck.erofs")
        .arg("-V")
        .stdout(Stdio::null())
        .status()
        .is_ok();
    if !found {
        eprintln!("fsck.erofs is not installed: its judgement is left out");
    }
    found
}

fn fsck(image: &Path, extract: Option<&Path>) {
    let mut command = Command::new("fsck.erofs");
    if let Some(directory) = extract {
        command.arg(format!("--extract={}", directory.display()));
    }
    let output = command.arg(image).output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn file(tree: &mut Tree, path: &str, mode: u16, bytes: Vec<u8>) {
    tree.insert(path, Node::File(File::from_bytes(mode, bytes)))
        .unwrap();
}

/// A tree with every case that the format distinguishes.
fn varied_tree() -> Tree {
    let mut tree = Tree::default();
    file(&mut tree, "/empty", 0o644, vec![]);
    file(&mut tree, "/one", 0o600, vec![1]);
    file(&mut tree, "/block", 0o644, vec![2; 4096]);
    file(&mut tree, "/block+1", 0o755, vec![3; 4097]);
    file(&mut tree, "/-sorts-before-dot", 0o644, b"x".to_vec());
    file(&mut tree, "/data/large", 0o644, vec![4; HUGE as usize + 5]);
    for number in 0..500 {
        let name = format!("/many/{number:03}-{}", "n".repeat(number % 200));
        file(&mut tree, &name, 0o644, number.to_string().into_bytes());
    }
    tree.insert("/link", Node::Symlink(b"data/large".to_vec()))
        .unwrap();
    tree.insert("/long-link", Node::Symlink(vec![b'l'; 4095]))
        .unwrap();
    let sticky = Directory {
        mode: 0o1777,
        ..Directory::default()
    };
    tree.insert("/tmp", Node::Directory(sticky)).unwrap();
    let mut program = b"\x7fELF".to_vec();
    program.resize(HUGE as usize * 2 + 100, 7);
    file(&mut tree, "/bin/program", 0o755, program.clone());
    program.truncate(HUGE as usize);
    file(&mut tree, "/lib/library.so", 0o644, program);
    tree
}

#[test]
fn what_is_written_is_read_back() {
    let tree = varied_tree();
    let built = Built::new(&tree);
    assert_eq!(listing_of_image(&built.path()), listing_of_tree(&tree));
    let bytes = fs::read(built.path()).unwrap();
    assert_eq!(bytes.len() as u64, built.written.size);
    assert_eq!(bytes.len() as u64 % HUGE, 0);
    assert_eq!(blake3::hash(&bytes), built.written.digest);
}

#[test]
fn equal_trees_give_equal_images_and_digest_foretells_them() {
    let (first, second) = (Built::new(&varied_tree()), Built::new(&varied_tree()));
    assert_eq!(first.written, second.written);
    assert_eq!(
        erofs::digest(&varied_tree(), DEFAULT_MTIME).unwrap(),
        first.written
    );
    assert_ne!(
        erofs::digest(&varied_tree(), 1).unwrap().digest,
        first.written.digest
    );
}

#[test]
fn large_elf_files_begin_at_large_pages_and_gaps_are_used() {
    let built = Built::new(&varied_tree());
    let entries = Reader::open(&built.path()).unwrap().entries().unwrap();
    let offset = |path: &str| {
        entries
            .iter()
            .find(|entry| entry.path == path.as_bytes())
            .unwrap()
            .offset()
    };
    assert_eq!(offset("/bin/program") % HUGE, 0);
    assert_eq!(offset("/lib/library.so") % HUGE, 0);
    assert!(offset("/many/000-") < offset("/bin/program"));
}

#[test]
fn a_file_that_changes_meanwhile_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    for (before, after) in [("short", "much longer"), ("much longer", "short")] {
        let path = directory.path().join("file");
        fs::write(&path, before).unwrap();
        let kind = sprout_images::tree::TreeKind::Function;
        let tree = Tree::from_directory(directory.path(), kind).unwrap();
        fs::write(&path, after).unwrap();
        let error = erofs::digest(&tree, DEFAULT_MTIME).unwrap_err();
        assert!(
            error.to_string().contains("changed while it was read"),
            "{error}"
        );
    }
}

#[test]
fn fsck_accepts_and_extracts_the_same_content() {
    if !fsck_available() {
        return;
    }
    let tree = varied_tree();
    let built = Built::new(&tree);
    let extracted = built.directory.path().join("out");
    fsck(&built.path(), Some(&extracted));
    for (path, (kind, mode, content)) in listing_of_tree(&tree) {
        let path = extracted.join(String::from_utf8(path).unwrap().trim_start_matches('/'));
        let metadata = fs::symlink_metadata(&path).unwrap();
        match kind {
            'd' => assert!(metadata.is_dir()),
            'l' => {
                let target = fs::read_link(&path).unwrap().into_os_string();
                assert_eq!(target.into_encoded_bytes(), content);
            }
            _ => {
                assert_eq!(fs::read(&path).unwrap(), content, "{}", path.display());
                assert_eq!(metadata.mode() & 0o777, u32::from(mode) & 0o777);
            }
        }
    }
}

#[test]
fn damage_to_metadata_never_panics_the_reader() {
    let built = Built::new(&varied_tree());
    let original = fs::read(built.path()).unwrap();
    let copy = built.directory.path().join("damaged");
    for position in (4096..4096 * 40).step_by(613) {
        let mut bytes = original.clone();
        bytes[position] ^= 0xff;
        fs::write(&copy, &bytes[..4096 * 64]).unwrap();
        fs::File::options()
            .write(true)
            .open(&copy)
            .unwrap()
            .set_len(original.len() as u64)
            .unwrap();
        if let Ok(reader) = Reader::open(&copy) {
            for entry in reader.entries().unwrap_or_default() {
                let _ = reader.data(&entry);
            }
        }
    }
}

prop_compose! {
    fn any_tree()(
        files in prop::collection::btree_map("[a-c!~]{1,3}(/[-.a-c]{3,250}){0,3}", (0..9000usize, any::<bool>()), 0..60)
    ) -> Tree {
        let mut tree = Tree::default();
        for (path, (size, link)) in files {
            let node = if link {
                Node::Symlink(vec![b't'; size % 4095 + 1])
            } else {
                Node::File(File::from_bytes(0o644, vec![size as u8; size]))
            };
            // A path may lead through another one's file: such a tree does not exist.
            let _ = tree.insert(&path, node);
        }
        tree
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_tree_survives(tree in any_tree()) {
        let built = Built::new(&tree);
        prop_assert_eq!(listing_of_image(&built.path()), listing_of_tree(&tree));
        if fsck_available() {
            fsck(&built.path(), None);
        }
    }
}

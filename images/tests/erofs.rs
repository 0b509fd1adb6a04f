//! The EROFS writer, judged by its own reader and by the kernel project's `fsck.erofs`.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use proptest::prelude::*;
use sprout_images::erofs::read::{Entry, Location, Reader};
use sprout_images::erofs::{self, DEFAULT_MTIME};
use sprout_images::tree::{
    Attributes, Bytes, Content, Directory, File, Node, Special, Time, Tree, TreeKind,
};

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
            let mode = node.attributes().mode;
            let entry = match node {
                Node::Directory(inner) => {
                    add(path.clone(), inner, listing);
                    ('d', mode, Vec::new())
                }
                Node::Leaf(leaf) => match &leaf.content {
                    Content::File(file) => {
                        let Bytes::Memory(bytes) = &file.bytes else {
                            panic!("test trees are in memory");
                        };
                        ('f', mode, bytes.to_vec())
                    }
                    Content::Symlink(target) => ('l', mode, target.clone()),
                    Content::Special(special) => ('s', mode, format!("{special:?}").into_bytes()),
                },
            };
            listing.insert(path, entry);
        }
    }
    let mode = tree.root.attributes.mode;
    let mut listing = BTreeMap::from([(b"/".to_vec(), ('d', mode, Vec::new()))]);
    add(Vec::new(), &tree.root, &mut listing);
    listing
}

fn listing_of_image(path: &Path) -> Listing {
    let reader = Reader::open(path).unwrap();
    let entry = |entry: Entry| {
        let mode = entry.inode.mode & 0o7777;
        let value = match entry.inode.mode & 0o170000 {
            0o040000 => ('d', mode, Vec::new()),
            0o120000 => ('l', mode, reader.data(&entry).unwrap()),
            0o100000 => ('f', mode, reader.data(&entry).unwrap()),
            0o010000 => ('s', mode, b"Fifo".to_vec()),
            kind => panic!("{kind:o}"),
        };
        (entry.path, value)
    };
    reader.entries().unwrap().into_iter().map(entry).collect()
}

fn entry(image: &Path, path: &str) -> Entry {
    let reader = Reader::open(image).unwrap();
    let entries = reader.entries().unwrap();
    let found = entries.into_iter().find(|e| e.path == path.as_bytes());
    found.unwrap_or_else(|| panic!("{path} is not in the image"))
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
    tree.insert(path, Node::file(mode, bytes)).unwrap();
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
    tree.insert("/link", Node::symlink("data/large")).unwrap();
    tree.insert("/long-link", Node::symlink(vec![b'l'; 4095]))
        .unwrap();
    tree.insert("/tmp", Node::directory(0o1777)).unwrap();
    let mut holes = vec![0; 3 << 20];
    holes[1 << 20..(1 << 20) + 9000].fill(8);
    holes[3 * (1 << 20) - 1] = 9;
    file(&mut tree, "/data/holes", 0o600, holes);
    file(&mut tree, "/data/nothing", 0o644, vec![0; 1 << 20]);
    let linked = tree.get("/one").unwrap().clone();
    tree.insert("/data/one-again", linked).unwrap();
    let fifo = Content::Special(Special::Fifo);
    tree.insert("/fifo", Node::leaf(Attributes::of_mode(0o620), fifo))
        .unwrap();
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
    assert!(listing_of_image(&built.path()) == listing_of_tree(&tree));
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
    let offset = |path: &str| entry(&built.path(), path).offset().unwrap();
    assert_eq!(offset("/bin/program") % HUGE, 0);
    assert_eq!(offset("/lib/library.so") % HUGE, 0);
    assert!(offset("/many/000-") < offset("/bin/program"));
}

#[test]
fn owners_times_devices_and_hard_links_are_kept() {
    let mut tree = varied_tree();
    let attributes = Attributes {
        mode: 0o6711,
        uid: 70_000,
        gid: 8,
        mtime: Some(Time {
            seconds: -86_400,
            nanoseconds: 123_456_789,
        }),
    };
    let content = Content::File(File::from_bytes(*b"#!"));
    tree.insert("/tool", Node::leaf(attributes, content))
        .unwrap();
    let null = Content::Special(Special::CharDevice(1, 3));
    tree.insert("/null", Node::leaf(attributes, null)).unwrap();
    let built = Built::new(&tree);
    let tool = entry(&built.path(), "/tool");
    assert_eq!((tool.inode.uid, tool.inode.gid), (70_000, 8));
    assert_eq!(tool.inode.mode, 0o106711);
    assert_eq!(Some(tool.inode.mtime), attributes.mtime);
    assert_eq!(tool.inode.links, 1);
    let null = entry(&built.path(), "/null");
    assert_eq!(null.inode.mode, 0o026711);
    assert_eq!(null.inode.location, Location::Device(0x103));
    let (one, again) = (
        entry(&built.path(), "/one"),
        entry(&built.path(), "/data/one-again"),
    );
    assert_eq!(one.nid, again.nid);
    assert_eq!(one.inode.links, 2);
    assert_eq!(
        one.inode.mtime,
        Time::from_seconds(DEFAULT_MTIME.try_into().unwrap())
    );
    if fsck_available() {
        fsck(&built.path(), None);
    }
}

#[test]
fn equal_files_share_their_data_and_holes_take_none() {
    let mut tree = Tree::default();
    let data: Vec<u8> = (0..3u32 << 20).map(|i| (i / 3) as u8).collect();
    for number in 0..5 {
        file(&mut tree, &format!("/copy{number}"), 0o644, data.clone());
    }
    file(&mut tree, "/other", 0o644, vec![9; 3 << 20]);
    let mut holes = vec![0; 64 << 20];
    holes[40 << 20] = 1;
    file(&mut tree, "/holes", 0o644, holes.clone());
    file(&mut tree, "/same-holes", 0o600, holes);
    let built = Built::new(&tree);
    assert!(built.written.size <= 8 << 20, "{}", built.written.size);
    let start = entry(&built.path(), "/copy0").offset();
    assert_eq!(entry(&built.path(), "/copy4").offset(), start);
    assert_ne!(entry(&built.path(), "/other").offset(), start);
    let (a, b) = (
        entry(&built.path(), "/copy0"),
        entry(&built.path(), "/copy1"),
    );
    assert_ne!(a.nid, b.nid, "equal files are not hard links");
    assert!(listing_of_image(&built.path()) == listing_of_tree(&tree));
    if fsck_available() {
        fsck(&built.path(), None);
    }
}

#[test]
fn a_sparse_giant_makes_a_small_image_as_its_dense_copy_would() {
    let directory = tempfile::tempdir().unwrap();
    let giant = fs::File::create(directory.path().join("giant")).unwrap();
    giant.set_len(10 << 30).unwrap();
    giant.write_all_at(b"middle", 5 << 30).unwrap();
    giant.write_all_at(b"end", (10 << 30) - 3).unwrap();
    let sparse = fs::File::create(directory.path().join("sparse")).unwrap();
    sparse.set_len(1 << 20).unwrap();
    let tree = Tree::from_directory(directory.path(), TreeKind::Root).unwrap();
    let built = Built::new(&tree);
    assert_eq!(built.written.size, HUGE);
    let giant = entry(&built.path(), "/giant");
    assert_eq!(giant.inode.size, 10 << 30);
    assert!(matches!(giant.inode.location, Location::Chunks(_)));
    if fsck_available() {
        fsck(&built.path(), None);
    }
}

#[test]
fn a_copy_of_a_directory_gives_the_same_image() {
    let directory = tempfile::tempdir().unwrap();
    let (from, to) = (directory.path().join("from"), directory.path().join("to"));
    fs::create_dir_all(from.join("a/b")).unwrap();
    fs::write(from.join("a/one"), "1").unwrap();
    fs::hard_link(from.join("a/one"), from.join("a/b/two")).unwrap();
    let sparse = fs::File::create(from.join("sparse")).unwrap();
    sparse.set_len(1 << 20).unwrap();
    let copied = Command::new("cp")
        .args(["--archive", "--sparse=never"])
        .args([&from, &to])
        .status();
    assert!(copied.unwrap().success());
    let digest = |path: &Path| {
        let tree = Tree::from_directory(path, TreeKind::Root).unwrap();
        erofs::digest(&tree, DEFAULT_MTIME).unwrap()
    };
    assert_eq!(digest(&from), digest(&to));
    fs::File::options()
        .write(true)
        .open(to.join("a/one"))
        .unwrap()
        .set_modified(std::time::SystemTime::UNIX_EPOCH)
        .unwrap();
    assert_ne!(digest(&from), digest(&to), "times are part of an image");
}

#[test]
fn a_hundred_thousand_entries_are_found_again() {
    let mut tree = Tree::default();
    for number in 0..100_000 {
        let node = Node::file(0o644, *b"");
        let name = format!("{number:06}-\u{1}\n").into_bytes();
        tree.root.entries.insert(name, node);
    }
    let built = Built::new(&tree);
    let reader = Reader::open(&built.path()).unwrap();
    assert_eq!(reader.entries().unwrap().len(), 100_001);
    assert!(reader.lookup(b"/099999-\x01\n").unwrap().is_some());
    assert!(reader.lookup(b"/100000-\x01\n").unwrap().is_none());
    if fsck_available() {
        fsck(&built.path(), None);
    }
}

#[test]
fn paths_are_looked_up_through_links() {
    let mut tree = varied_tree();
    for (link, target) in [
        ("/usr/x", "../bin"),
        ("/l", "l"),
        ("/abs", "/usr/x/../data"),
    ] {
        tree.insert(link, Node::symlink(target)).unwrap();
    }
    let built = Built::new(&tree);
    let reader = Reader::open(&built.path()).unwrap();
    let found = |path: &str| {
        let entry = reader.lookup(path.as_bytes()).unwrap()?;
        Some(String::from_utf8(entry.path).unwrap())
    };
    assert_eq!(found("/usr/x/program").as_deref(), Some("/bin/program"));
    assert_eq!(found("/abs/large").as_deref(), Some("/data/large"));
    assert_eq!(found("/../tmp/./").as_deref(), Some("/tmp"));
    for missing in ["/l", "/none", "/one/x", "/abs/none"] {
        assert_eq!(found(missing), None, "{missing}");
    }
}

#[test]
fn a_file_that_changes_meanwhile_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    for (before, after) in [
        ("short", "much longer"),
        ("much longer", "short"),
        ("a", "b"),
    ] {
        let path = directory.path().join("file");
        fs::write(&path, before).unwrap();
        let tree = Tree::from_directory(directory.path(), TreeKind::Function).unwrap();
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
            's' => assert_eq!(metadata.mode() & 0o170000, 0o010000),
            _ => {
                // The tool's older versions forget holes when they extract (erofs-utils 1.5).
                let holes = content
                    .chunks(4096)
                    .any(|block| block.iter().all(|b| *b == 0));
                let same = holes || fs::read(&path).unwrap() == content;
                assert!(same, "{}", path.display());
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
    for position in (1024..4096 * 40).step_by(613) {
        let mut bytes = original[..4096 * 64].to_vec();
        bytes[position] ^= 0xff;
        fs::write(&copy, &bytes).unwrap();
        fs::File::options()
            .write(true)
            .open(&copy)
            .unwrap()
            .set_len(original.len() as u64)
            .unwrap();
        if let Ok(reader) = Reader::open(&copy) {
            let entries = reader.entries().unwrap_or_default();
            for entry in entries.iter().filter(|e| e.inode.size < 1 << 20) {
                let _ = reader.data(entry);
            }
            for entry in entries.iter().step_by(97) {
                let _ = reader.lookup(&entry.path);
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
                Node::symlink(vec![b't'; size % 4095 + 1])
            } else {
                Node::file(0o644, vec![size as u8; size])
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
        prop_assert!(listing_of_image(&built.path()) == listing_of_tree(&tree));
        if fsck_available() {
            fsck(&built.path(), None);
        }
    }
}

use super::*;
use crate::errno::Errno;
use crate::fs::erofs::testing::{Item, build, directory, leak};
use crate::fs::file::{File, OpenFlags};
use crate::fs::inode::{Inode, RenameMode, SetAttributes};
use crate::io::{Destination, Source};
use crate::mm::FilePage;
use alloc::vec::Vec;

mod model;

const PHYS: u64 = 64 << 30;
const NEW_FILE: Mode = Mode::new(0o644);

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i / 5 % 250) as u8 + 1).collect()
}

fn lower() -> Item {
    directory([
        ("a", Item::Plain(pattern(10_000))),
        ("b", Item::Inline(pattern(5000))),
        (
            "dir",
            directory([("inner", Item::Plain(pattern(3))), ("sub", directory([]))]),
        ),
        ("hard", Item::Hard(1)),
        ("link", Item::Link(b"a".to_vec())),
    ])
}

fn over_image() -> Arc<dyn Inode> {
    let image = Image::mount(leak(build(&lower())), PHYS).unwrap();
    Tree::create(Some(image), 64).unwrap()
}

fn empty() -> Arc<dyn Inode> {
    Tree::create(None, 64).unwrap()
}

fn at(dir: &Arc<dyn Inode>, name: &str) -> Result<Arc<dyn Inode>> {
    dir.clone().lookup(name.as_bytes())
}

fn make(dir: &Arc<dyn Inode>, name: &str, kind: FileKind) -> Result<Arc<dyn Inode>> {
    dir.clone()
        .create(name.as_bytes(), &NewInode::of(kind, NEW_FILE))
}

fn open(inode: &Arc<dyn Inode>) -> Arc<dyn File> {
    inode.clone().open(OpenFlags::RDWR, b"/test").unwrap()
}

fn write(inode: &Arc<dyn Inode>, offset: u64, bytes: &[u8]) -> Result<usize> {
    open(inode).write_at(&mut Source::kernel(bytes), offset)
}

fn read(inode: &Arc<dyn Inode>, offset: u64, len: usize) -> Vec<u8> {
    let mut bytes = alloc::vec![0; len];
    let file = inode.clone().open(OpenFlags::empty(), b"/test").unwrap();
    let n = file
        .read_at(&mut Destination::kernel(&mut bytes), offset)
        .unwrap();
    bytes.truncate(n);
    bytes
}

fn names(dir: &Arc<dyn Inode>) -> Vec<alloc::string::String> {
    let mut names = Vec::new();
    let mut cookie = 0;
    // One entry at a time: cookies must continue where they were.
    loop {
        let before = names.len();
        dir.clone()
            .read_dir(cookie, &mut |entry| {
                names.push(alloc::string::String::from_utf8_lossy(entry.name).into_owned());
                cookie = entry.next;
                false
            })
            .unwrap();
        if names.len() == before {
            return names;
        }
    }
}

fn rename(
    from: &Arc<dyn Inode>,
    name: &str,
    to: &Arc<dyn Inode>,
    new: &str,
    mode: RenameMode,
) -> Result<()> {
    from.clone()
        .rename(name.as_bytes(), to, new.as_bytes(), mode)
}

fn nlink(inode: &Arc<dyn Inode>) -> u32 {
    inode.metadata().unwrap().nlink
}

#[test]
fn image_files_are_read_in_place_and_written_over() {
    let root = over_image();
    let file = at(&root, "a").unwrap();
    assert_eq!(read(&file, 0, 20_000), pattern(10_000));
    let ino = file.metadata().unwrap().id;
    write(&file, 4090, b"across a page").unwrap();
    drop(file);
    // The change outlives every user of the node, and the identity is the same.
    let file = at(&root, "a").unwrap();
    assert_eq!(file.metadata().unwrap().id, ino);
    let mut expected = pattern(10_000);
    expected[4090..4103].copy_from_slice(b"across a page");
    assert_eq!(read(&file, 0, 20_000), expected);
}

#[test]
fn mapped_pages_are_the_images_until_written() {
    let root = over_image();
    let file = at(&root, "a").unwrap();
    let mapping = |flags| file.clone().open(flags, b"/a").unwrap().mapping().unwrap();
    let read_only = mapping(OpenFlags::empty());
    let (phys, len) = read_only.image_run().unwrap();
    assert_eq!(len, 10_000);
    assert!(matches!(read_only.page(1), Ok(FilePage::Image(at)) if at == phys + 4096));
    assert_eq!(read_only.page(3).err(), Some(Errno::EIO));
    // A writable file's pages may be changed through them: they are copies.
    assert!(matches!(
        mapping(OpenFlags::RDWR).page(0),
        Ok(FilePage::Frame(_))
    ));
    write(&file, 9000, b"x").unwrap();
    assert!(read_only.image_run().is_none());
    assert!(matches!(read_only.page(1), Ok(FilePage::Image(_))));
    let Ok(FilePage::Frame(frame)) = read_only.page(2) else {
        panic!("page 2 was written")
    };
    let mut bytes = [0; 2];
    frame.read(9000 - 8192, &mut bytes);
    assert_eq!(bytes, [b'x', pattern(10_000)[9001]]);
}

#[test]
fn truncation_hides_the_image_for_good() {
    let root = over_image();
    let file = at(&root, "a").unwrap();
    file.clone().set_size(5000).unwrap();
    file.clone().set_size(9000).unwrap();
    let mut expected = pattern(5000);
    expected.resize(9000, 0);
    assert_eq!(read(&file, 0, 20_000), expected);
    let mapping = file
        .clone()
        .open(OpenFlags::empty(), b"/a")
        .unwrap()
        .mapping()
        .unwrap();
    assert!(matches!(mapping.page(0), Ok(FilePage::Image(_))));
    let Ok(FilePage::Frame(frame)) = mapping.page(1) else {
        panic!("page 1 is cut")
    };
    let mut byte = [9];
    frame.read(5000 - 4096, &mut byte);
    assert_eq!(byte, [0]);
}

#[test]
fn listings_merge_both_layers() {
    let root = over_image();
    assert_eq!(names(&root), ["a", "b", "dir", "hard", "link"]);
    root.clone().unlink(b"b").unwrap();
    make(&root, "new", FileKind::Regular).unwrap();
    make(&root, "b", FileKind::Directory).unwrap();
    assert_eq!(names(&root), ["a", "dir", "hard", "link", "new", "b"]);
    assert_eq!(at(&root, "b").unwrap().kind(), FileKind::Directory);
    assert_eq!(
        make(&root, "a", FileKind::Regular).err(),
        Some(Errno::EEXIST)
    );
}

#[test]
fn hard_links_of_the_image_stay_one_file() {
    let root = over_image();
    let file = at(&root, "a").unwrap();
    assert_eq!(nlink(&file), 2);
    write(&file, 0, b"new").unwrap();
    assert_eq!(read(&at(&root, "hard").unwrap(), 0, 3), b"new");
    root.clone().unlink(b"a").unwrap();
    assert_eq!(nlink(&at(&root, "hard").unwrap()), 1);
    root.clone().link(b"third", &file).unwrap();
    assert_eq!(nlink(&file), 2);
    assert_eq!(at(&root, "third").unwrap().id(), file.id());
}

#[test]
fn an_unlinked_open_file_lives_on_and_its_pages_come_back() {
    let root = Tree::create(None, 4).unwrap();
    let tree = root.tree().clone();
    let root: Arc<dyn Inode> = root;
    let file = make(&root, "f", FileKind::Regular).unwrap();
    let open = open(&file);
    drop(file);
    root.clone().unlink(b"f").unwrap();
    open.write_at(&mut Source::kernel(&pattern(3 * 4096)), 0)
        .unwrap();
    assert_eq!(open.metadata().unwrap().nlink, 0);
    assert_eq!(tree.budget.used(), 3);
    drop(open);
    assert_eq!(tree.budget.used(), 0);
}

#[test]
fn the_limit_is_enospc_and_short_writes_before_it() {
    let root: Arc<dyn Inode> = Tree::create(None, 2).unwrap();
    let file = make(&root, "f", FileKind::Regular).unwrap();
    assert_eq!(write(&file, 0, &pattern(3 * 4096)), Ok(8192));
    assert_eq!(write(&file, 8192, b"x"), Err(Errno::ENOSPC));
    file.clone().set_size(0).unwrap();
    assert_eq!(write(&file, 8192, b"x"), Ok(1));
    assert_eq!(file.metadata().unwrap().blocks, 8);
}

#[test]
fn directories_of_the_image_can_be_renamed_and_removed() {
    let root = over_image();
    let dir = at(&root, "dir").unwrap();
    assert_eq!(nlink(&root), 3);
    rename(&root, "dir", &root, "moved", RenameMode::Replace).unwrap();
    assert_eq!(at(&root, "dir").err(), Some(Errno::ENOENT));
    assert_eq!(names(&at(&root, "moved").unwrap()), ["inner", "sub"]);
    assert_eq!(dir.parent().unwrap().1, b"moved");
    assert_eq!(root.clone().rmdir(b"moved").err(), Some(Errno::ENOTEMPTY));
    dir.clone().unlink(b"inner").unwrap();
    dir.clone().rmdir(b"sub").unwrap();
    assert_eq!(nlink(&dir), 2);
    root.clone().rmdir(b"moved").unwrap();
    assert_eq!((nlink(&dir), nlink(&root)), (0, 2));
    assert!(dir.parent().is_none());
    assert_eq!(
        make(&dir, "x", FileKind::Regular).err(),
        Some(Errno::ENOENT)
    );
}

#[test]
fn renames_keep_the_rules() {
    let root = empty();
    let a = make(&root, "a", FileKind::Directory).unwrap();
    let b = make(&a, "b", FileKind::Directory).unwrap();
    make(&root, "f", FileKind::Regular).unwrap();
    make(&root, "g", FileKind::Regular).unwrap();
    let replace = RenameMode::Replace;
    assert_eq!(rename(&root, "a", &b, "c", replace), Err(Errno::EINVAL));
    assert_eq!(rename(&root, "a", &a, "c", replace), Err(Errno::EINVAL));
    assert_eq!(rename(&root, "f", &root, "a", replace), Err(Errno::EISDIR));
    assert_eq!(rename(&root, "a", &root, "f", replace), Err(Errno::ENOTDIR));
    assert_eq!(rename(&a, "b", &root, "a", replace), Err(Errno::ENOTEMPTY));
    assert_eq!(
        rename(&root, "f", &root, "g", RenameMode::NoReplace),
        Err(Errno::EEXIST)
    );
    assert_eq!(
        rename(&root, "none", &root, "g", replace),
        Err(Errno::ENOENT)
    );
    assert_eq!(
        rename(&root, "f", &root, "none", RenameMode::Exchange),
        Err(Errno::ENOENT)
    );
    assert_eq!(
        rename(&root, "f", &over_image(), "f", replace),
        Err(Errno::EXDEV)
    );
    rename(&root, "a", &root, "f", RenameMode::Exchange).unwrap();
    assert_eq!(at(&root, "a").unwrap().kind(), FileKind::Regular);
    assert_eq!(b.parent().unwrap().0.parent().unwrap().1, b"f");
    assert_eq!(
        rename(
            &at(&root, "f").unwrap(),
            "b",
            &root,
            "f",
            RenameMode::Exchange
        ),
        Err(Errno::EINVAL)
    );
    rename(&root, "a", &root, "g", replace).unwrap();
    assert_eq!(names(&root), ["f", "g"]);
}

#[test]
fn renaming_between_two_names_of_a_file_does_nothing() {
    let root = over_image();
    rename(&root, "a", &root, "hard", RenameMode::Replace).unwrap();
    assert_eq!(nlink(&at(&root, "a").unwrap()), 2);
    assert!(at(&root, "hard").is_ok());
}

#[test]
fn attributes_change_and_stay() {
    let root = over_image();
    let mode = Some(Mode::new(0o4755));
    let change = SetAttributes {
        mode,
        ..SetAttributes::default()
    };
    at(&root, "a").unwrap().set_attributes(&change).unwrap();
    assert_eq!(
        at(&root, "hard").unwrap().metadata().unwrap().mode.bits(),
        0o4755
    );
    // What chown leaves of the bits; the set-group-id bit only means that where a group may execute.
    let after = |bits| Mode::new(bits).after_chown().bits();
    assert_eq!(after(0o6755), 0o755);
    assert_eq!(after(0o6745), 0o2745);
    let change = SetAttributes {
        mode: Some(Mode::new(0o4755).after_chown()),
        uid: Some(7),
        ..SetAttributes::default()
    };
    at(&root, "a").unwrap().set_attributes(&change).unwrap();
    let meta = at(&root, "a").unwrap().metadata().unwrap();
    assert_eq!((meta.mode.bits(), meta.uid, meta.size), (0o755, 7, 10_000));
}

#[test]
fn a_set_group_id_directory_hands_its_group_down() {
    let root = empty();
    let new = NewInode {
        gid: 42,
        ..NewInode::of(FileKind::Directory, Mode::new(0o2775))
    };
    let dir = root.clone().create(b"d", &new).unwrap();
    let sub = make(&dir, "s", FileKind::Directory)
        .unwrap()
        .metadata()
        .unwrap();
    assert_eq!((sub.gid, sub.mode.bits() & 0o2000), (42, 0o2000));
    assert_eq!(
        make(&dir, "f", FileKind::Regular)
            .unwrap()
            .metadata()
            .unwrap()
            .gid,
        42
    );
}

#[test]
fn seals_hold() {
    let tree = Tree::nameless(8);
    let file = RegularFile::unnamed(tree.unnamed_file(NEW_FILE), b"/memfd:x", Some(0)).unwrap();
    file.write_at(&mut Source::kernel(b"hello"), 0).unwrap();
    file.add_seals(seal::GROW | seal::SHRINK).unwrap();
    let inode = file.inode().unwrap();
    assert_eq!(inode.clone().set_size(4), Err(Errno::EPERM));
    assert_eq!(inode.set_size(6), Err(Errno::EPERM));
    assert_eq!(file.write_at(&mut Source::kernel(b"J"), 0), Ok(1));
    assert_eq!(
        file.write_at(&mut Source::kernel(b"x"), 5),
        Err(Errno::EPERM)
    );
    file.add_seals(seal::WRITE | seal::SEAL).unwrap();
    assert_eq!(
        file.write_at(&mut Source::kernel(b"x"), 0),
        Err(Errno::EPERM)
    );
    assert_eq!(file.add_seals(seal::FUTURE_WRITE), Err(Errno::EPERM));
    let plain = RegularFile::unnamed(tree.unnamed_file(NEW_FILE), b"/memfd:y", None).unwrap();
    assert_eq!(plain.add_seals(seal::WRITE), Err(Errno::EPERM));
}

#[test]
fn holes_are_found_and_punched() {
    let root = empty();
    let inode = make(&root, "f", FileKind::Regular).unwrap();
    write(&inode, 8192, b"data").unwrap();
    let file = RegularFile::unnamed(inode.clone(), b"/f", None).unwrap();
    assert_eq!(file.seek_data(0, true), Ok(8192));
    assert_eq!(file.seek_data(0, false), Ok(0));
    assert_eq!(file.seek_data(8193, false), Ok(8196));
    assert_eq!(file.seek_data(9000, true), Err(Errno::ENXIO));
    file.allocate(Allocate::Reserve { keep_size: false }, 0, 4096 * 4)
        .unwrap();
    assert_eq!(inode.metadata().unwrap().blocks, 32);
    file.allocate(Allocate::PunchHole, 0, 8194).unwrap();
    assert_eq!(read(&inode, 8190, 6), [0, 0, 0, 0, b't', b'a']);
    assert_eq!(inode.metadata().unwrap().blocks, 16);
}

#[test]
fn holes_punched_over_the_image_are_zero() {
    let root = over_image();
    let inode = at(&root, "a").unwrap();
    let file = RegularFile::unnamed(inode.clone(), b"/a", None).unwrap();
    file.allocate(Allocate::PunchHole, 100, 5000).unwrap();
    let mut expected = pattern(10_000);
    expected[100..5100].fill(0);
    assert_eq!(read(&inode, 0, 20_000), expected);
}

use super::*;
use crate::fs::inode::{Mode, NewInode};
use crate::fs::rootfs::Tree;

fn tree() -> Arc<dyn Inode> {
    let root = Tree::create(None, 16).unwrap();
    let root: Arc<dyn Inode> = root;
    let a = make(&root, b"a", FileKind::Directory);
    let b = make(&a, b"b", FileKind::Directory);
    make(&b, b"file", FileKind::Regular);
    root
}

fn make(dir: &Arc<dyn Inode>, name: &[u8], kind: FileKind) -> Arc<dyn Inode> {
    dir.clone()
        .create(name, &NewInode::of(kind, Mode::new(0o755)))
        .unwrap()
}

fn link(dir: &Arc<dyn Inode>, name: &[u8], target: &[u8]) {
    let new = NewInode {
        target,
        ..NewInode::of(FileKind::Symlink, Mode::new(0o777))
    };
    dir.clone().create(name, &new).unwrap();
}

fn find(root: &Arc<dyn Inode>, path: &[u8], follow: Follow) -> Result<Vec<u8>> {
    let context = Context { root, start: root };
    resolve(&context, path, follow).map(|found| found.path(root))
}

#[test]
fn plain_paths_dots_and_slashes() {
    let root = tree();
    for path in [
        &b"/a/b/file"[..],
        b"a//b/./file",
        b"a/b/../b/file",
        b"/../../a/b/file",
    ] {
        assert_eq!(find(&root, path, Follow::Always).unwrap(), b"/a/b/file");
    }
    assert_eq!(find(&root, b"a/b/", Follow::Always).unwrap(), b"/a/b");
    assert_eq!(find(&root, b"/", Follow::Always).unwrap(), b"/");
    assert_eq!(find(&root, b"", Follow::Always), Err(Errno::ENOENT));
    assert_eq!(find(&root, b"a/none", Follow::Always), Err(Errno::ENOENT));
    assert_eq!(find(&root, b"a/none/x", Follow::Always), Err(Errno::ENOENT));
    assert_eq!(
        find(&root, b"a/b/file/", Follow::Always),
        Err(Errno::ENOTDIR)
    );
    assert_eq!(
        find(&root, b"a/b/file/.", Follow::Always),
        Err(Errno::ENOTDIR)
    );
    assert_eq!(
        find(&root, b"a/b/file/x", Follow::Always),
        Err(Errno::ENOTDIR)
    );
    assert_eq!(
        find(&root, &[b'x'; 256], Follow::Always),
        Err(Errno::ENAMETOOLONG)
    );
}

#[test]
fn links_are_followed_as_asked() {
    let root = tree();
    link(&root, b"absolute", b"/a/b");
    link(&root, b"relative", b"a/../a/b/file");
    link(&root, b"self", b"self");
    link(&root, b"dangling", b"a/new");
    assert_eq!(
        find(&root, b"absolute/file", Follow::Never).unwrap(),
        b"/a/b/file"
    );
    assert_eq!(
        find(&root, b"relative", Follow::Always).unwrap(),
        b"/a/b/file"
    );
    assert_eq!(
        find(&root, b"relative", Follow::IfSlash).unwrap(),
        b"/relative"
    );
    assert_eq!(find(&root, b"absolute/", Follow::IfSlash).unwrap(), b"/a/b");
    assert_eq!(
        find(&root, b"relative/", Follow::IfSlash),
        Err(Errno::ENOTDIR)
    );
    assert_eq!(find(&root, b"self", Follow::Always), Err(Errno::ELOOP));
    assert_eq!(find(&root, b"self", Follow::IfSlash).unwrap(), b"/self");
    let context = Context {
        root: &root,
        start: &root,
    };
    let Ok(End::Entry(entry)) = walk(&context, b"dangling", Follow::Always) else {
        panic!("a dangling link leads to an entry to be created");
    };
    assert_eq!(
        (entry.name.as_slice(), entry.inode.is_none()),
        (&b"new"[..], true)
    );
}

#[test]
fn forty_links_are_the_limit() {
    let root = tree();
    link(&root, b"l0", b"a");
    for i in 1..42 {
        let target = alloc::format!("l{}", i - 1);
        link(&root, alloc::format!("l{i}").as_bytes(), target.as_bytes());
    }
    assert!(find(&root, b"l39", Follow::Always).is_ok());
    assert_eq!(find(&root, b"l40", Follow::Always), Err(Errno::ELOOP));
}

#[test]
fn a_mount_covers_and_dotdot_leaves_it() {
    let root = tree();
    let point = resolve(
        &Context {
            root: &root,
            start: &root,
        },
        b"a/b",
        Follow::Always,
    )
    .unwrap();
    let mounted: Arc<dyn Inode> = Tree::create(None, 16).unwrap();
    make(&mounted, b"inside", FileKind::Regular);
    mount::mount(mounted.clone(), Some(point.inode), b"/a/b", "tmpfs", "none").unwrap();
    assert_eq!(
        find(&root, b"a/b/inside", Follow::Always).unwrap(),
        b"/a/b/inside"
    );
    assert_eq!(find(&root, b"a/b/file", Follow::Always), Err(Errno::ENOENT));
    assert_eq!(find(&root, b"a/b/..", Follow::Always).unwrap(), b"/a");
    assert_eq!(directory_path(&root, &mounted).unwrap(), b"/a/b");
    assert!(mount::is_mount(mounted.id()));
}

#[test]
fn a_process_root_is_not_left() {
    let root = tree();
    let a = resolve(
        &Context {
            root: &root,
            start: &root,
        },
        b"a",
        Follow::Always,
    )
    .unwrap()
    .inode;
    assert_eq!(find(&a, b"../../b/..", Follow::Always).unwrap(), b"/");
    assert_eq!(directory_path(&a, &root), Err(Errno::ENOENT));
}

#[test]
fn a_removed_directory_has_no_path() {
    let root = tree();
    let gone = make(&root, b"gone", FileKind::Directory);
    root.clone().rmdir(b"gone").unwrap();
    assert_eq!(directory_path(&root, &gone), Err(Errno::ENOENT));
    let context = Context {
        root: &root,
        start: &gone,
    };
    assert_eq!(
        resolve(&context, b"x", Follow::Always).err(),
        Some(Errno::ENOENT)
    );
    assert_eq!(
        gone.create(b"x", &NewInode::of(FileKind::Regular, Mode::new(0o644)))
            .err(),
        Some(Errno::ENOENT)
    );
}

use super::testing::{Item, build, directory, leak};
use super::*;
use alloc::string::String;
use proptest::prelude::*;

const PHYS: u64 = 64 << 30;

fn mount(root: &Item) -> Image {
    Image::mount(leak(build(root)), PHYS).unwrap()
}

fn find(image: &Image, path: &str) -> Result<Node> {
    let names = path.split('/').filter(|name| !name.is_empty());
    names.fold(image.node(image.root()), |node, name| {
        image.node(image.find(&node?, name.as_bytes())?)
    })
}

fn read(image: &Image, node: &Node) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while (bytes.len() as u64) < node.size {
        match image.extent(node, bytes.len() as u64)? {
            Extent::Data(data) => bytes.extend_from_slice(data),
            Extent::Hole(len) => bytes.resize(bytes.len() + len as usize, 0),
        }
    }
    Ok(bytes)
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i / 7 % 251) as u8 + 1).collect()
}

#[test]
fn every_layout_reads_back() {
    let mut holes = pattern(3 * 4096 + 5);
    holes[4096..8192].fill(0);
    let mut names = Vec::new();
    for (i, len) in [0, 1, 4095, 4096, 4097, 20_000].into_iter().enumerate() {
        for (kind, item) in [
            ("p", Item::Plain(pattern(len))),
            ("i", Item::Inline(pattern(len))),
        ] {
            names.push((alloc::format!("{kind}{i}"), len, item));
        }
    }
    let mut entries: alloc::collections::BTreeMap<_, _> = names
        .iter()
        .map(|(name, _, item)| (name.clone().into_bytes(), item.clone()))
        .collect();
    entries.insert(b"holes".to_vec(), Item::Chunked(holes.clone()));
    entries.insert(b"link".to_vec(), Item::Link(b"p0".to_vec()));
    let image = mount(&Item::Directory(entries));
    for (name, len, _) in &names {
        let node = find(&image, name).unwrap();
        assert_eq!(read(&image, &node).unwrap(), pattern(*len), "{name}");
        assert_eq!(
            image.page(&node, (*len as u64).div_ceil(4096)),
            None,
            "{name}"
        );
    }
    let node = find(&image, "holes").unwrap();
    assert_eq!(read(&image, &node).unwrap(), holes);
    assert_eq!(image.page(&node, 1), None);
    assert_eq!(image.run(&node).map(|run| run.1), Some(4096));
    let link = find(&image, "link").unwrap();
    assert_eq!(image.link_target(&link).unwrap(), b"p0");
}

#[test]
fn pages_of_plain_files_are_the_images() {
    let image = mount(&directory([("f", Item::Plain(pattern(10_000)))]));
    let node = find(&image, "f").unwrap();
    let (phys, len) = image.run(&node).unwrap();
    assert_eq!(len, 10_000);
    assert_eq!(phys % 4096, 0);
    for index in 0..3 {
        assert_eq!(image.page(&node, index), Some(phys + index * 4096));
    }
    assert_eq!(image.page(&node, 3), None);
}

#[test]
fn large_directories_are_searched_and_listed() {
    let name = |i: usize| alloc::format!("entry-number-{:05}", i * 3);
    let entries = (0..2000)
        .map(|i| (name(i).into_bytes(), Item::Plain(Vec::new())))
        .collect();
    let image = mount(&Item::Directory(entries));
    let root = image.node(image.root()).unwrap();
    for i in [0, 1, 999, 1998, 1999] {
        assert!(image.find(&root, name(i).as_bytes()).is_ok());
    }
    for missing in ["", "a", "entry-number-00001", "zzz"] {
        assert_eq!(image.find(&root, missing.as_bytes()), Err(Errno::ENOENT));
    }
    // In pieces of 7, going on by position.
    let (mut seen, mut position) = (Vec::new(), 0);
    loop {
        let before = seen.len();
        image
            .list(&root, position, &mut |entry| {
                seen.push(String::from_utf8_lossy(entry.name).into_owned());
                position = entry.next;
                seen.len() < before + 7
            })
            .unwrap();
        if seen.len() == before {
            break;
        }
    }
    assert_eq!(seen, (0..2000).map(name).collect::<Vec<_>>());
}

#[test]
fn what_can_not_be_mounted_says_why() {
    let good = build(&directory([]));
    let with = |at: usize, byte: u8| {
        let mut image = good.clone();
        image[1024 + at] = byte;
        Image::mount(leak(image), PHYS).err()
    };
    assert_eq!(Image::mount(&[], PHYS).err(), Some(MountError::TooShort));
    assert_eq!(with(0, 0), Some(MountError::Magic(0xE0F5_E100)));
    assert_eq!(with(12, 9), Some(MountError::BlockSize(9)));
    assert_eq!(with(80, 2), Some(MountError::Features(2)));
    assert_eq!(with(14, 0xff), Some(MountError::Root));
}

/// Walks everything there is, as far as a corrupt image lets it; must only not panic or hang.
fn explore(image: &Image) {
    let mut nodes = Vec::from([image.root()]);
    let mut steps = 0;
    while let Some(nid) = nodes.pop() {
        steps += 1;
        if steps > 200 {
            return;
        }
        let Ok(node) = image.node(nid) else { continue };
        for index in 0..4 {
            let page = image.page(&node, index);
            assert!(page.is_none_or(|phys| phys >= PHYS && phys % 4096 == 0));
        }
        for offset in [0, 1, 4096, node.size / 2, node.size.saturating_sub(1)] {
            if offset < node.size {
                let _ = image.extent(&node, offset);
            }
        }
        let _ = image.run(&node);
        let _ = image.link_target(&node);
        let _ = image.find(&node, b"file");
        let mut listed = 0;
        let _ = image.list(&node, 0, &mut |entry| {
            nodes.push(entry.nid);
            listed += 1;
            listed < 50
        });
    }
}

fn sample() -> Item {
    directory([
        ("chunks", Item::Chunked(pattern(9000))),
        ("file", Item::Inline(pattern(5000))),
        ("link", Item::Link(b"file".to_vec())),
        ("sub", directory([("deep", Item::Plain(pattern(100)))])),
    ])
}

proptest! {
    #[test]
    fn corrupt_images_give_errors(
        changes in prop::collection::vec((0usize..8 * 4096, any::<u8>()), 1..40),
        cut in prop::option::of(0usize..12 * 4096),
    ) {
        let mut bytes = build(&sample());
        // Most changes go where they hurt: superblock and inodes.
        for (at, value) in changes {
            let at = match at % 4 {
                0 => at,
                1 => 1024 + at % 128,
                _ => 4096 * (1 + at % 6) + at / 7 % 80,
            };
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
        }
        bytes.truncate(cut.unwrap_or(usize::MAX));
        if let Ok(image) = Image::mount(leak(bytes), PHYS) {
            explore(&image);
        }
    }
}

/// Images of the real builder, where it is installed.
#[test]
fn reads_what_mkfs_writes() {
    let dir = std::env::temp_dir().join(std::format!("sentry-erofs-{}", std::process::id()));
    let source = dir.join("source");
    std::fs::create_dir_all(source.join("sub")).unwrap();
    std::fs::write(source.join("small"), pattern(11)).unwrap();
    std::fs::write(source.join("large"), pattern(70_001)).unwrap();
    for i in 0..600 {
        std::fs::write(source.join("sub").join(std::format!("name-{i:04}")), b"").unwrap();
    }
    let target = dir.join("image");
    let made = std::process::Command::new("mkfs.erofs")
        .arg(&target)
        .arg(&source)
        .output();
    let bytes = made
        .ok()
        .filter(|made| made.status.success())
        .map(|_| std::fs::read(&target));
    std::fs::remove_dir_all(&dir).unwrap();
    let Some(bytes) = bytes else {
        std::eprintln!("mkfs.erofs is not installed: only our own builder was tested");
        return;
    };
    let image = Image::mount(leak(bytes.unwrap()), PHYS).unwrap();
    for (name, len) in [("small", 11), ("large", 70_001)] {
        let node = find(&image, name).unwrap();
        assert_eq!(read(&image, &node).unwrap(), pattern(len));
    }
    assert_eq!(
        find(&image, "sub/name-0599").unwrap().kind,
        FileKind::Regular
    );
    assert_eq!(find(&image, "sub/name-0600").err(), Some(Errno::ENOENT));
}

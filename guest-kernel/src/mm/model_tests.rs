//! Random sequences of memory calls against a simple model: a map from page to what a program must
//! find there. Whatever areas, tables and frames do underneath has to agree, and no frame may leak.

use super::tests::{TestFile, live, pattern};
use super::*;
use crate::errno::Errno;
use proptest::prelude::*;
use sprout_abi::layout::PAGE_SIZE;
use std::collections::BTreeMap;
use std::string::String;
use std::sync::{Arc, OnceLock};
use std::vec::Vec;

/// Where the tests play: a little more than two large pages.
const BASE: u64 = 0x4000_0000;
const PAGES: u64 = 1100;
/// Byte of each page that is written and read.
const PROBE: u64 = 1234;
const FILE_PAGES: u64 = 600;

#[derive(Clone, Debug)]
enum Operation {
    Map {
        at: u64,
        len: u64,
        prot: Prot,
        kind: Kind,
    },
    Unmap {
        at: u64,
        len: u64,
    },
    Protect {
        at: u64,
        len: u64,
        prot: Prot,
    },
    Move {
        at: u64,
        len: u64,
        target: u64,
        new_len: u64,
    },
    Discard {
        at: u64,
        len: u64,
    },
    Write {
        at: u64,
        value: u8,
    },
    Fill {
        at: u64,
        len: u64,
        value: u8,
    },
    Read {
        at: u64,
        len: u64,
    },
    /// Forks, writes in the child, and goes on with the child or with the parent.
    Fork {
        at: u64,
        value: u8,
        stay: bool,
    },
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Private,
    SmallPages,
    Shared,
    ImageFile(u64),
    RamFile(u64),
}

/// What a page holds.
#[derive(Clone, Copy, Debug)]
enum Content {
    /// Its value; and what it is again when discarded.
    Private { value: u8, origin: u8 },
    /// A page of a shared object.
    Shared { object: usize, page: u64 },
}

#[derive(Clone, Copy, Debug)]
struct Page {
    prot: Prot,
    content: Content,
}

struct World {
    space: AddressSpace,
    pages: BTreeMap<u64, Page>,
    /// Values of shared objects, by object and page; absent: zero.
    shared: BTreeMap<(usize, u64), u8>,
    objects: usize,
    image: Arc<TestFile>,
    ram: Arc<TestFile>,
    bytes: &'static [u8],
}

fn addr(page: u64) -> u64 {
    BASE + page * PAGE_SIZE
}

impl World {
    fn value(&self, page: &Page) -> u8 {
        match page.content {
            Content::Private { value, .. } => value,
            Content::Shared { object, page } => {
                self.shared.get(&(object, page)).copied().unwrap_or(0)
            }
        }
    }

    /// What reading the probe of page `at` must give.
    fn expected(&self, at: u64) -> Option<u8> {
        let page = self.pages.get(&at).filter(|page| !page.prot.is_empty())?;
        Some(self.value(page))
    }

    fn check(&self, at: u64) {
        let mut byte = [0];
        let read = self.space.read_some(addr(at) + PROBE, &mut byte);
        let found = (read == 1).then_some(byte[0]);
        assert_eq!(
            found,
            self.expected(at),
            "page {at}: {:?}",
            self.pages.get(&at)
        );
    }

    fn write(&mut self, at: u64, value: u8) {
        let written = self.space.write_some(addr(at) + PROBE, &[value]) == 1;
        let allowed = self
            .pages
            .get(&at)
            .is_some_and(|page| page.prot.contains(Prot::WRITE));
        assert_eq!(written, allowed, "write to page {at}");
        if !allowed {
            return;
        }
        match self.pages.get_mut(&at).map(|page| &mut page.content) {
            Some(Content::Private { value: old, .. }) => *old = value,
            Some(Content::Shared { object, page }) => {
                self.shared.insert((*object, *page), value);
            }
            None => {}
        }
    }

    fn map(&mut self, at: u64, len: u64, prot: Prot, kind: Kind) {
        let mut flags = MapFlags::FIXED;
        let (file, offset) = match kind {
            Kind::ImageFile(offset) => (Some(&self.image), offset),
            Kind::RamFile(offset) => (Some(&self.ram), offset),
            _ => (None, 0),
        };
        let len = if file.is_some() {
            len.min(FILE_PAGES - offset)
        } else {
            len
        };
        flags |= match kind {
            Kind::Shared => MapFlags::SHARED | MapFlags::ANONYMOUS,
            Kind::Private => MapFlags::PRIVATE | MapFlags::ANONYMOUS,
            Kind::SmallPages => MapFlags::PRIVATE | MapFlags::ANONYMOUS | MapFlags::STACK,
            Kind::ImageFile(_) | Kind::RamFile(_) => MapFlags::PRIVATE,
        };
        let file = file.map(|file| {
            let file: Arc<dyn FileMapping> = file.clone();
            MapFile {
                file,
                offset: offset * PAGE_SIZE,
                readable: true,
                writable: true,
            }
        });
        let request = MapRequest {
            addr: addr(at),
            len: len * PAGE_SIZE,
            prot,
            flags,
            file,
        };
        let from_file = request.file.is_some();
        assert_eq!(self.space.mmap(&request), Ok(addr(at)));
        for i in 0..len {
            let origin = match from_file {
                true => self.bytes[((offset + i) * PAGE_SIZE + PROBE) as usize],
                false => 0,
            };
            let content = match kind {
                Kind::Shared => Content::Shared {
                    object: self.objects,
                    page: i,
                },
                _ => Content::Private {
                    value: origin,
                    origin,
                },
            };
            self.pages.insert(at + i, Page { prot, content });
        }
        self.objects += 1;
    }

    fn unmap(&mut self, at: u64, len: u64) {
        assert_eq!(self.space.munmap(addr(at), len * PAGE_SIZE), Ok(()));
        (at..at + len).for_each(|page| {
            self.pages.remove(&page);
        });
    }

    fn protect(&mut self, at: u64, len: u64, prot: Prot) {
        let result = self.space.mprotect(addr(at), len * PAGE_SIZE, prot, false);
        let hole = (at..at + len).find(|page| !self.pages.contains_key(page));
        assert_eq!(
            result,
            if hole.is_some() {
                Err(Errno::ENOMEM)
            } else {
                Ok(())
            }
        );
        for page in at..hole.unwrap_or(at + len) {
            self.pages.entry(page).and_modify(|page| page.prot = prot);
        }
    }

    fn remap(&mut self, at: u64, len: u64, target: u64, new_len: u64) {
        let flags = RemapFlags::MAYMOVE | RemapFlags::FIXED;
        let (old, new) = (len * PAGE_SIZE, new_len * PAGE_SIZE);
        let result = self.space.mremap(addr(at), old, new, flags, addr(target));
        if at < target + new_len && target < at + len {
            assert_eq!(result, Err(Errno::EINVAL));
            return;
        }
        // Whether the range is one area depends on its history; a failure must change nothing,
        // which the checks that follow find out.
        if result.is_err() {
            assert_eq!(result, Err(Errno::EFAULT));
            return;
        }
        assert_eq!(result, Ok(addr(target)));
        let moved: Vec<Page> = (at..at + len)
            .filter_map(|page| self.pages.remove(&page))
            .collect();
        assert_eq!(moved.len() as u64, len, "moved a range with holes");
        (target..target + new_len).for_each(|page| {
            self.pages.remove(&page);
        });
        for (i, page) in (0..new_len).zip(&moved) {
            self.pages.insert(target + i, *page);
        }
        // What is new behind the end depends on the backing: only anonymous memory is modelled.
        if new_len > len {
            self.unmap(target + len, new_len - len);
        }
    }

    fn discard(&mut self, at: u64, len: u64) {
        let result = self
            .space
            .madvise(addr(at), len * PAGE_SIZE, advice::DONTNEED);
        let whole = (at..at + len).all(|page| self.pages.contains_key(&page));
        assert_eq!(result, if whole { Ok(()) } else { Err(Errno::ENOMEM) });
        for (_, page) in self.pages.range_mut(at..at + len) {
            if let Content::Private { value, origin } = &mut page.content {
                *value = *origin;
            }
        }
    }

    fn fork(&mut self, at: u64, value: u8, stay: bool) {
        let child = self.space.fork().unwrap();
        let pages = self.pages.clone();
        let parent = core::mem::replace(&mut self.space, child);
        // Written in the child; the parent must not see it, shared memory apart.
        self.write(at, value);
        self.check(at);
        let child_pages = core::mem::replace(&mut self.pages, pages);
        let child = core::mem::replace(&mut self.space, parent);
        self.check(at);
        if !stay {
            self.space = child;
            self.pages = child_pages;
        }
    }

    fn apply(&mut self, operation: &Operation) {
        match *operation {
            Operation::Map {
                at,
                len,
                prot,
                kind,
            } => self.map(at, len, prot, kind),
            Operation::Unmap { at, len } => self.unmap(at, len),
            Operation::Protect { at, len, prot } => self.protect(at, len, prot),
            Operation::Move {
                at,
                len,
                target,
                new_len,
            } => self.remap(at, len, target, new_len),
            Operation::Discard { at, len } => self.discard(at, len),
            Operation::Write { at, value } => self.write(at, value),
            Operation::Fill { at, len, value } => {
                (at..at + len).for_each(|page| self.write(page, value.wrapping_add(page as u8)));
            }
            Operation::Read { at, len } => (at..at + len).for_each(|page| self.check(page)),
            Operation::Fork { at, value, stay } => self.fork(at, value, stay),
        }
    }

    /// The areas must cover exactly the model's pages, with their protection.
    fn check_areas(&self) {
        let mut maps = String::new();
        self.space.write_maps(&mut maps).unwrap();
        let mut found = BTreeMap::new();
        for line in maps.lines() {
            let number = |text: &str| u64::from_str_radix(text, 16).unwrap();
            let (start, end) = (number(&line[..8]), number(&line[9..17]));
            for page in (start..end).step_by(PAGE_SIZE as usize) {
                found.insert((page - BASE) / PAGE_SIZE, String::from(&line[18..21]));
            }
        }
        let letters = |prot: Prot| -> String {
            [(Prot::READ, 'r'), (Prot::WRITE, 'w'), (Prot::EXEC, 'x')]
                .map(|(bit, letter)| if prot.contains(bit) { letter } else { '-' })
                .iter()
                .collect()
        };
        let wanted: BTreeMap<u64, String> = self
            .pages
            .iter()
            .map(|(page, what)| (*page, letters(what.prot)))
            .collect();
        assert_eq!(found, wanted);
    }
}

/// Mostly few pages around the bounds of large ones, so that operations meet.
fn place() -> impl Strategy<Value = u64> {
    prop_oneof![3 => 0..12u64, 3 => 506..518u64, 1 => 1018..1030u64, 1 => 0..PAGES]
}

fn range() -> impl Strategy<Value = (u64, u64)> {
    let small = (place(), 1..24u64);
    let large = (0..PAGES, 1..PAGES);
    // Boundaries of large pages are where splits and joins happen.
    let aligned = (0..3u64, 0..3u64).prop_map(|(at, len)| (at * 512, len * 512 + 1));
    prop_oneof![3 => small, 1 => large, 1 => aligned]
        .prop_map(|(at, len)| (at, len.min(PAGES - at)))
}

fn prot() -> impl Strategy<Value = Prot> {
    let read_write = Prot::READ | Prot::WRITE;
    prop_oneof![
        4 => Just(read_write),
        1 => Just(Prot::READ),
        1 => Just(Prot::empty()),
        1 => Just(Prot::READ | Prot::EXEC),
    ]
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        3 => Just(Kind::Private),
        2 => Just(Kind::SmallPages),
        1 => Just(Kind::Shared),
        2 => (0..FILE_PAGES).prop_map(Kind::ImageFile),
        1 => (0..FILE_PAGES).prop_map(Kind::RamFile),
    ]
}

fn operation() -> impl Strategy<Value = Operation> {
    let page = place;
    prop_oneof![
        3 => (range(), prot(), kind())
            .prop_map(|((at, len), prot, kind)| Operation::Map { at, len, prot, kind }),
        1 => range().prop_map(|(at, len)| Operation::Unmap { at, len }),
        3 => (range(), prot()).prop_map(|((at, len), prot)| Operation::Protect { at, len, prot }),
        2 => (range(), range()).prop_map(|((at, len), (target, new_len))| {
            Operation::Move { at, len, target, new_len }
        }),
        1 => range().prop_map(|(at, len)| Operation::Discard { at, len }),
        4 => (page(), any::<u8>()).prop_map(|(at, value)| Operation::Write { at, value }),
        2 => (range(), any::<u8>())
            .prop_map(|((at, len), value)| Operation::Fill { at, len: len.min(80), value }),
        2 => range().prop_map(|(at, len)| Operation::Read { at, len: len.min(80) }),
        1 => (page(), any::<u8>(), any::<bool>())
            .prop_map(|(at, value, stay)| Operation::Fork { at, value, stay }),
    ]
}

/// Content of the files, and the one in an image, which stays for ever: one for all cases.
fn image() -> (&'static [u8], Arc<TestFile>) {
    static IMAGE: OnceLock<(Vec<u8>, Arc<TestFile>)> = OnceLock::new();
    let (bytes, image) = IMAGE.get_or_init(|| {
        let bytes = pattern((FILE_PAGES * PAGE_SIZE) as usize);
        let image = TestFile::in_image(&bytes);
        (bytes, image)
    });
    (bytes, image.clone())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 96,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn memory_calls_agree_with_the_model(operations in prop::collection::vec(operation(), 1..160)) {
        let before = live();
        let (bytes, image) = image();
        let mut world = World {
            space: AddressSpace::new().unwrap(),
            pages: BTreeMap::new(),
            shared: BTreeMap::new(),
            objects: 0,
            image,
            ram: TestFile::in_ram(bytes),
            bytes,
        };
        for (step, operation) in operations.iter().enumerate() {
            world.apply(operation);
            if step % 8 == 0 {
                world.check_areas();
            }
        }
        world.check_areas();
        (0..PAGES).for_each(|page| world.check(page));
        prop_assert!(world.image.content() == world.bytes, "a private write reached the image");
        prop_assert!(world.ram.content() == world.bytes, "a private write reached the file");
        world.space.munmap(BASE, PAGES * PAGE_SIZE).unwrap();
        let usage = world.space.usage();
        prop_assert_eq!((usage.rss_anonymous, usage.rss_file, usage.tables), (0, 0, PAGE_SIZE));
        drop(world);
        prop_assert_eq!(live(), before);
    }
}

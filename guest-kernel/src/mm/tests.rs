//! Address spaces as programs see them, on the host.

use super::*;
use crate::errno::{Errno, Result};
use sprout_abi::layout::{HUGE_PAGE_SIZE, PAGE_SIZE, USER_END};
use std::string::String;
use std::sync::Arc;
use std::vec::Vec;

const PAGE: u64 = PAGE_SIZE;
const RW: Prot = Prot::READ.union(Prot::WRITE);
const ANON: MapFlags = MapFlags::PRIVATE.union(MapFlags::ANONYMOUS);

pub(super) fn live() -> i64 {
    frame::LIVE.with(core::cell::Cell::get)
}

fn request(addr: u64, len: u64, prot: Prot, flags: MapFlags) -> MapRequest {
    MapRequest {
        addr,
        len,
        prot,
        flags,
        file: None,
    }
}

fn map(space: &AddressSpace, len: u64, prot: Prot, flags: MapFlags) -> u64 {
    space.mmap(&request(0, len, prot, flags)).unwrap()
}

fn read_byte(space: &AddressSpace, addr: u64) -> Option<u8> {
    let mut byte = [0];
    (space.read_some(addr, &mut byte) == 1).then_some(byte[0])
}

fn maps(space: &AddressSpace) -> String {
    let mut text = String::new();
    space.write_maps(&mut text).unwrap();
    text
}

/// A file in an image or in RAM.
pub(super) struct TestFile {
    image: Option<(u64, u64)>,
    frames: Vec<Frame>,
    size: u64,
}

impl TestFile {
    pub(super) fn in_image(bytes: &[u8]) -> Arc<TestFile> {
        let phys = host_image(bytes);
        let size = bytes.len() as u64;
        Arc::new(TestFile {
            image: Some((phys, size)),
            frames: Vec::new(),
            size,
        })
    }

    pub(super) fn in_ram(bytes: &[u8]) -> Arc<TestFile> {
        let frames = bytes.chunks(PAGE as usize).map(|chunk| {
            let frame = Frame::zeroed().unwrap();
            frame.write(0, chunk);
            frame
        });
        let size = bytes.len() as u64;
        Arc::new(TestFile {
            image: None,
            frames: frames.collect(),
            size,
        })
    }
}

impl TestFile {
    /// The file's own bytes.
    pub(super) fn content(&self) -> Vec<u8> {
        let mut bytes = std::vec![0; self.size as usize];
        for (index, chunk) in bytes.chunks_mut(PAGE as usize).enumerate() {
            let page = self.page(index as u64).unwrap();
            phys::read(page.phys(), chunk);
        }
        bytes
    }
}

impl FileMapping for TestFile {
    fn page(&self, index: u64) -> Result<FilePage> {
        if index * PAGE >= self.size {
            return Err(Errno::EIO);
        }
        Ok(match self.image {
            Some((phys, _)) => FilePage::Image(phys + index * PAGE),
            None => FilePage::Frame(self.frames[index as usize].clone()),
        })
    }
    fn image_run(&self) -> Option<(u64, u64)> {
        self.image
    }
    fn size(&self) -> u64 {
        self.size
    }
    fn path(&self) -> Vec<u8> {
        b"/bin/test".to_vec()
    }
    fn identity(&self) -> (u64, u64) {
        (0x803, 77)
    }
}

fn map_file(space: &AddressSpace, file: &Arc<TestFile>, prot: Prot, flags: MapFlags) -> u64 {
    let len = file.size;
    let file: Arc<dyn FileMapping> = file.clone();
    let file = Some(MapFile {
        file,
        offset: 0,
        readable: true,
        writable: true,
    });
    space
        .mmap(&MapRequest {
            addr: 0,
            len,
            prot,
            flags,
            file,
        })
        .unwrap()
}

pub(super) fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i / 4096 + i) as u8).collect()
}

#[test]
fn anonymous_memory_is_zero_and_keeps_what_is_written() {
    let before = live();
    let space = AddressSpace::new().unwrap();
    let addr = map(&space, 100 * PAGE, RW, ANON);
    let bytes = pattern(10_000);
    assert_eq!(space.write_some(addr + 5000, &bytes), bytes.len());
    let mut back = std::vec![1; 20_000];
    assert_eq!(space.read_some(addr, &mut back), back.len());
    assert!(back[..5000].iter().all(|byte| *byte == 0));
    assert_eq!(back[5000..15_000], bytes);
    assert!(back[15_000..].iter().all(|byte| *byte == 0));
    assert_eq!(space.zero_some(addr + 6000, 3000), 3000);
    assert_eq!(read_byte(&space, addr + 7000), Some(0));
    space.munmap(addr, 100 * PAGE).unwrap();
    assert_eq!(space.read_some(addr, &mut back), 0);
    assert_eq!(space.usage().rss_anonymous, 0);
    drop(space);
    assert_eq!(live(), before);
}

#[test]
fn copies_stop_at_the_first_page_that_is_not_accessible() {
    let space = AddressSpace::new().unwrap();
    let addr = map(&space, 4 * PAGE, RW, ANON);
    space
        .mprotect(addr + 2 * PAGE, PAGE, Prot::READ, false)
        .unwrap();
    space
        .mprotect(addr + 3 * PAGE, PAGE, Prot::empty(), false)
        .unwrap();
    let bytes = [7; 4 * PAGE as usize];
    assert_eq!(
        space.write_some(addr + 100, &bytes),
        2 * PAGE as usize - 100
    );
    let mut back = bytes;
    assert_eq!(space.read_some(addr, &mut back), 3 * PAGE as usize);
    assert_eq!(space.write_some(USER_END, &bytes), 0);
    assert_eq!(space.write_some(u64::MAX - 10, &bytes), 0);
    assert_eq!(
        space.fault(addr + 3 * PAGE, Access::Read),
        Err(FaultError::NotAllowed)
    );
    assert_eq!(
        space.fault(addr + 2 * PAGE, Access::Write),
        Err(FaultError::NotAllowed)
    );
    assert_eq!(
        space.fault(addr, Access::Execute),
        Err(FaultError::NotAllowed)
    );
    assert_eq!(
        space.fault(addr + 4 * PAGE, Access::Read),
        Err(FaultError::NotMapped)
    );
}

#[test]
fn content_survives_prot_none_and_back() {
    let space = AddressSpace::new().unwrap();
    let addr = map(&space, 2 * HUGE_PAGE_SIZE, RW, ANON);
    space.write_some(addr, b"kept");
    space.write_some(addr + HUGE_PAGE_SIZE + 5 * PAGE, b"too");
    space
        .mprotect(addr, 2 * HUGE_PAGE_SIZE, Prot::empty(), false)
        .unwrap();
    assert_eq!(read_byte(&space, addr), None);
    space
        .mprotect(addr + HUGE_PAGE_SIZE + 5 * PAGE, PAGE, RW, false)
        .unwrap();
    assert_eq!(read_byte(&space, addr + HUGE_PAGE_SIZE + 4 * PAGE), None);
    assert_eq!(
        read_byte(&space, addr + HUGE_PAGE_SIZE + 5 * PAGE),
        Some(b't')
    );
    space.mprotect(addr, 2 * HUGE_PAGE_SIZE, RW, false).unwrap();
    assert_eq!(read_byte(&space, addr + 1), Some(b'e'));
    assert_eq!(maps(&space).lines().count(), 1, "equal areas join again");
}

#[test]
fn image_files_are_mapped_in_place_and_copied_on_write() {
    let before = live();
    let space = AddressSpace::new().unwrap();
    let bytes = pattern(300_000);
    let file = TestFile::in_image(&bytes);
    let addr = map_file(&space, &file, RW, MapFlags::PRIVATE);
    let mut back = std::vec![0; bytes.len()];
    assert_eq!(space.read_some(addr, &mut back), back.len());
    assert_eq!(back, bytes);
    assert_eq!(space.usage().rss_anonymous, 0);
    assert_eq!(space.write_some(addr + 8192, b"mine"), 4);
    assert_eq!(read_byte(&space, addr + 8192), Some(b'm'));
    assert_eq!(read_byte(&space, addr + 8196), Some(bytes[8196]));
    assert_eq!(space.usage().rss_anonymous, PAGE);
    // Other mappings see the file as it was; what is behind its end in the last page is zero.
    let again = map_file(&space, &file, Prot::READ, MapFlags::PRIVATE);
    assert_eq!(read_byte(&space, again + 8192), Some(bytes[8192]));
    assert_eq!(read_byte(&space, again + 300_000), Some(0));
    // Discarding private pages brings the file's back.
    space.madvise(addr, 3 * PAGE, advice::DONTNEED).unwrap();
    assert_eq!(read_byte(&space, addr + 8192), Some(bytes[8192]));
    drop(space);
    assert_eq!(live(), before);
}

#[test]
fn pages_behind_the_end_of_a_file_are_bus_errors() {
    let space = AddressSpace::new().unwrap();
    for file in [
        TestFile::in_image(&pattern(5000)),
        TestFile::in_ram(&pattern(5000)),
    ] {
        let mapping: Arc<dyn FileMapping> = file.clone();
        let file = Some(MapFile {
            file: mapping,
            offset: 0,
            readable: true,
            writable: true,
        });
        let flags = MapFlags::PRIVATE;
        let wanted = MapRequest {
            addr: 0,
            len: 5 * PAGE,
            prot: RW,
            flags,
            file,
        };
        let addr = space.mmap(&wanted).unwrap();
        assert_eq!(space.fault(addr + PAGE, Access::Read), Ok(()));
        assert_eq!(
            space.fault(addr + 2 * PAGE, Access::Read),
            Err(FaultError::BeyondFile)
        );
        assert_eq!(
            space.fault(addr + 2 * PAGE, Access::Write),
            Err(FaultError::BeyondFile)
        );
    }
}

#[test]
fn large_image_mappings_use_large_pages_and_split_when_needed() {
    let space = AddressSpace::new().unwrap();
    let bytes = pattern(5 << 20);
    let file = TestFile::in_image(&bytes);
    let exec = Prot::READ | Prot::EXEC;
    let addr = map_file(&space, &file, exec, MapFlags::PRIVATE);
    assert_eq!(addr % HUGE_PAGE_SIZE, 0);
    space.fault(addr + 12345, Access::Execute).unwrap();
    assert_eq!(space.usage().rss_file, HUGE_PAGE_SIZE);
    space
        .fault(addr + 2 * HUGE_PAGE_SIZE, Access::Read)
        .unwrap();
    assert_eq!(
        space.usage().rss_file,
        HUGE_PAGE_SIZE + 64 * PAGE,
        "the tail is not covered"
    );
    space.mprotect(addr + 7 * PAGE, PAGE, RW, false).unwrap();
    space.write_some(addr + 7 * PAGE, &[0xee]);
    assert_eq!(read_byte(&space, addr + 7 * PAGE), Some(0xee));
    assert_eq!(read_byte(&space, addr + 8 * PAGE), Some(bytes[8 * 4096]));
    space.munmap(addr, HUGE_PAGE_SIZE).unwrap();
    assert_eq!(read_byte(&space, addr + 8 * PAGE), None);
}

#[test]
fn shared_files_are_one_memory_and_private_ones_are_not() {
    let before = live();
    let file = TestFile::in_ram(&pattern(3 * 4096));
    {
        let space = AddressSpace::new().unwrap();
        let shared = map_file(&space, &file, RW, MapFlags::SHARED);
        let private = map_file(&space, &file, RW, MapFlags::PRIVATE);
        assert_eq!(read_byte(&space, private), Some(0));
        space.write_some(shared, b"both");
        assert_eq!(read_byte(&space, private), Some(b'b'));
        space.write_some(private, b"X");
        assert_eq!(read_byte(&space, shared), Some(b'b'));
        let mut byte = [0];
        file.frames[0].read(0, &mut byte);
        assert_eq!(byte, *b"b");
        let child = space.fork().unwrap();
        child.write_some(shared + 1, b"B");
        assert_eq!(read_byte(&space, shared + 1), Some(b'B'));
    }
    drop(file);
    assert_eq!(live(), before);
}

#[test]
fn shared_anonymous_memory_is_shared_with_children() {
    let before = live();
    let space = AddressSpace::new().unwrap();
    let addr = map(
        &space,
        10 * PAGE,
        RW,
        MapFlags::SHARED | MapFlags::ANONYMOUS,
    );
    let child = space.fork().unwrap();
    child.write_some(addr + 3 * PAGE, b"hi");
    assert_eq!(read_byte(&space, addr + 3 * PAGE), Some(b'h'));
    assert!(space.is_shared(addr).unwrap());
    let (here, there) = (addr + 3 * PAGE, addr + 3 * PAGE);
    let key = space.translate(here, Access::Read).unwrap();
    assert_eq!(child.translate(there, Access::Read).unwrap(), key);
    drop(space);
    drop(child);
    assert_eq!(live(), before);
}

#[test]
fn fork_copies_on_write_and_the_last_owner_keeps_the_page() {
    let before = live();
    let space = AddressSpace::new().unwrap();
    let addr = map(&space, 4 * HUGE_PAGE_SIZE, RW, ANON | MapFlags::STACK);
    let large = map(&space, 4 * HUGE_PAGE_SIZE, RW, ANON);
    for base in [addr, large] {
        space.write_some(base, b"parent");
        space.write_some(base + 9 * PAGE, b"parent");
    }
    let child = space.fork().unwrap();
    for base in [addr, large] {
        child.write_some(base, b"child!");
        assert_eq!(read_byte(&space, base), Some(b'p'));
        assert_eq!(read_byte(&child, base), Some(b'c'));
        space.write_some(base + 9 * PAGE, b"PARENT");
        assert_eq!(read_byte(&child, base + 9 * PAGE), Some(b'p'));
    }
    drop(child);
    let used = live();
    space.write_some(addr, b"again");
    assert_eq!(live(), used, "the only owner left writes in place");
    assert_eq!(read_byte(&space, addr), Some(b'a'));
    drop(space);
    assert_eq!(live(), before);
}

#[test]
fn fork_honours_advice() {
    let space = AddressSpace::new().unwrap();
    let (kept, gone, wiped) = (
        map(&space, PAGE, RW, ANON),
        map(&space, PAGE, RW, ANON),
        map(&space, PAGE, RW, ANON),
    );
    for addr in [kept, gone, wiped] {
        space.write_some(addr, b"x");
    }
    space.madvise(gone, PAGE, advice::DONTFORK).unwrap();
    space.madvise(wiped, PAGE, advice::WIPEONFORK).unwrap();
    let child = space.fork().unwrap();
    assert_eq!(read_byte(&child, kept), Some(b'x'));
    assert_eq!(read_byte(&child, gone), None);
    assert_eq!(read_byte(&child, wiped), Some(0));
    assert_eq!(read_byte(&space, wiped), Some(b'x'));
    child.write_some(wiped, b"y");
    child.wipe_copy().unwrap();
    assert_eq!(read_byte(&child, kept), Some(b'x'));
    assert_eq!(read_byte(&child, wiped), Some(0));
    assert_eq!(read_byte(&space, wiped), Some(b'x'));
}

#[test]
fn bad_arguments_give_linux_errnos() {
    let space = AddressSpace::new().unwrap();
    let fixed = ANON | MapFlags::FIXED;
    let errno = |request: &MapRequest| space.mmap(request).unwrap_err();
    assert_eq!(errno(&request(0, 0, RW, ANON)), Errno::EINVAL);
    assert_eq!(
        errno(&request(0, PAGE, RW, MapFlags::ANONYMOUS)),
        Errno::EINVAL
    );
    assert_eq!(errno(&request(0, u64::MAX, RW, ANON)), Errno::ENOMEM);
    assert_eq!(errno(&request(0, 1 << 47, RW, ANON)), Errno::ENOMEM);
    assert_eq!(errno(&request(0x12345, PAGE, RW, fixed)), Errno::EINVAL);
    assert_eq!(errno(&request(0x1000, PAGE, RW, fixed)), Errno::EPERM);
    assert_eq!(errno(&request(USER_END, PAGE, RW, fixed)), Errno::ENOMEM);
    assert_eq!(errno(&request(0, 64 << 30, RW, ANON)), Errno::ENOMEM);
    let addr = map(&space, 3 * PAGE, RW, ANON);
    let no_replace = ANON | MapFlags::FIXED_NOREPLACE;
    assert_eq!(
        errno(&request(addr + PAGE, PAGE, RW, no_replace)),
        Errno::EEXIST
    );

    assert_eq!(space.munmap(addr + 1, PAGE), Err(Errno::EINVAL));
    assert_eq!(space.munmap(addr, 0), Err(Errno::EINVAL));
    assert_eq!(space.munmap(addr, u64::MAX - addr), Err(Errno::EINVAL));
    assert_eq!(space.munmap(addr - 10 * PAGE, PAGE), Ok(()));
    assert_eq!(
        space.mprotect(addr + 1, PAGE, RW, false),
        Err(Errno::EINVAL)
    );
    assert_eq!(space.mprotect(addr, 0, RW, false), Ok(()));
    assert_eq!(
        space.mprotect(addr, 9 * PAGE, Prot::READ, false),
        Err(Errno::ENOMEM)
    );
    assert_eq!(
        space.write_some(addr, b"x"),
        0,
        "areas before the hole were changed"
    );
    assert_eq!(space.madvise(addr, PAGE, 99), Err(Errno::EINVAL));
    assert_eq!(
        space.madvise(addr + 1, PAGE, advice::FREE),
        Err(Errno::EINVAL)
    );
    assert_eq!(
        space.madvise(addr, 9 * PAGE, advice::DONTNEED),
        Err(Errno::ENOMEM)
    );
    assert_eq!(space.msync(addr, PAGE, 5), Err(Errno::EINVAL));
    assert_eq!(space.msync(addr, 9 * PAGE, 4), Err(Errno::ENOMEM));
    assert_eq!(space.msync(addr, PAGE, 4), Ok(()));
    assert_eq!(space.mincore(addr, 4 * PAGE).unwrap_err(), Errno::ENOMEM);
}

#[test]
fn shared_read_only_files_never_become_writable() {
    let space = AddressSpace::new().unwrap();
    let mapping: Arc<dyn FileMapping> = TestFile::in_ram(&pattern(4096));
    let file = |readable, writable| {
        Some(MapFile {
            file: mapping.clone(),
            offset: 0,
            readable,
            writable,
        })
    };
    let shared = |prot, file| MapRequest {
        addr: 0,
        len: PAGE,
        prot,
        flags: MapFlags::SHARED,
        file,
    };
    assert_eq!(
        space.mmap(&shared(RW, file(true, false))).unwrap_err(),
        Errno::EACCES
    );
    assert_eq!(
        space
            .mmap(&shared(Prot::READ, file(false, true)))
            .unwrap_err(),
        Errno::EACCES
    );
    let addr = space.mmap(&shared(Prot::READ, file(true, false))).unwrap();
    assert_eq!(space.mprotect(addr, PAGE, RW, false), Err(Errno::EACCES));
}

#[test]
fn reservations_cost_nothing() {
    let before = live();
    let space = AddressSpace::new().unwrap();
    let reserve = ANON | MapFlags::NORESERVE;
    let addr = map(&space, 1 << 40, Prot::empty(), reserve);
    assert_eq!(addr % HUGE_PAGE_SIZE, 0);
    map(&space, 10 << 30, RW, reserve);
    assert_eq!(live(), before + 1);
    space
        .mprotect(addr + (3 << 30), 64 << 10, RW, false)
        .unwrap();
    assert_eq!(space.write_some(addr + (3 << 30), b"wasm"), 4);
    assert_eq!(
        space.fault(addr + (3 << 30) + (64 << 10), Access::Write),
        Err(FaultError::NotAllowed)
    );
    space.munmap(addr, 1 << 40).unwrap();
    assert_eq!(live(), before + 1);
}

#[test]
fn large_anonymous_areas_get_large_pages_unless_refused() {
    let space = AddressSpace::new().unwrap();
    let addr = map(&space, 4 * HUGE_PAGE_SIZE, RW, ANON);
    space.fault(addr + 123, Access::Write).unwrap();
    assert_eq!(space.usage().rss_anonymous, HUGE_PAGE_SIZE);
    space
        .madvise(addr + HUGE_PAGE_SIZE, HUGE_PAGE_SIZE, advice::NOHUGEPAGE)
        .unwrap();
    space.fault(addr + HUGE_PAGE_SIZE, Access::Write).unwrap();
    assert!(space.usage().rss_anonymous < HUGE_PAGE_SIZE + 100 * PAGE);
    // Partial discards split.
    space.write_some(addr + 5 * PAGE, b"keep");
    space.madvise(addr, 5 * PAGE, advice::DONTNEED).unwrap();
    assert_eq!(read_byte(&space, addr + 5 * PAGE), Some(b'k'));
    assert_eq!(read_byte(&space, addr), Some(0));
}

#[test]
fn windows_grow_with_sequential_faults() {
    let space = AddressSpace::new().unwrap();
    let addr = map(&space, 400 * PAGE, RW, ANON | MapFlags::STACK);
    let rss = |space: &AddressSpace| space.usage().rss_anonymous / PAGE;
    space.fault(addr, Access::Write).unwrap();
    // Fewer when the frames had to be zeroed.
    let first = rss(&space);
    assert!(first == 16 || first == 8);
    space.fault(addr + first * PAGE, Access::Write).unwrap();
    assert_eq!(rss(&space), first + 64);
}

#[test]
fn the_stack_grows_down_to_its_limit_and_keeps_its_distance() {
    let space = AddressSpace::new().unwrap();
    let top = space.map_stack(4 << 20, 8 << 20).unwrap();
    assert_eq!(top, STACK_TOP - (4 << 20));
    assert_eq!(space.write_some(top - 8, &[1; 8]), 8);
    assert_eq!(space.write_some(top - (4 << 20), &[1; 8]), 8);
    assert_eq!(
        space.fault(top - (9 << 20), Access::Write),
        Err(FaultError::NotMapped)
    );
    assert!(maps(&space).contains("[stack]"));
    let near = top - (6 << 20);
    space
        .mmap(&request(near, PAGE, RW, ANON | MapFlags::FIXED))
        .unwrap();
    assert_eq!(
        space.fault(near + 2 * PAGE, Access::Write),
        Err(FaultError::NotMapped)
    );
    assert_eq!(space.fault(near + (1 << 20) + PAGE, Access::Write), Ok(()));
    let other = map(&space, PAGE, RW, ANON);
    assert!(other < top - (136 << 20));
}

#[test]
fn brk_moves_the_heap_and_stops_at_neighbours() {
    let space = AddressSpace::new().unwrap();
    space.set_brk_start(0x100_0123).unwrap();
    let start = space.brk(0);
    assert_eq!(start, 0x100_1000);
    assert_eq!(space.brk(start + 5000), start + 5000);
    assert_eq!(space.write_some(start, b"heap"), 4);
    assert!(maps(&space).contains("[heap]"));
    assert_eq!(space.brk(start - 1), start + 5000);
    space
        .mmap(&request(start + 4 * PAGE, PAGE, RW, ANON | MapFlags::FIXED))
        .unwrap();
    assert_eq!(space.brk(start + 5 * PAGE), start + 5000);
    assert_eq!(space.brk(start), start);
    assert_eq!(read_byte(&space, start), None);
    let limits = MemoryLimits {
        address_space: u64::MAX,
        data: 2 * PAGE,
        stack: 8 << 20,
    };
    space.set_limits(limits);
    assert_eq!(space.brk(start + 3 * PAGE), start);
}

#[test]
fn mremap_grows_moves_and_shrinks() {
    let before = live();
    let space = AddressSpace::new().unwrap();
    let (may_move, fixed) = (RemapFlags::MAYMOVE, RemapFlags::MAYMOVE | RemapFlags::FIXED);
    let addr = map(&space, 20 * PAGE, RW, ANON);
    let bytes = pattern(4 * 4096);
    space.munmap(addr + 4 * PAGE, 16 * PAGE).unwrap();
    space.write_some(addr, &bytes);
    // In place, then not.
    assert_eq!(
        space.mremap(addr, 4 * PAGE, 8 * PAGE, RemapFlags::empty(), 0),
        Ok(addr)
    );
    assert_eq!(maps(&space).lines().count(), 1);
    space
        .mmap(&request(
            addr + 8 * PAGE,
            PAGE,
            Prot::READ,
            ANON | MapFlags::FIXED,
        ))
        .unwrap();
    let refused = space.mremap(addr, 8 * PAGE, 9 * PAGE, RemapFlags::empty(), 0);
    assert_eq!(refused, Err(Errno::ENOMEM));
    let moved = space
        .mremap(addr, 8 * PAGE, 1024 * PAGE, may_move, 0)
        .unwrap();
    assert_ne!(moved, addr);
    let mut back = std::vec![0; bytes.len()];
    space.read_some(moved, &mut back);
    assert_eq!(back, bytes);
    assert_eq!(read_byte(&space, addr), None);
    let target = 0x1_0000_3000;
    assert_eq!(
        space.mremap(moved + PAGE, 2 * PAGE, PAGE, fixed, target),
        Ok(target)
    );
    assert_eq!(read_byte(&space, target), Some(bytes[4096]));
    assert_eq!(read_byte(&space, moved + 2 * PAGE), None, "shrunk away");
    assert_eq!(read_byte(&space, moved), Some(bytes[0]));
    assert_eq!(
        space.mremap(target, PAGE, 0, may_move, 0),
        Err(Errno::EINVAL)
    );
    assert_eq!(
        space.mremap(0x5000_0000, PAGE, PAGE, may_move, 0),
        Err(Errno::EFAULT)
    );
    let dont_unmap = RemapFlags::MAYMOVE | RemapFlags::DONTUNMAP;
    assert_eq!(
        space.mremap(target, PAGE, 2 * PAGE, dont_unmap, 0),
        Err(Errno::EINVAL)
    );
    let first = read_byte(&space, target);
    let elsewhere = space.mremap(target, PAGE, PAGE, dont_unmap, 0).unwrap();
    assert_eq!(read_byte(&space, elsewhere), first);
    assert_eq!(read_byte(&space, target), Some(0), "an empty area stays");
    drop(space);
    assert_eq!(live(), before);
}

#[test]
fn mremap_moves_large_pages() {
    let before = live();
    let space = AddressSpace::new().unwrap();
    let addr = map(&space, 4 * HUGE_PAGE_SIZE, RW, ANON);
    space.write_some(addr + 7 * PAGE, b"seven");
    let fixed = RemapFlags::MAYMOVE | RemapFlags::FIXED;
    for target in [0x4000_0000, 0x5000_1000u64] {
        let from = if target == 0x4000_0000 {
            addr
        } else {
            0x4000_0000
        };
        let len = 4 * HUGE_PAGE_SIZE;
        assert_eq!(space.mremap(from, len, len, fixed, target), Ok(target));
        assert_eq!(read_byte(&space, target + 7 * PAGE), Some(b's'));
        assert_eq!(read_byte(&space, from + 7 * PAGE), None);
    }
    drop(space);
    assert_eq!(live(), before);
}

#[test]
fn futex_words_are_atomic_and_checked() {
    let space = AddressSpace::new().unwrap();
    let addr = map(&space, PAGE, RW, ANON);
    assert_eq!(space.compare_exchange_u32(addr + 8, 0, 5), Ok(0));
    assert_eq!(space.compare_exchange_u32(addr + 8, 0, 6), Ok(5));
    assert_eq!(space.update_u32(addr + 8, |value| value + 1), Ok(5));
    assert_eq!(space.load_u32(addr + 8), Ok(6));
    assert_eq!(space.load_u32(addr + 2), Err(Errno::EINVAL));
    assert_eq!(space.load_u32(addr + PAGE), Err(Errno::EFAULT));
}

#[test]
fn segments_join_and_end_at_what_the_vmm_can_not_take() {
    let space = AddressSpace::new().unwrap();
    let addr = map(&space, 2 * HUGE_PAGE_SIZE, RW, ANON);
    let segments = space.user_segments(addr + 100, 3 * PAGE, Access::Write, 8);
    assert_eq!(segments.len(), 1);
    assert_eq!(segments[0].len, 3 * PAGE);
    let past = space.user_segments(addr + 2 * HUGE_PAGE_SIZE - 10, 100, Access::Read, 8);
    assert_eq!(past.iter().map(|segment| segment.len).sum::<u64>(), 10);
    let file = map_file(
        &space,
        &TestFile::in_image(&pattern(100)),
        Prot::READ,
        MapFlags::PRIVATE,
    );
    assert!(space.user_segments(file, 10, Access::Read, 8).is_empty());
}

#[test]
fn maps_and_smaps_look_like_linux() {
    let space = AddressSpace::new().unwrap();
    let file = TestFile::in_image(&pattern(3 * 4096));
    let mapping: Arc<dyn FileMapping> = file;
    let file = Some(MapFile {
        file: mapping,
        offset: PAGE,
        readable: true,
        writable: false,
    });
    let prot = Prot::READ | Prot::EXEC;
    let flags = MapFlags::PRIVATE | MapFlags::FIXED;
    space
        .mmap(&MapRequest {
            addr: 0x40_0000,
            len: 2 * PAGE,
            prot,
            flags,
            file,
        })
        .unwrap();
    space
        .mmap(&request(0x50_0000, PAGE, RW, ANON | MapFlags::FIXED))
        .unwrap();
    space.fault(0x40_0000, Access::Read).unwrap();
    assert_eq!(
        maps(&space),
        "00400000-00402000 r-xp 00001000 08:03 77                                 /bin/test\n\
         00500000-00501000 rw-p 00000000 00:00 0 \n"
    );
    let mut smaps = String::new();
    space.write_smaps(&mut smaps).unwrap();
    assert!(smaps.contains("Rss:                   8 kB"), "{smaps}");
    assert!(smaps.contains("VmFlags: rd ex mr mw me \n"));
    assert_eq!(space.usage().size, 3 * PAGE);
}

#[test]
fn kernel_pages_appear_under_their_name_and_stay_the_kernels() {
    let space = AddressSpace::new().unwrap();
    let frame = Frame::zeroed().unwrap();
    frame.write(0, b"vdso");
    let pages = KernelPages::new("[vdso]", std::vec![FilePage::Frame(frame.clone())]);
    let addr = space
        .map_kernel_pages(&[(pages, Prot::READ | Prot::EXEC)])
        .unwrap();
    assert_eq!(read_byte(&space, addr), Some(b'v'));
    assert!(maps(&space).contains("[vdso]"));
    assert_eq!(space.write_some(addr, b"x"), 0);
    drop(space);
    assert!(frame.is_unique());
}

#[test]
fn small_pieces_at_lonely_hints_are_gathered_and_other_hints_are_followed() {
    let space = AddressSpace::new().unwrap();
    // As V8 does it: 256 KiB wherever the dice say, mapped with room to align it.
    let piece = (256 << 10) + (252 << 10);
    let mut pieces = Vec::new();
    for lonely in [0x1234_5678_9000, 0x2345_6789_a000, 0x0fed_cba9_8000] {
        let start = space.mmap(&request(lonely, piece, RW, ANON)).unwrap();
        let aligned = start.next_multiple_of(256 << 10);
        if start < aligned {
            space.munmap(start, aligned - start).unwrap();
        }
        let end = aligned + (256 << 10);
        if end < start + piece {
            space.munmap(end, start + piece - end).unwrap();
        }
        pieces.push(aligned);
    }
    assert_eq!(pieces[0] - pieces[1], 256 << 10);
    assert_eq!(pieces[1] - pieces[2], 256 << 10);
    let follows = |addr, len| space.mmap(&request(addr, len, RW, ANON)).unwrap() == addr;
    // Low, large, and beside or where something was: the program means it.
    assert!(follows(0x4000_0000, PAGE));
    assert!(follows(0x00c0_0000_0000, 64 << 20));
    assert!(follows(0x00c0_0000_0000 + (64 << 20), PAGE));
    let top = map(&space, 16 << 20, RW, ANON);
    assert!(follows(top - (64 << 20), PAGE));
}

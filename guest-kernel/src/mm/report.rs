//! /proc/PID/maps and smaps.

use super::address_space::{AddressSpace, Space};
use super::frame;
use super::vma::{Backing, Prot, Vma, VmaFlags};
use crate::arch::page_table::Entry;
use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Write};
use sprout_abi::layout::PAGE_SIZE;

impl AddressSpace {
    /// Writes /proc/PID/maps in Linux's format.
    pub fn write_maps(&self, out: &mut dyn Write) -> fmt::Result {
        let (heap, stack) = self.landmarks();
        for vma in self.areas() {
            write_line(out, &vma, &heap, stack)?;
        }
        out.write_str(crate::arch::GATE_AREA)
    }

    /// Writes /proc/PID/smaps: for every area its line of maps and what of it is in memory.
    pub fn write_smaps(&self, out: &mut dyn Write) -> fmt::Result {
        let (heap, stack) = self.landmarks();
        for vma in self.areas() {
            write_line(out, &vma, &heap, stack)?;
            let resident = self.lock().resident(&vma);
            write_rows(out, &[("Size", vma.len()), PAGE_SIZES[0], PAGE_SIZES[1]])?;
            write_rows(out, &resident.rows())?;
            let eligible = !vma.flags.contains(VmaFlags::NO_HUGE) && vma.is_anonymous();
            writeln!(out, "THPeligible:    {:>8}", u32::from(eligible))?;
            writeln!(out, "VmFlags: {}", vm_flags(&vma))?;
        }
        if crate::arch::GATE_AREA.is_empty() {
            return Ok(());
        }
        out.write_str(crate::arch::GATE_AREA)?;
        write_rows(out, &[("Size", PAGE_SIZE), PAGE_SIZES[0], PAGE_SIZES[1]])?;
        write_rows(out, &Resident::default().rows())?;
        writeln!(out, "THPeligible:    {:>8}\nVmFlags: ex ", 0)
    }

    /// Writes /proc/PID/smaps_rollup: the sums of smaps.
    pub fn write_smaps_rollup(&self, out: &mut dyn Write) -> fmt::Result {
        let areas = self.areas();
        let mut sum = Resident::default();
        for vma in &areas {
            sum.include(&self.lock().resident(vma));
        }
        let start = areas.first().map_or(0, |vma| vma.start);
        let end = areas.last().map_or(0, |vma| vma.end);
        let line = alloc::format!("{start:08x}-{end:08x} ---p 00000000 00:00 0 ");
        writeln!(out, "{line:<73}[rollup]")?;
        let mut rows = sum.rows().to_vec();
        rows.splice(3..3, sum.dirty_by_kind());
        write_rows(out, &rows)
    }

    fn landmarks(&self) -> (core::ops::Range<u64>, u64) {
        let space = self.lock();
        (space.brk_start..space.brk, space.stack)
    }
}

const PAGE_SIZES: [(&str, u64); 2] = [("KernelPageSize", PAGE_SIZE), ("MMUPageSize", PAGE_SIZE)];

/// What of an area is mapped, in bytes.
#[derive(Default)]
struct Resident {
    total: u64,
    proportional: u64,
    proportional_dirty: u64,
    /// The parts of `proportional_dirty` that are anonymous and that belong to files in RAM.
    anonymous_dirty: u64,
    file_dirty: u64,
    shared_dirty: u64,
    private_clean: u64,
    private_dirty: u64,
    anonymous: u64,
    huge: u64,
    locked: u64,
}

impl Space {
    fn resident(&mut self, vma: &Vma) -> Resident {
        let mut resident = Resident::default();
        let mut addr = vma.start;
        while addr < vma.end {
            let (leaf, huge) = self.tables.lookup(addr);
            if leaf.is_none() {
                // Skip to where the next table could begin only when nothing is there at all.
                addr = match self.tables.huge_is_free(addr) {
                    true => (addr | (512 * PAGE_SIZE - 1)) + 1,
                    false => addr + PAGE_SIZE,
                };
                continue;
            }
            let offset = if huge { addr % (512 * PAGE_SIZE) } else { 0 };
            resident.add(leaf.phys() + offset, leaf, huge);
            addr += PAGE_SIZE;
        }
        if vma.flags.contains(VmaFlags::LOCKED) {
            resident.locked = resident.proportional;
        }
        resident
    }
}

impl Resident {
    fn add(&mut self, phys: u64, leaf: Entry, huge: bool) {
        self.total += PAGE_SIZE;
        if !frame::is_counted(phys) {
            // A page of an image: it never changes, and who else maps it is not known.
            self.private_clean += PAGE_SIZE;
            self.proportional += PAGE_SIZE;
            return;
        }
        // The file's own reference is not a mapping.
        let mappings = frame::references(phys) - u64::from(leaf.is_of_file());
        let share = PAGE_SIZE / mappings.max(1);
        self.proportional += share;
        self.proportional_dirty += share;
        if leaf.is_of_file() {
            self.file_dirty += share;
        } else {
            self.anonymous_dirty += share;
            self.anonymous += PAGE_SIZE;
        }
        // There is nothing a frame of RAM could be clean with respect to.
        if mappings > 1 {
            self.shared_dirty += PAGE_SIZE;
        } else {
            self.private_dirty += PAGE_SIZE;
        }
        if huge {
            self.huge += PAGE_SIZE;
        }
    }

    fn include(&mut self, other: &Resident) {
        self.total += other.total;
        self.proportional += other.proportional;
        self.proportional_dirty += other.proportional_dirty;
        self.anonymous_dirty += other.anonymous_dirty;
        self.file_dirty += other.file_dirty;
        self.shared_dirty += other.shared_dirty;
        self.private_clean += other.private_clean;
        self.private_dirty += other.private_dirty;
        self.anonymous += other.anonymous;
        self.huge += other.huge;
        self.locked += other.locked;
    }

    fn rows(&self) -> [(&'static str, u64); 19] {
        [
            ("Rss", self.total),
            ("Pss", self.proportional),
            ("Pss_Dirty", self.proportional_dirty),
            ("Shared_Clean", 0),
            ("Shared_Dirty", self.shared_dirty),
            ("Private_Clean", self.private_clean),
            ("Private_Dirty", self.private_dirty),
            ("Referenced", self.total),
            ("Anonymous", self.anonymous),
            ("KSM", 0),
            ("LazyFree", 0),
            ("AnonHugePages", self.huge),
            ("ShmemPmdMapped", 0),
            ("FilePmdMapped", 0),
            ("Shared_Hugetlb", 0),
            ("Private_Hugetlb", 0),
            ("Swap", 0),
            ("SwapPss", 0),
            ("Locked", self.locked),
        ]
    }

    /// What only smaps_rollup has.
    fn dirty_by_kind(&self) -> [(&'static str, u64); 3] {
        [
            ("Pss_Anon", self.anonymous_dirty),
            (
                "Pss_File",
                self.proportional - self.anonymous_dirty - self.file_dirty,
            ),
            ("Pss_Shmem", self.file_dirty),
        ]
    }
}

fn write_rows(out: &mut dyn Write, rows: &[(&str, u64)]) -> fmt::Result {
    for (name, bytes) in rows {
        let mut label = String::from(*name);
        label.push(':');
        writeln!(out, "{label:<16}{:>8} kB", bytes / 1024)?;
    }
    Ok(())
}

fn vm_flags(vma: &Vma) -> String {
    let shared = !vma.is_private();
    let may_write = !vma.flags.contains(VmaFlags::NEVER_WRITE);
    let all = [
        (vma.prot.contains(Prot::READ), "rd "),
        (vma.prot.contains(Prot::WRITE), "wr "),
        (vma.prot.contains(Prot::EXEC), "ex "),
        (shared && may_write, "sh "),
        (true, "mr "),
        (may_write, "mw "),
        (true, "me "),
        (shared, "ms "),
        (vma.flags.contains(VmaFlags::GROWS_DOWN), "gd "),
        (vma.flags.contains(VmaFlags::LOCKED), "lo "),
        (vma.flags.contains(VmaFlags::DONT_FORK), "dc "),
        (vma.flags.contains(VmaFlags::NORESERVE), "nr "),
        (vma.is_accounted(), "ac "),
        (vma.flags.contains(VmaFlags::DONT_DUMP), "dd "),
        (vma.flags.contains(VmaFlags::WIPE_ON_FORK), "wf "),
        (vma.flags.contains(VmaFlags::HUGE), "hg "),
        (vma.flags.contains(VmaFlags::NO_HUGE), "nh "),
    ];
    all.iter()
        .filter(|(set, _)| *set)
        .map(|(_, name)| *name)
        .collect()
}

/// The major and minor numbers of a device in `st_dev`'s encoding.
fn device(dev: u64) -> (u64, u64) {
    (
        (dev >> 8) & 0xfff | (dev >> 32) & !0xfff,
        dev & 0xff | (dev >> 12) & !0xff,
    )
}

fn write_line(
    out: &mut dyn Write,
    vma: &Vma,
    heap: &core::ops::Range<u64>,
    stack: u64,
) -> fmt::Result {
    let flag = |set: bool, letter: char| if set { letter } else { '-' };
    let mut line = String::new();
    let (path, offset, dev, ino) = match &vma.backing {
        Backing::Anonymous if vma.start <= stack && stack < vma.end => {
            (b"[stack]".to_vec(), 0, 0, 0)
        }
        Backing::Anonymous if vma.start < heap.end && vma.end > heap.start => {
            (b"[heap]".to_vec(), 0, 0, 0)
        }
        Backing::Anonymous => (Vec::new(), 0, 0, 0),
        Backing::File { file, offset } => {
            let (dev, ino) = file.identity();
            (file.path(), *offset, dev, ino)
        }
    };
    let (major, minor) = device(dev);
    write!(
        line,
        "{:08x}-{:08x} {}{}{}{} {offset:08x} {major:02x}:{minor:02x} {ino} ",
        vma.start,
        vma.end,
        flag(vma.prot.contains(Prot::READ), 'r'),
        flag(vma.prot.contains(Prot::WRITE), 'w'),
        flag(vma.prot.contains(Prot::EXEC), 'x'),
        if vma.is_private() { 'p' } else { 's' },
    )?;
    if path.is_empty() {
        return writeln!(out, "{line}");
    }
    // Linux escapes newlines only.
    let path: Cow<'_, str> = String::from_utf8_lossy(&path);
    writeln!(out, "{line:<73}{}", path.replace('\n', "\\012"))
}

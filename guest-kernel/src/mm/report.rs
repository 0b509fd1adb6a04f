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
        Ok(())
    }

    /// Writes /proc/PID/smaps: for every area its line of maps and what of it is in memory.
    pub fn write_smaps(&self, out: &mut dyn Write) -> fmt::Result {
        let (heap, stack) = self.landmarks();
        for vma in self.areas() {
            write_line(out, &vma, &heap, stack)?;
            let resident = self.lock().resident(&vma);
            resident.write(out, &vma)?;
        }
        Ok(())
    }

    fn landmarks(&self) -> (core::ops::Range<u64>, u64) {
        let space = self.lock();
        (space.brk_start..space.brk, space.stack)
    }
}

/// What of an area is mapped, in bytes.
#[derive(Default)]
struct Resident {
    total: u64,
    proportional: u64,
    shared: u64,
    private_clean: u64,
    private_dirty: u64,
    anonymous: u64,
    huge: u64,
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
        resident
    }
}

impl Resident {
    fn add(&mut self, phys: u64, leaf: Entry, huge: bool) {
        self.total += PAGE_SIZE;
        if !frame::is_counted(phys) {
            self.private_clean += PAGE_SIZE;
            self.proportional += PAGE_SIZE;
            return;
        }
        let references = frame::references(phys).max(1);
        self.proportional += PAGE_SIZE / references;
        self.anonymous += PAGE_SIZE;
        if references > 1 {
            self.shared += PAGE_SIZE;
        } else if leaf.is_writable() {
            self.private_dirty += PAGE_SIZE;
        } else {
            self.private_clean += PAGE_SIZE;
        }
        if huge {
            self.huge += PAGE_SIZE;
        }
    }

    fn write(&self, out: &mut dyn Write, vma: &Vma) -> fmt::Result {
        let rows = [
            ("Size", vma.len()),
            ("KernelPageSize", PAGE_SIZE),
            ("MMUPageSize", PAGE_SIZE),
            ("Rss", self.total),
            ("Pss", self.proportional),
            ("Pss_Dirty", self.private_dirty),
            ("Shared_Clean", self.shared),
            ("Shared_Dirty", 0),
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
            ("Locked", 0),
        ];
        for (name, bytes) in rows {
            let mut label = String::from(name);
            label.push(':');
            writeln!(out, "{label:<16}{:>8} kB", bytes / 1024)?;
        }
        let eligible = !vma.flags.contains(VmaFlags::NO_HUGE) && vma.is_anonymous();
        writeln!(out, "THPeligible:    {:>8}", u32::from(eligible))?;
        writeln!(out, "VmFlags: {}", vm_flags(vma))
    }
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

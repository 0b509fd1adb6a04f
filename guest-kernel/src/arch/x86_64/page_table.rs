//! x86-64 page-table entries (AMD64 manual volume 2, 5.3-5.4): four levels of 512 entries.
//!
//! A leaf that must not be accessed but keeps its page (PROT_NONE) is *parked*: not present for the
//! processor, everything else as it was.

/// Entries in one table.
pub const ENTRIES: usize = 512;
/// Level of the top table (PML4); leaves are at level 1 (4 KiB) and 2 (2 MiB).
pub const TOP_LEVEL: u32 = 4;
/// Index of the first entry of the top table that is not the program's.
pub const USER_TOP_ENTRIES: usize = 256;

const PRESENT: u64 = 1 << 0;
const WRITABLE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
const ACCESSED: u64 = 1 << 5;
const DIRTY: u64 = 1 << 6;
const HUGE: u64 = 1 << 7;
/// Ignored by the processor: marks a parked leaf.
const PARKED: u64 = 1 << 9;
/// Ignored by the processor: the frame belongs to a file, it is not the program's own.
const FILE: u64 = 1 << 10;
const NO_EXECUTE: u64 = 1 << 63;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// Bytes one entry of a table at `level` covers.
pub const fn span(level: u32) -> u64 {
    1 << (12 + 9 * (level - 1))
}

/// Index of `addr` in its table at `level`.
pub const fn index(addr: u64, level: u32) -> usize {
    (addr >> (12 + 9 * (level - 1))) as usize % ENTRIES
}

/// One entry of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry(pub u64);

impl Entry {
    /// Nothing here.
    pub const NONE: Entry = Entry(0);

    /// A pointer to a table of the next level. Permissions are the leaves' business.
    pub const fn table(phys: u64) -> Entry {
        Entry(phys | PRESENT | WRITABLE | USER | ACCESSED)
    }

    /// A readable program page; `huge`: 2 MiB. Accessed and dirty are preset: the processor's own
    /// update of them is a slow extra walk, and nothing looks at them.
    pub const fn leaf(phys: u64, writable: bool, executable: bool, huge: bool) -> Entry {
        let size = if huge { HUGE } else { 0 };
        Entry(phys | PRESENT | USER | ACCESSED | size).with_permissions(writable, executable)
    }

    /// The same page, present, with these permissions.
    pub const fn with_permissions(self, writable: bool, executable: bool) -> Entry {
        let mut bits = self.0 & !(WRITABLE | DIRTY | NO_EXECUTE | PARKED) | PRESENT;
        if writable {
            bits |= WRITABLE | DIRTY;
        }
        if !executable {
            bits |= NO_EXECUTE;
        }
        Entry(bits)
    }

    /// The same, for a frame that a file (shared memory, tmpfs) holds too.
    pub const fn of_file(self) -> Entry {
        Entry(self.0 | FILE)
    }

    /// Whether a file holds the frame too.
    pub const fn is_of_file(self) -> bool {
        self.0 & FILE != 0
    }

    /// The same page, not accessible.
    pub const fn parked(self) -> Entry {
        Entry(self.0 & !(PRESENT | WRITABLE | DIRTY) | PARKED)
    }

    /// The 4 KiB page `part` of this 2 MiB leaf, with its permissions.
    pub const fn part(self, part: usize) -> Entry {
        Entry((self.0 & !HUGE) + (part as u64) * 4096)
    }

    /// The same leaf for another page.
    pub const fn moved_to(self, phys: u64) -> Entry {
        Entry(self.0 & !ADDRESS | phys)
    }

    /// The same without the program's access to anything below.
    pub const fn supervisor(self) -> Entry {
        Entry(self.0 & !USER)
    }

    /// Whether nothing is here.
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }

    /// Whether the processor uses it.
    pub const fn is_present(self) -> bool {
        self.0 & PRESENT != 0
    }

    /// Whether it is a 2 MiB leaf (asked at level 2).
    pub const fn is_huge(self) -> bool {
        self.0 & HUGE != 0
    }

    /// Whether it is present and allows writing.
    pub const fn is_writable(self) -> bool {
        self.0 & (PRESENT | WRITABLE) == PRESENT | WRITABLE
    }

    /// Whether it is present and allows execution.
    pub const fn is_executable(self) -> bool {
        self.0 & (PRESENT | NO_EXECUTE) == PRESENT
    }

    /// Guest-physical address of the page or table.
    pub const fn phys(self) -> u64 {
        self.0 & ADDRESS
    }
}

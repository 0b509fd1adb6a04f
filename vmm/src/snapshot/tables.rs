//! Which pages of a guest's RAM are page tables.
//!
//! Where KVM keeps shadows of them, it learns of the guest's own stores only: tables changed from
//! outside keep their old translations. So a rewind has to know them. They are found from outside,
//! by what the processor would find: each root has the same entries for the sentry's half as the
//! root a vCPU waits with. A page that merely looks like a root makes more pages count as tables than
//! are, which costs speed and nothing else.

use serde::{Deserialize, Serialize};
use sprout_abi::layout::{KERNEL_PML4_SLOTS, PAGE_SIZE};

/// Entries of a table, and of a root those of the program's half.
const ENTRIES: usize = 512;
const USER_ENTRIES: usize = ENTRIES / 2;
/// Levels from the root to the tables of 4 KiB pages (Intel SDM vol. 3, 5.5; AMD APM vol. 2, 5.3).
const LEVELS: u32 = 4;
// Bits of an entry.
const PRESENT: u64 = 1;
const LARGE: u64 = 1 << 7;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// The page tables in RAM, by page number, ascending.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tables {
    /// Tables of a program's half, and the roots, of whose entries the lower half is a program's.
    pub program: Vec<u32>,
    /// Those of `program` that are roots.
    pub roots: Vec<u32>,
    /// Tables of the sentry's half.
    pub sentry: Vec<u32>,
}

impl Tables {
    /// The tables in `ram`, with the roots like those at the addresses `loaded`.
    pub fn find(ram: &[u8], loaded: impl Iterator<Item = u64>) -> Self {
        let pages = ram.len() / PAGE_SIZE as usize;
        let kernel_half = |root: usize| KERNEL_PML4_SLOTS.map(|slot| target(ram, root, slot));
        let known: Vec<_> = loaded
            .map(|address| kernel_half((address & ADDRESS) as usize / PAGE_SIZE as usize))
            .filter(|half| half.iter().any(Option::is_some))
            .collect();
        let roots: Vec<usize> = (0..pages)
            .filter(|page| known.contains(&kernel_half(*page)))
            .collect();
        let mut seen = vec![Seen::Not; pages];
        for root in &roots {
            seen[*root] = Seen::Program;
        }
        for root in &roots {
            walk(
                ram,
                *root,
                USER_ENTRIES..ENTRIES,
                LEVELS,
                Seen::Sentry,
                &mut seen,
            );
        }
        for root in &roots {
            walk(
                ram,
                *root,
                0..USER_ENTRIES,
                LEVELS,
                Seen::Program,
                &mut seen,
            );
        }
        let all = |kind| {
            let pages = (0u32..).zip(&seen);
            pages
                .filter_map(move |(page, seen)| (*seen == kind).then_some(page))
                .collect()
        };
        Self {
            program: all(Seen::Program),
            // Page numbers of RAM fit 32 bits: it has 32 GiB at most.
            roots: roots.into_iter().map(|root| root as u32).collect(),
            sentry: all(Seen::Sentry),
        }
    }

    /// Whether every number is one of `pages` pages.
    pub fn fit(&self, pages: u64) -> bool {
        [&self.program, &self.roots, &self.sentry]
            .into_iter()
            .all(|list| list.iter().all(|page| u64::from(*page) < pages))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Not,
    Program,
    Sentry,
}

/// The page that entry `slot` of the table in page `table` leads to, if it is one of RAM's.
fn target(ram: &[u8], table: usize, slot: usize) -> Option<usize> {
    let entry = entry(ram, table, slot)?;
    let page = (entry & ADDRESS) / PAGE_SIZE;
    (entry & PRESENT != 0 && page < ram.len() as u64 / PAGE_SIZE).then_some(page as usize)
}

fn entry(ram: &[u8], table: usize, slot: usize) -> Option<u64> {
    let at = table * PAGE_SIZE as usize + 8 * slot;
    let bytes = ram.get(at..at + 8)?;
    Some(u64::from_le_bytes(bytes.try_into().ok()?))
}

/// Marks the tables below these entries of a table at `level`. Each is entered once, so it ends
/// whatever the content is.
fn walk(
    ram: &[u8],
    table: usize,
    entries: std::ops::Range<usize>,
    level: u32,
    kind: Seen,
    seen: &mut [Seen],
) {
    if level == 1 {
        return;
    }
    for slot in entries {
        let Some(next) = target(ram, table, slot) else {
            continue;
        };
        let large =
            level < LEVELS && entry(ram, table, slot).is_some_and(|entry| entry & LARGE != 0);
        if large || seen.get(next) != Some(&Seen::Not) {
            continue;
        }
        seen[next] = kind;
        walk(ram, next, 0..ENTRIES, level - 1, kind, seen);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: usize = PAGE_SIZE as usize;

    fn set(ram: &mut [u8], table: usize, slot: usize, entry: u64) {
        ram[table * PAGE + 8 * slot..][..8].copy_from_slice(&entry.to_le_bytes());
    }

    fn leads_to(page: u64) -> u64 {
        page << 12 | 0x67
    }

    #[test]
    fn roots_that_share_the_sentry_s_half_are_found_with_all_below_them() {
        let mut ram = vec![0; 64 * PAGE];
        for root in [1, 20] {
            set(&mut ram, root, KERNEL_PML4_SLOTS[0], leads_to(2));
            // The accessed bit differs, and whether a program has access.
            set(
                &mut ram,
                root,
                KERNEL_PML4_SLOTS[1],
                leads_to(3) & !0x24 | (root as u64 & 4) << 3,
            );
        }
        // Below the sentry's half: one table, one large page, one page outside of RAM.
        set(&mut ram, 2, 0, leads_to(4));
        set(&mut ram, 4, 5, leads_to(40) | LARGE);
        set(&mut ram, 3, 511, leads_to(1 << 30));
        // Below the program's: three levels, and leaves that are no tables.
        set(&mut ram, 20, 7, leads_to(21));
        set(&mut ram, 21, 7, leads_to(22));
        set(&mut ram, 22, 7, leads_to(23));
        set(&mut ram, 22, 8, leads_to(50) | LARGE);
        set(&mut ram, 23, 7, leads_to(60));
        // Not present, and a page with only half of what a root has.
        set(&mut ram, 20, 8, 24 << 12);
        set(&mut ram, 30, KERNEL_PML4_SLOTS[0], leads_to(2));
        let tables = Tables::find(&ram, [PAGE_SIZE].into_iter());
        assert_eq!(tables.roots, [1, 20]);
        assert_eq!(tables.program, [1, 20, 21, 22, 23]);
        assert_eq!(tables.sentry, [2, 3, 4]);
        assert!(tables.fit(24) && !tables.fit(23));
    }

    #[test]
    fn tables_in_a_circle_end() {
        let mut ram = vec![0; 4 * PAGE];
        for page in 0..4 {
            for slot in 0..ENTRIES {
                set(&mut ram, page, slot, leads_to((page as u64 + 1) % 4));
            }
        }
        let tables = Tables::find(&ram, [0].into_iter());
        assert_eq!(tables.program.len() + tables.sentry.len(), 4);
        assert_eq!(
            Tables::find(&[0; PAGE], [0, u64::MAX].into_iter()),
            Tables::default()
        );
    }
}

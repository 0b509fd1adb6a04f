//! Loading a snapshot's working set: work for as many threads as come to help.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use sprout_abi::layout::{HUGE_PAGE_SIZE, PAGE_SIZE};

use super::working_set::WorkingSet;
use crate::memory::mapping::Mapping;

/// Most pages copied one by one that are one piece of work: some 0.1 ms.
const PIECE: usize = 64;

/// RAM over a snapshot's memory file, private to this process, while its working set is copied.
pub(crate) struct Loading<'a> {
    file: &'a File,
    ram: Mapping,
    pieces: Vec<Piece>,
    /// The first piece that nobody has taken.
    next: AtomicUsize,
}

/// What one thread copies. Pieces have no page in common.
struct Piece {
    runs: Vec<Range<u32>>,
    /// They are what is not zero in one block.
    block: bool,
}

impl<'a> Loading<'a> {
    /// Maps the first `size` bytes of `file`, the blocks of `set` as zeroed memory.
    pub(crate) fn new(file: &'a File, size: usize, set: &WorkingSet) -> io::Result<Self> {
        let ram = Mapping::private_file(file, size)?;
        for block in set.blocks() {
            let offset = *block as usize * HUGE_PAGE_SIZE as usize;
            ram.replace_by_zero(offset, HUGE_PAGE_SIZE as usize)?;
        }
        Ok(Self {
            file,
            ram,
            pieces: pieces(set),
            next: AtomicUsize::new(0),
        })
    }

    /// Whether it is enough work for a second thread.
    pub(crate) fn is_long(&self) -> bool {
        self.pieces.len() > 1
    }

    /// Copies until nothing is left that nobody has taken.
    pub(crate) fn work(&self) -> io::Result<()> {
        while let Some(piece) = self.pieces.get(self.next.fetch_add(1, Ordering::Relaxed)) {
            for run in &piece.runs {
                let (offset, length) = (u64::from(run.start) * PAGE_SIZE, run.len() * 4096);
                if piece.block {
                    // SAFETY: no guest runs on this memory yet, and of the threads that load it only
                    // this one has taken the piece.
                    unsafe { self.ram.read_from(self.file, offset, length) }?;
                } else {
                    // Only a head start: what is not copied here is when the guest writes it.
                    let advice = libc::MADV_POPULATE_WRITE;
                    let _ = self.ram.advise(offset as usize, length, advice);
                }
            }
        }
        Ok(())
    }

    /// The memory, when all who worked are done.
    pub(crate) fn finish(self) -> Mapping {
        self.ram
    }
}

/// The work, large pieces first.
fn pieces(set: &WorkingSet) -> Vec<Piece> {
    let mut blocks: Vec<Piece> = Vec::new();
    let mut singles: Vec<Piece> = Vec::new();
    let mut last = None;
    for (run, loaded) in set.runs() {
        if !loaded {
            match singles.last_mut() {
                Some(piece) if piece.pages() + run.len() <= PIECE => piece.runs.push(run),
                _ => singles.push(Piece::of(run, false)),
            }
            continue;
        }
        // A run of a block lies in it from end to end.
        let block = Some(run.start / super::working_set::BLOCK);
        match blocks.last_mut() {
            Some(piece) if block == last => piece.runs.push(run),
            _ => blocks.push(Piece::of(run, true)),
        }
        last = block;
    }
    blocks.append(&mut singles);
    blocks
}

impl Piece {
    fn of(run: Range<u32>, block: bool) -> Self {
        Self {
            runs: vec![run],
            block,
        }
    }

    fn pages(&self) -> usize {
        self.runs.iter().map(|run| run.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::working_set::{BLOCK, Touched};
    use std::io::Write;

    const BLOCK_BYTES: usize = BLOCK as usize * PAGE_SIZE as usize;

    #[test]
    fn threads_share_the_work_and_the_memory_is_the_files() {
        let mut content = vec![0; 4 * BLOCK_BYTES];
        for (number, page) in content.chunks_mut(PAGE_SIZE as usize).enumerate() {
            // Every fourth page stays zero.
            if number % 4 != 3 {
                page.fill(number as u8 | 1);
            }
        }
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&content).unwrap();
        let touched = vec![
            0..2 * BLOCK,
            2 * BLOCK + 8..2 * BLOCK + 400,
            3 * BLOCK..3 * BLOCK + 8,
        ];
        let set = WorkingSet::new(
            &Touched {
                all: touched.clone(),
                written: touched,
            },
            &content,
        );
        assert_eq!(set.blocks(), [0, 1, 2]);
        let loading = Loading::new(&file, content.len(), &set).unwrap();
        assert!(loading.is_long());
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| loading.work().unwrap());
            }
        });
        assert_eq!(loading.next.into_inner(), loading.pieces.len() + 3);
        // SAFETY: readable memory that nobody writes any more.
        let loaded = unsafe { std::slice::from_raw_parts(loading.ram.as_ptr(), content.len()) };
        assert!(loaded == content);
    }

    #[test]
    fn a_file_that_ends_early_is_an_error() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(BLOCK_BYTES as u64).unwrap();
        let touched = Touched {
            all: vec![0..8, 8..BLOCK],
            written: vec![0..8, 8..BLOCK],
        };
        let set = WorkingSet::new(&touched, &vec![1; BLOCK_BYTES]);
        let loading = Loading::new(&file, BLOCK_BYTES, &set).unwrap();
        file.set_len(4096).unwrap();
        assert!(loading.work().is_err());
    }
}

//! Looks at the content of files before they get a place: which are equal, where they are empty.

use std::collections::HashMap;
use std::ops::Range;

use sprout_abi::layout::HUGE_PAGE_SIZE;

use super::format::{BLOCK_SIZE, CHUNK_BITS_MAX, CHUNK_ENTRY};
use crate::Result;
use crate::tree::File;

/// Files below this size are stored whole: a table of chunks would not pay.
const SPARSE_MIN: u64 = 64 << 10;
/// Bytes read at a time.
const READ: usize = 1 << 20;

/// What identifies a file's content: size and digest.
pub type Identity = (u64, blake3::Hash);

/// How a file's data is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shape {
    /// All of it, in one run of blocks; at a multiple of 2 MiB if `large_pages`.
    Plain { large_pages: bool },
    /// Only chunks of 2^`bits` blocks with something in them: the numbers of these, as ranges.
    Chunks { bits: u8, stored: Vec<Range<u64>> },
}

/// What was found out about a file.
pub struct Found {
    /// `None` if no other file has its size.
    pub identity: Option<Identity>,
    /// How to store it.
    pub shape: Shape,
}

/// Looks at all `files`, each of which has content.
pub fn examine(files: &[&File]) -> Result<Vec<Found>> {
    let mut same_size: HashMap<u64, usize> = HashMap::new();
    for file in files {
        *same_size.entry(file.size).or_default() += 1;
    }
    let alone = |file: &File| same_size.get(&file.size) == Some(&1);
    files
        .iter()
        .map(|file| look_at(file, !alone(file)))
        .collect()
}

fn look_at(file: &File, with_identity: bool) -> Result<Found> {
    let plain = Shape::Plain { large_pages: false };
    if !with_identity && file.size < SPARSE_MIN {
        return Ok(Found {
            identity: None,
            shape: plain,
        });
    }
    let opened = file.open()?;
    let mut hasher = blake3::Hasher::new();
    let mut blocks: Vec<Range<u64>> = Vec::new();
    let mut buffer = vec![0; READ.min(file.size.next_multiple_of(BLOCK_SIZE) as usize)];
    let mut is_elf = false;
    let mut position = 0;
    while let Some(data) = opened.next_data(position, file.size)? {
        // From the block's beginning, but never again what was looked at.
        position = (data.start / BLOCK_SIZE * BLOCK_SIZE).max(position);
        while position < data.end {
            let length = (file.size - position).min(READ as u64) as usize;
            let Some(bytes) = buffer.get_mut(..length) else {
                break;
            };
            opened.read(bytes, position)?;
            is_elf |= position == 0 && bytes.starts_with(b"\x7fELF");
            for (index, block) in bytes.chunks(BLOCK_SIZE as usize).enumerate() {
                if is_zero(block) {
                    continue;
                }
                let number = position / BLOCK_SIZE + index as u64;
                if with_identity {
                    hasher.update(&number.to_le_bytes());
                    hasher.update(block);
                }
                match blocks.last_mut() {
                    Some(last) if last.end == number => last.end += 1,
                    _ => blocks.push(number..number + 1),
                }
            }
            position += length as u64;
        }
        // Holes are whole blocks only; what was read beyond the stretch counts as looked at.
        position = position.max(data.end).next_multiple_of(BLOCK_SIZE);
    }
    opened.close()?;
    let large_pages = is_elf && file.size >= HUGE_PAGE_SIZE;
    let shape = match chunks(file.size, &blocks, large_pages) {
        Some(shape) => shape,
        None => Shape::Plain { large_pages },
    };
    Ok(Found {
        identity: with_identity.then(|| (file.size, hasher.finalize())),
        shape,
    })
}

fn is_zero(block: &[u8]) -> bool {
    // The compiler turns sums of fixed pieces into vector code; it would not for a short-circuit.
    block
        .chunks(64)
        .all(|piece| piece.iter().fold(0, |all, byte| all | byte) == 0)
}

/// The cheapest chunks for a file with something in `blocks`; `None` if they save too little.
fn chunks(size: u64, blocks: &[Range<u64>], large_pages: bool) -> Option<Shape> {
    let total = size.div_ceil(BLOCK_SIZE);
    let filled: u64 = blocks.iter().map(|range| range.end - range.start).sum();
    if size < SPARSE_MIN || !worthwhile(filled * BLOCK_SIZE, size, large_pages) {
        return None;
    }
    // Large chunks first: at the same price, fewer and longer runs.
    let (cost, bits) = (0..=CHUNK_BITS_MAX)
        .rev()
        .map(|bits| (price(total, blocks, bits), bits))
        .min_by_key(|(cost, _)| *cost)?;
    worthwhile(cost, size, large_pages).then(|| Shape::Chunks {
        bits,
        stored: in_chunks(blocks, bits),
    })
}

/// Whether `cost` bytes instead of `size` are worth losing the one run: an eighth less, and half
/// for programs, which are mapped with large pages when they are in one run.
fn worthwhile(cost: u64, size: u64, large_pages: bool) -> bool {
    match large_pages {
        true => cost <= size / 2,
        false => cost <= size - size / 8,
    }
}

/// Bytes that chunks of 2^`bits` blocks take, with their table.
fn price(total: u64, blocks: &[Range<u64>], bits: u8) -> u64 {
    let stored: u64 = in_chunks(blocks, bits)
        .iter()
        .map(|range| (range.end << bits).min(total) - (range.start << bits))
        .sum();
    stored * BLOCK_SIZE + chunk_count(total, bits) * CHUNK_ENTRY
}

/// Number of chunks of a file of `total` blocks.
fn chunk_count(total: u64, bits: u8) -> u64 {
    total.div_ceil(1 << bits)
}

/// The chunks that `blocks` lie in.
fn in_chunks(blocks: &[Range<u64>], bits: u8) -> Vec<Range<u64>> {
    let mut stored: Vec<Range<u64>> = Vec::new();
    for range in blocks {
        let (start, end) = (range.start >> bits, ((range.end - 1) >> bits) + 1);
        match stored.last_mut() {
            Some(last) if last.end >= start => last.end = last.end.max(end),
            _ => stored.push(start..end),
        }
    }
    stored
}

impl Shape {
    /// Bytes of the table behind the inode of a file of `size` bytes.
    pub fn table_size(&self, size: u64) -> u64 {
        match self {
            Shape::Plain { .. } => 0,
            Shape::Chunks { bits, .. } => {
                chunk_count(size.div_ceil(BLOCK_SIZE), *bits) * CHUNK_ENTRY
            }
        }
    }

    /// The stretches of a file of `size` bytes that are stored, one after the other. All but the
    /// last consist of whole blocks.
    pub fn stored(&self, size: u64) -> Vec<Range<u64>> {
        match self {
            Shape::Plain { .. } => std::iter::once(0..size).collect(),
            Shape::Chunks { bits, stored } => stored
                .iter()
                .map(|range| {
                    let at = |chunk: u64| ((chunk << bits) * BLOCK_SIZE).min(size);
                    at(range.start)..at(range.end)
                })
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(bytes: Vec<u8>) -> Found {
        look_at(&File::from_bytes(bytes), true).unwrap()
    }

    #[test]
    fn holes_are_found_by_content() {
        let mut bytes = vec![0; 1 << 20];
        bytes[300_000] = 1;
        let Shape::Chunks { bits, stored } = found(bytes.clone()).shape else {
            panic!("a file of one block in 256 is not stored in chunks");
        };
        assert!(bits <= 2, "{bits}");
        assert_eq!(stored.len(), 1);
        bytes.fill(1);
        let plain = Shape::Plain { large_pages: false };
        assert_eq!(found(bytes).shape, plain);
        assert_eq!(found(vec![0; 4096]).shape, plain);
    }

    #[test]
    fn an_empty_giant_costs_next_to_nothing() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(10 << 30).unwrap();
        let metadata = file.as_file().metadata().unwrap();
        let host = crate::tree::HostFile::new(file.path().to_owned(), &metadata);
        let file = File {
            size: 10 << 30,
            bytes: crate::tree::Bytes::Host(host),
        };
        let shape = look_at(&file, true).unwrap().shape;
        assert!(shape.stored(file.size).is_empty());
        assert!(shape.table_size(file.size) <= 4096);
    }

    #[test]
    fn programs_keep_their_large_pages_unless_half_is_empty() {
        let mut program = b"\x7fELF".to_vec();
        program.resize(4 << 20, 7);
        program[1 << 20..2 << 20].fill(0);
        let shape = found(program.clone()).shape;
        assert_eq!(shape, Shape::Plain { large_pages: true });
        program[1 << 20..4 << 20].fill(0);
        assert!(matches!(found(program).shape, Shape::Chunks { .. }));
    }

    #[test]
    fn equal_content_has_one_identity_however_it_is_stored() {
        let mut bytes = vec![0; 200_000];
        bytes[100_000..].fill(5);
        let sparse = tempfile::NamedTempFile::new().unwrap();
        sparse.as_file().set_len(200_000).unwrap();
        std::os::unix::fs::FileExt::write_all_at(sparse.as_file(), &bytes[100_000..], 100_000)
            .unwrap();
        let metadata = sparse.as_file().metadata().unwrap();
        let host = crate::tree::HostFile::new(sparse.path().to_owned(), &metadata);
        let file = File {
            size: 200_000,
            bytes: crate::tree::Bytes::Host(host),
        };
        let (dense, sparse) = (found(bytes.clone()), look_at(&file, true).unwrap());
        assert_eq!(dense.identity, sparse.identity);
        assert_eq!(dense.shape, sparse.shape);
        bytes[150_000] = 6;
        assert_ne!(found(bytes).identity, dense.identity);
    }
}

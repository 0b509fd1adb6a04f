//! The memory file: RAM byte for byte, with holes where it is zero.
//!
//! Writes are made in aligned pieces of 2 MiB where most of a piece is used, so that the page
//! cache can hold it in large folios, which restored guests then read through large pages.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::SnapshotError;
use super::manifest::Part;

const PAGE: usize = 4096;
const PIECE: usize = 2 << 20;
/// A piece with at least this many used pages is written whole.
const DENSE: usize = PIECE / PAGE / 2;

/// Writes `ram` to a new file at `path` and makes it durable.
pub fn write(path: &Path, ram: &[u8]) -> Result<Part, SnapshotError> {
    let file = File::create_new(path).map_err(SnapshotError::io("create", path))?;
    file.set_len(ram.len() as u64)
        .map_err(SnapshotError::io("write", path))?;
    let mut hasher = blake3::Hasher::new();
    for (index, piece) in ram.chunks(PIECE).enumerate() {
        hasher.update(piece);
        write_piece(&file, (index * PIECE) as u64, piece)
            .map_err(SnapshotError::io("write", path))?;
    }
    file.sync_all().map_err(SnapshotError::io("write", path))?;
    Ok(Part {
        size: ram.len() as u64,
        blake3: hasher.finalize().to_hex().to_string(),
    })
}

fn write_piece(file: &File, offset: u64, piece: &[u8]) -> std::io::Result<()> {
    let used: Vec<bool> = piece
        .chunks(PAGE)
        .map(|page| page.iter().any(|byte| *byte != 0))
        .collect();
    let count = used.iter().filter(|used| **used).count();
    if count >= DENSE {
        return file.write_all_at(piece, offset);
    }
    for run in runs(&used) {
        let bytes = run.start * PAGE..(run.end * PAGE).min(piece.len());
        file.write_all_at(
            piece.get(bytes.clone()).unwrap_or_default(),
            offset + bytes.start as u64,
        )?;
    }
    Ok(())
}

/// Ranges of consecutive `true`s.
fn runs(flags: &[bool]) -> Vec<std::ops::Range<usize>> {
    let mut runs: Vec<std::ops::Range<usize>> = Vec::new();
    for (index, _) in flags.iter().enumerate().filter(|(_, flag)| **flag) {
        match runs.last_mut() {
            Some(run) if run.end == index => run.end += 1,
            _ => runs.push(index..index + 1),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn content_is_kept_and_zeros_take_no_space() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("memory");
        let mut ram = vec![0; 3 * PIECE];
        ram[5 * PAGE + 17] = 1;
        ram[PIECE..PIECE + DENSE * PAGE].fill(7);
        ram[3 * PIECE - 1] = 9;
        let part = write(&path, &ram).unwrap();
        assert!(std::fs::read(&path).unwrap() == ram);
        assert_eq!(part.check_file(&path).unwrap(), Ok(()));
        let stored = std::fs::metadata(&path).unwrap().blocks() * 512;
        assert!(stored <= (PIECE + 64 * PAGE) as u64, "{stored}");
    }

    #[test]
    fn runs_of_used_pages_are_found() {
        assert_eq!(runs(&[false, true, true, false, true]), [1..3, 4..5]);
        assert!(runs(&[false; 4]).is_empty());
    }
}

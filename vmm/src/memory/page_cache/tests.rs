use super::*;
use std::io::Write;
use std::os::unix::fs::FileExt;

const SIZE: u64 = 8 * HUGE_PAGE_SIZE;

/// A synced file, in a directory of its own on the file system of the build, which `/tmp` may not
/// be: it may be one without a disk.
fn file() -> (tempfile::TempDir, PathBuf) {
    let place = std::env::current_exe().unwrap();
    let directory = tempfile::tempdir_in(place.parent().unwrap()).unwrap();
    let path = directory.path().join("image.erofs");
    let content: Vec<u8> = (0..SIZE).map(|i| (i / 4096) as u8).collect();
    let mut file = File::create(&path).unwrap();
    file.write_all(&content).unwrap();
    file.sync_all().unwrap();
    (directory, path)
}

/// What memory pressure does in the end: some of it is evicted and comes back in pieces.
fn decay(path: &Path, range: Range<u64>) {
    let file = File::open(path).unwrap();
    let (at, count) = (range.start as i64, (range.end - range.start) as i64);
    // SAFETY: advice about a descriptor; no memory is involved.
    unsafe {
        libc::posix_fadvise(file.as_raw_fd(), at, count, libc::POSIX_FADV_DONTNEED);
        libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_RANDOM);
    }
    for offset in range.step_by(4096) {
        file.read_exact_at(&mut [0; 1], offset).unwrap();
    }
}

#[test]
fn a_file_survives_being_settled() {
    let (_directory, path) = file();
    let before = std::fs::read(&path).unwrap();
    let large = settle(&path).unwrap();
    assert!(large <= SIZE);
    assert_eq!(share(&path).unwrap().large, large);
    assert_eq!(std::fs::read(&path).unwrap(), before);
    assert!(settle(Path::new("/nonexistent")).is_err());
}

#[test]
fn decay_is_seen_and_put_right() {
    let (directory, path) = file();
    if settle(&path).unwrap() < SIZE {
        eprintln!("this file system has no large folios: their decay is left out");
        return;
    }
    assert_eq!(share(&path).unwrap().small_bytes(), 0);
    let range = 2 * HUGE_PAGE_SIZE..5 * HUGE_PAGE_SIZE;
    decay(&path, range.clone());
    let found = share(&path).unwrap();
    assert_eq!(found.small, [range]);
    assert_eq!(found.large, 5 * HUGE_PAGE_SIZE);
    let after = keep(&path).unwrap();
    assert_eq!((after.large, after.small_bytes()), (SIZE, 0));
    assert_eq!(share(&path).unwrap().large, SIZE);
    assert_eq!(
        directory.path().read_dir().unwrap().count(),
        1,
        "the marker"
    );
}

#[test]
fn what_is_not_in_the_cache_is_not_read() {
    let (_directory, path) = file();
    let opened = File::open(&path).unwrap();
    // SAFETY: advice about a descriptor; no memory is involved.
    unsafe { libc::posix_fadvise(opened.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
    let found = keep(&path).unwrap();
    assert!(found.large + found.small_bytes() < SIZE, "{found:?}");
}

#[test]
fn a_failed_attempt_is_not_repeated_at_once() {
    let (_directory, path) = file();
    let first = Attempt::begin(&path).unwrap();
    assert!(Attempt::begin(&path).is_none(), "two at a time");
    first.end(false);
    assert!(Attempt::begin(&path).is_none());
    std::fs::remove_file(path.with_file_name(".folios-image.erofs")).unwrap();
    Attempt::begin(&path).unwrap().end(true);
    Attempt::begin(&path).unwrap().end(true);
}

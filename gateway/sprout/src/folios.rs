//! Images in the page cache: looked at, and put back into large folios, when guests start on them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sprout_images::Store;
use sprout_vmm::memory::page_cache::{self, Share};
use sprout_vmm::snapshot::manifest::Manifest;

/// How often a gateway looks at the images of its functions.
const INTERVAL: Duration = Duration::from_secs(20);

/// Puts images right, and says how much of them is in large folios, as counters. Speed is all that
/// is at stake: an image that can't be looked at is reported by whoever needs it.
pub fn keep<'a>(images: impl IntoIterator<Item = &'a Path>) -> Vec<(String, u64)> {
    let shares: Vec<Share> = images
        .into_iter()
        .filter_map(|path| page_cache::keep(path).ok())
        .collect();
    let sum = |of: fn(&Share) -> u64| shares.iter().map(of).sum();
    [
        ("images.bytes", sum(|share| share.whole)),
        ("images.large_folio_bytes", sum(|share| share.large)),
        ("images.small_folio_bytes", sum(Share::small_bytes)),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

/// Looks at the images of all snapshots, now and again, for as long as the process lives.
pub fn watch(store: Store) -> std::io::Result<()> {
    let work = move || {
        loop {
            let images = images_of_functions(&store);
            keep(images.iter().map(PathBuf::as_path));
            std::thread::sleep(INTERVAL);
        }
    };
    std::thread::Builder::new()
        .name("page-cache".into())
        .spawn(work)
        .map(|_| ())
}

fn images_of_functions(store: &Store) -> BTreeSet<PathBuf> {
    std::fs::read_dir(store.snapshots_dir())
        .into_iter()
        .flatten()
        .filter_map(|entry| Manifest::read(&entry.ok()?.path()).ok())
        .flat_map(|manifest| manifest.images)
        .map(|image| image.path)
        .collect()
}

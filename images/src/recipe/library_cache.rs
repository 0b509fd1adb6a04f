//! Writes `/etc/ld.so.cache`, the dynamic linker's index of libraries.
//!
//! `ldconfig` would need root privileges for another root directory. The format (glibc:
//! `elf/dl-cache.h`, "glibc-ld.so.cache1.1") is a header, entries sorted for binary search, and
//! strings addressed from the file's beginning.

use std::cmp::Ordering;

use crate::tree::{Node, Tree};

const MAGIC: &[u8; 20] = b"glibc-ld.so.cache1.1";
const HEADER_SIZE: usize = 48;
const ENTRY_SIZE: usize = 24;
/// `cache_file_new_flags_endian_little`.
const LITTLE_ENDIAN: u8 = 2;

/// The cache for the libraries in `directory` of the tree; `flags` is what glibc expects of
/// libraries for the architecture.
pub fn of_directory(tree: &Tree, directory: &str, flags: i32) -> Vec<u8> {
    let mut names: Vec<&[u8]> = match tree.get(directory) {
        Some(Node::Directory(found)) => found
            .entries
            .iter()
            .filter(|(name, node)| is_library(name) && !matches!(node, Node::Directory(_)))
            .map(|(name, _)| &name[..])
            .collect(),
        _ => Vec::new(),
    };
    names.sort_by(|a, b| compare(b, a));

    let mut strings = Vec::new();
    let strings_start = HEADER_SIZE + ENTRY_SIZE * names.len();
    let mut entries = Vec::new();
    for name in &names {
        let value = strings_start + strings.len();
        strings.extend_from_slice(directory.as_bytes());
        strings.push(b'/');
        // The key is the path's end.
        let key = strings_start + strings.len();
        strings.extend_from_slice(name);
        strings.push(0);
        entries.extend(flags.to_le_bytes());
        entries.extend((key as u32).to_le_bytes());
        entries.extend((value as u32).to_le_bytes());
        // OS version and hardware capabilities: any.
        entries.extend([0; 12]);
    }
    let mut cache = MAGIC.to_vec();
    cache.extend((names.len() as u32).to_le_bytes());
    cache.extend((strings.len() as u32).to_le_bytes());
    cache.push(LITTLE_ENDIAN);
    cache.resize(HEADER_SIZE, 0);
    cache.extend(entries);
    cache.extend(strings);
    cache
}

fn is_library(name: &[u8]) -> bool {
    let is_prefixed = name.starts_with(b"lib") || name.starts_with(b"ld-");
    is_prefixed && name.windows(4).any(|part| part == b".so.")
}

/// glibc's `_dl_cache_libcmp`: runs of digits compare as numbers and come after other characters.
fn compare(mut a: &[u8], mut b: &[u8]) -> Ordering {
    loop {
        let (Some(&x), Some(&y)) = (a.first(), b.first()) else {
            return a.len().cmp(&b.len());
        };
        let order = match (x.is_ascii_digit(), y.is_ascii_digit()) {
            (true, true) => number(&mut a).cmp(&number(&mut b)),
            (true, false) => Ordering::Greater,
            (false, true) => Ordering::Less,
            (false, false) => {
                (a, b) = (&a[1..], &b[1..]);
                x.cmp(&y)
            }
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

/// Takes a run of digits off the front.
fn number(text: &mut &[u8]) -> u64 {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (run, rest) = text.split_at(digits);
    *text = rest;
    run.iter().fold(0, |value, digit| {
        value.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_compare_as_glibc_does() {
        assert_eq!(compare(b"libx.so.10", b"libx.so.9"), Ordering::Greater);
        assert_eq!(compare(b"libc.so.6", b"libc.so.6"), Ordering::Equal);
        assert_eq!(compare(b"lib1.so", b"liba.so"), Ordering::Greater);
        assert_eq!(compare(b"liba.so", b"liba.so.1"), Ordering::Less);
    }

    #[test]
    fn ldconfig_understands_the_cache() {
        let mut tree = Tree::default();
        for name in [
            "libc.so.6",
            "libm.so.6",
            "ld-linux-x86-64.so.2",
            "notes.txt",
        ] {
            let file = Node::file(0o644, *b"x");
            tree.insert(&format!("/usr/lib/x/{name}"), file).unwrap();
        }
        let cache = of_directory(&tree, "/usr/lib/x", 0x303);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), cache).unwrap();
        let ldconfig = ["ldconfig", "/usr/sbin/ldconfig", "/sbin/ldconfig"]
            .iter()
            .find_map(|tool| {
                std::process::Command::new(tool)
                    .args(["-p", "-C"])
                    .arg(file.path())
                    .output()
                    .ok()
            });
        let Some(output) = ldconfig else {
            eprintln!("ldconfig is not installed: its judgement is left out");
            return;
        };
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains("3 libs found"), "{text}");
        assert!(
            text.contains("libc.so.6 (libc6,x86-64) => /usr/lib/x/libc.so.6"),
            "{text}"
        );
    }
}

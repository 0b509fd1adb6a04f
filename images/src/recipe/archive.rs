//! Takes chosen files out of a tar stream.

use std::collections::HashMap;
use std::io::Read;

use tar::EntryType;

use crate::Result;
use crate::tree::{Attributes, Content, File, Node, Time, Tree};

/// Directories that are links into `/usr` on a merged system; older packages still use them.
const MERGED: [&str; 4] = ["bin", "lib", "lib64", "sbin"];

/// What to take, and where to.
pub struct Rule {
    /// Path in the archive without leading `/`; `*` at the end stands for the rest of a name.
    pub pattern: String,
    /// Path in the tree; `None`: the same one.
    pub target: Option<String>,
}

impl Rule {
    fn matches(&self, path: &str) -> bool {
        match self.pattern.strip_suffix('*') {
            Some(prefix) => path
                .strip_prefix(prefix)
                .is_some_and(|rest| !rest.contains('/')),
            None => path == self.pattern,
        }
    }
}

/// What to make of permission bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Modes {
    /// They are as the archive says.
    Kept,
    /// Only whether a file can be executed matters: the rest varies with the packer.
    Executable,
}

/// Puts the files of the archive that a rule matches into `tree`, with their times. Says,
/// as an error text, what is wrong with the archive or which rule found nothing.
pub fn take(
    archive: impl Read,
    rules: &[Rule],
    modes: Modes,
    tree: &mut Tree,
) -> Result<(), String> {
    let mut archive = tar::Archive::new(archive);
    let mut used = vec![false; rules.len()];
    let mut taken = HashMap::new();
    for entry in archive.entries().map_err(|error| error.to_string())? {
        let mut entry = entry.map_err(|error| error.to_string())?;
        let path = normalized(&entry.path_bytes());
        let Some(index) = rules.iter().position(|rule| rule.matches(&path)) else {
            continue;
        };
        let header = entry.header();
        let mode = header.mode().unwrap_or(0);
        let attributes = Attributes {
            mtime: header
                .mtime()
                .ok()
                .and_then(|time| i64::try_from(time).ok())
                .map(Time::from_seconds),
            ..Attributes::of_mode(match modes {
                Modes::Kept => (mode & 0o7777) as u16,
                Modes::Executable if mode & 0o111 != 0 => 0o755,
                Modes::Executable => 0o644,
            })
        };
        let node = match header.entry_type() {
            EntryType::Regular => {
                let mut bytes = Vec::with_capacity(entry.size().min(1 << 28) as usize);
                entry
                    .read_to_end(&mut bytes)
                    .map_err(|error| format!("{path}: {error}"))?;
                Node::leaf(attributes, Content::File(File::from_bytes(bytes)))
            }
            EntryType::Symlink => {
                let target = entry.link_name_bytes().unwrap_or_default().into_owned();
                let mode = 0o777;
                Node::leaf(Attributes { mode, ..attributes }, Content::Symlink(target))
            }
            EntryType::Link => {
                // Both names then stand for one leaf: a hard link of the image, too.
                let original = normalized(&entry.link_name_bytes().unwrap_or_default());
                taken
                    .get(&original)
                    .cloned()
                    .ok_or_else(|| format!("{path} is a link to {original}, which is not taken"))?
            }
            EntryType::Directory => continue,
            _ => return Err(format!("{path} is neither a file, a link nor a directory")),
        };
        used[index] = true;
        taken.insert(path.clone(), node.clone());
        let target = rules[index].target.as_deref().unwrap_or(&path);
        tree.insert(target, node)
            .map_err(|error| error.to_string())?;
    }
    match rules.iter().zip(used).find(|(_, used)| !used) {
        Some((rule, _)) => Err(format!("there is no file {} in it", rule.pattern)),
        None => Ok(()),
    }
}

/// `./lib64/x` becomes `usr/lib64/x`.
fn normalized(path: &[u8]) -> String {
    let path = String::from_utf8_lossy(path);
    let path = path.trim_start_matches("./").trim_start_matches('/');
    match path.split_once('/') {
        Some((first, _)) if MERGED.contains(&first) => format!("usr/{path}"),
        _ => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(pattern: &str, target: Option<&str>) -> Rule {
        Rule {
            pattern: pattern.into(),
            target: target.map(Into::into),
        }
    }

    fn archive() -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(3);
        header.set_mode(0o700);
        header.set_mtime(1_234_567_890);
        builder
            .append_data(&mut header, "./lib/x/liba.so.1", &b"lib"[..])
            .unwrap();
        let mut link = tar::Header::new_gnu();
        link.set_entry_type(EntryType::Symlink);
        link.set_size(0);
        builder
            .append_link(&mut link, "./lib64/ld.so", "/lib/x/liba.so.1")
            .unwrap();
        let mut hard = tar::Header::new_gnu();
        hard.set_entry_type(EntryType::Link);
        hard.set_size(0);
        builder
            .append_link(&mut hard, "./usr/lib/x/liba.so", "./lib/x/liba.so.1")
            .unwrap();
        builder.into_inner().unwrap()
    }

    #[test]
    fn matching_files_land_in_the_merged_tree() {
        let mut tree = Tree::default();
        let rules = [
            rule("usr/lib/x/liba.so*", None),
            rule("usr/lib64/ld.so", Some("/ld")),
        ];
        take(&archive()[..], &rules, Modes::Executable, &mut tree).unwrap();
        let leaf = |path: &str| tree.get(path).unwrap().as_leaf().unwrap();
        let library = leaf("/usr/lib/x/liba.so.1");
        assert_eq!(library.attributes.mode, 0o755);
        let time = Time::from_seconds(1_234_567_890);
        assert_eq!(library.attributes.mtime, Some(time));
        assert_eq!(library.as_file().unwrap().size, 3);
        assert!(std::ptr::eq(library, leaf("/usr/lib/x/liba.so")));
        assert!(matches!(leaf("/ld").content, Content::Symlink(_)));

        let mut tree = Tree::default();
        take(&archive()[..], &rules, Modes::Kept, &mut tree).unwrap();
        let library = tree.get("/usr/lib/x/liba.so.1").unwrap();
        assert_eq!(library.attributes().mode, 0o700);
    }

    #[test]
    fn a_rule_without_a_file_is_an_error() {
        let error = take(
            &archive()[..],
            &[rule("usr/lib/none", None)],
            Modes::Kept,
            &mut Tree::default(),
        );
        assert!(error.unwrap_err().contains("no file usr/lib/none"));
    }

    #[test]
    fn a_truncated_archive_is_an_error() {
        let bytes = archive();
        let rules = [rule("usr/lib/x/liba.so*", None)];
        assert!(take(&bytes[..514], &rules, Modes::Kept, &mut Tree::default()).is_err());
    }
}

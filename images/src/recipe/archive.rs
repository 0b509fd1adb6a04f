//! Takes chosen files out of a tar stream.

use std::io::Read;

use tar::EntryType;

use crate::Result;
use crate::tree::{File, Node, Tree};

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

/// Puts the files of the archive that a rule matches into `tree`. Says, as an error text, what is
/// wrong with the archive or which rule found nothing.
pub fn take(archive: impl Read, rules: &[Rule], tree: &mut Tree) -> Result<(), String> {
    let mut archive = tar::Archive::new(archive);
    let mut used = vec![false; rules.len()];
    for entry in archive.entries().map_err(|error| error.to_string())? {
        let mut entry = entry.map_err(|error| error.to_string())?;
        let path = normalized(&entry.path_bytes());
        let Some(index) = rules.iter().position(|rule| rule.matches(&path)) else {
            continue;
        };
        let header = entry.header();
        let node = match header.entry_type() {
            EntryType::Regular => {
                // Only whether it can be executed matters: package modes vary with the packer.
                let executable = header.mode().is_ok_and(|mode| mode & 0o111 != 0);
                let mut bytes = Vec::with_capacity(entry.size().min(1 << 28) as usize);
                entry
                    .read_to_end(&mut bytes)
                    .map_err(|error| format!("{path}: {error}"))?;
                Node::File(File::from_bytes(
                    if executable { 0o755 } else { 0o644 },
                    bytes,
                ))
            }
            EntryType::Symlink => {
                let target = entry.link_name_bytes().unwrap_or_default().into_owned();
                Node::Symlink(target)
            }
            EntryType::Link => {
                let original = normalized(&entry.link_name_bytes().unwrap_or_default());
                tree.get(&original)
                    .cloned()
                    .ok_or_else(|| format!("{path} is a link to {original}, which is not taken"))?
            }
            EntryType::Directory => continue,
            _ => return Err(format!("{path} is neither a file, a link nor a directory")),
        };
        used[index] = true;
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
        take(&archive()[..], &rules, &mut tree).unwrap();
        assert!(matches!(tree.get("/usr/lib/x/liba.so.1"), Some(Node::File(f)) if f.mode == 0o755));
        assert!(matches!(tree.get("/usr/lib/x/liba.so"), Some(Node::File(f)) if f.size == 3));
        assert!(matches!(tree.get("/ld"), Some(Node::Symlink(_))));
    }

    #[test]
    fn a_rule_without_a_file_is_an_error() {
        let error = take(
            &archive()[..],
            &[rule("usr/lib/none", None)],
            &mut Tree::default(),
        );
        assert!(error.unwrap_err().contains("no file usr/lib/none"));
    }

    #[test]
    fn a_truncated_archive_is_an_error() {
        let bytes = archive();
        let rules = [rule("usr/lib/x/liba.so*", None)];
        assert!(take(&bytes[..514], &rules, &mut Tree::default()).is_err());
    }
}

//! The tree against a simple model: what a random sequence of operations leaves is the same.

use super::*;
use alloc::collections::BTreeMap;
use alloc::string::String;
use proptest::prelude::*;

/// A file's content is shared by its names.
#[derive(Clone, Debug, Default)]
struct Model {
    directories: BTreeMap<String, ()>,
    names: BTreeMap<String, usize>,
    contents: Vec<Vec<u8>>,
}

#[derive(Clone, Debug)]
enum Operation {
    Create(String),
    MakeDirectory(String),
    Remove(String),
    Write(String, u64, Vec<u8>),
    Resize(String, u64),
    Link(String, String),
    Rename(String, String),
}

fn path() -> impl Strategy<Value = String> {
    prop::sample::select(alloc::vec![
        "a",
        "b",
        "hard",
        "dir",
        "dir/inner",
        "dir/sub",
        "dir/sub/x",
        "x",
        "x/y",
        "z",
    ])
    .prop_map(String::from)
}

fn operation() -> impl Strategy<Value = Operation> {
    let bytes = (1usize..6000, any::<u8>()).prop_map(|(len, byte)| alloc::vec![byte; len]);
    prop_oneof![
        path().prop_map(Operation::Create),
        path().prop_map(Operation::MakeDirectory),
        path().prop_map(Operation::Remove),
        (path(), 0u64..12_000, bytes).prop_map(|(p, at, b)| Operation::Write(p, at, b)),
        (path(), 0u64..14_000).prop_map(|(p, size)| Operation::Resize(p, size)),
        (path(), path()).prop_map(|(a, b)| Operation::Link(a, b)),
        (path(), path()).prop_map(|(a, b)| Operation::Rename(a, b)),
    ]
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

fn name(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

fn inside(path: &str, directory: &str) -> bool {
    path.strip_prefix(directory)
        .is_some_and(|rest| rest.starts_with('/'))
}

impl Model {
    fn over_image() -> Model {
        let mut model = Model::default();
        for directory in ["dir", "dir/sub"] {
            model.directories.insert(directory.into(), ());
        }
        model.contents = Vec::from([pattern(10_000), pattern(5000), pattern(3)]);
        for (name, content) in [("a", 0), ("hard", 0), ("b", 1), ("dir/inner", 2)] {
            model.names.insert(name.into(), content);
        }
        model
    }

    fn is_directory(&self, path: &str) -> bool {
        path.is_empty() || self.directories.contains_key(path)
    }

    fn exists(&self, path: &str) -> bool {
        self.is_directory(path) || self.names.contains_key(path)
    }

    fn is_empty(&self, directory: &str) -> bool {
        let mut all = self.directories.keys().chain(self.names.keys());
        !all.any(|path| inside(path, directory))
    }

    /// Whether the operation succeeds; if so it is done.
    fn apply(&mut self, operation: &Operation) -> bool {
        match operation {
            Operation::Create(path) => {
                let fine = self.is_directory(parent(path)) && !self.exists(path);
                if fine {
                    self.names.insert(path.clone(), self.contents.len());
                    self.contents.push(Vec::new());
                }
                fine
            }
            Operation::MakeDirectory(path) => {
                let fine = self.is_directory(parent(path)) && !self.exists(path);
                if fine {
                    self.directories.insert(path.clone(), ());
                }
                fine
            }
            Operation::Remove(path) => match self.is_directory(path) {
                true if self.is_empty(path) => self.directories.remove(path).is_some(),
                true => false,
                false => self.names.remove(path).is_some(),
            },
            Operation::Write(path, at, bytes) => match self.names.get(path) {
                Some(&content) => {
                    let content = &mut self.contents[content];
                    let end = *at as usize + bytes.len();
                    content.resize(content.len().max(end), 0);
                    content[*at as usize..end].copy_from_slice(bytes);
                    true
                }
                None => false,
            },
            Operation::Resize(path, size) => match self.names.get(path) {
                Some(&content) => {
                    self.contents[content].resize(*size as usize, 0);
                    true
                }
                None => false,
            },
            Operation::Link(old, new) => match self.names.get(old).copied() {
                Some(content) if self.is_directory(parent(new)) && !self.exists(new) => {
                    self.names.insert(new.clone(), content);
                    true
                }
                _ => false,
            },
            Operation::Rename(old, new) => self.rename(old, new),
        }
    }

    fn rename(&mut self, old: &str, new: &str) -> bool {
        if !self.exists(old) || !self.is_directory(parent(new)) || inside(new, old) {
            return false;
        }
        if old == new {
            return true;
        }
        if let Some(content) = self.names.get(old).copied() {
            if self.is_directory(new) {
                return false;
            }
            if self.names.get(new) != Some(&content) {
                self.names.remove(old);
                self.names.insert(new.into(), content);
            }
            return true;
        }
        if self.names.contains_key(new) || self.is_directory(new) && !self.is_empty(new) {
            return false;
        }
        let moved = |path: &String| match inside(path, old) || path == old {
            true => alloc::format!("{new}{}", &path[old.len()..]),
            false => path.clone(),
        };
        self.directories.remove(new);
        self.directories = self
            .directories
            .keys()
            .map(|path| (moved(path), ()))
            .collect();
        self.names = self
            .names
            .iter()
            .map(|(path, content)| (moved(path), *content))
            .collect();
        true
    }
}

fn find(root: &Arc<dyn Inode>, path: &str) -> Result<Arc<dyn Inode>> {
    let names = path.split('/').filter(|name| !name.is_empty());
    names
        .into_iter()
        .try_fold(root.clone(), |dir, name| dir.lookup(name.as_bytes()))
}

fn apply(root: &Arc<dyn Inode>, operation: &Operation) -> Result<()> {
    let new_file = |path: &str, kind| make(&find(root, parent(path))?, name(path), kind).map(drop);
    match operation {
        Operation::Create(path) => new_file(path, FileKind::Regular),
        Operation::MakeDirectory(path) => new_file(path, FileKind::Directory),
        Operation::Remove(path) => {
            let dir = find(root, parent(path))?;
            match find(root, path)?.kind() {
                FileKind::Directory => dir.rmdir(name(path).as_bytes()),
                _ => dir.unlink(name(path).as_bytes()),
            }
        }
        Operation::Write(path, offset, bytes) => {
            let inode = find(root, path)?;
            match inode.kind() {
                FileKind::Directory => Err(Errno::EISDIR),
                _ => write(&inode, *offset, bytes).map(drop),
            }
        }
        Operation::Resize(path, size) => find(root, path)?.set_size(*size),
        Operation::Link(old, new) => {
            let inode = find(root, old)?;
            find(root, parent(new))?.link(name(new).as_bytes(), &inode)
        }
        Operation::Rename(old, new) => {
            let (from, to) = (find(root, parent(old))?, find(root, parent(new))?);
            rename(&from, name(old), &to, name(new), RenameMode::Replace)
        }
    }
}

/// Everything below `dir`: paths of directories, and of files with their content.
fn snapshot(dir: &Arc<dyn Inode>, path: &str, out: &mut BTreeMap<String, Option<Vec<u8>>>) {
    for name in names(dir) {
        let path = if path.is_empty() {
            name.clone()
        } else {
            alloc::format!("{path}/{name}")
        };
        let inode = at(dir, &name).unwrap();
        match inode.kind() {
            FileKind::Directory => {
                out.insert(path.clone(), None);
                snapshot(&inode, &path, out);
            }
            FileKind::Symlink => {}
            _ => {
                out.insert(path, Some(read(&inode, 0, 30_000)));
            }
        }
    }
}

proptest! {
    #[test]
    fn any_sequence_ends_as_in_the_model(
        operations in prop::collection::vec(operation(), 1..60),
    ) {
        let root = over_image();
        let mut model = Model::over_image();
        for operation in &operations {
            let done = apply(&root, operation);
            prop_assert_eq!(done.is_ok(), model.apply(operation), "{:?}: {:?}", operation, done);
        }
        let mut actual = BTreeMap::new();
        snapshot(&root, "", &mut actual);
        let mut expected: BTreeMap<String, Option<Vec<u8>>> =
            model.directories.keys().map(|path| (path.clone(), None)).collect();
        for (path, content) in &model.names {
            expected.insert(path.clone(), Some(model.contents[*content].clone()));
        }
        prop_assert_eq!(actual, expected);
        for (path, content) in &model.names {
            let links = model.names.values().filter(|other| *other == content).count();
            prop_assert_eq!(nlink(&find(&root, path).unwrap()) as usize, links);
        }
        for path in model.directories.keys() {
            let subdirectories =
                model.directories.keys().filter(|other| parent(other) == path.as_str()).count();
            prop_assert_eq!(nlink(&find(&root, path).unwrap()) as usize, 2 + subdirectories);
        }
    }
}

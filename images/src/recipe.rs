//! Recipes: images described by the packages and files they consist of.
//!
//! A recipe names exact package versions with their digests. The packages are fetched by the
//! ordinary clients (npm, apt-get) from whatever sources these are configured for; chosen files
//! are taken out, a few are written by the recipe itself. No root privileges, no container.

mod accept;
mod archive;
mod fetch;
mod library_cache;

pub use accept::{Accept, Accepted};

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Deserialize;

use crate::image::{ImageConfig, Provenance, Source};
use crate::tree::{Node, Tree};
use crate::{Error, Result};

/// Recipes that come with the program: name, text.
const BUILTIN: &[(&str, &str)] = &[
    ("glibc", include_str!("../recipes/glibc.json")),
    ("node:20", include_str!("../recipes/node-20.json")),
    ("node:22", include_str!("../recipes/node-22.json")),
    ("node:24", include_str!("../recipes/node-24.json")),
];

/// A recipe.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Reference of the image it makes, `name:tag`; a plain name for a mere base.
    pub name: String,
    /// Recipe whose content comes first.
    #[serde(default)]
    base: Option<String>,
    /// Modification time of what the recipe itself makes, seconds since 1970; files of packages
    /// have their own.
    #[serde(default)]
    mtime: Option<u64>,
    /// How programs in the image are started.
    #[serde(default)]
    config: ImageConfig,
    /// Packages by architecture (`uname -m`).
    #[serde(default)]
    architectures: BTreeMap<String, Packages>,
    /// Directories that exist for being mounted on or written to: path, octal mode.
    #[serde(default)]
    directories: BTreeMap<String, String>,
    /// Symbolic links: path, target.
    #[serde(default)]
    links: BTreeMap<String, String>,
    /// Text files: path, lines.
    #[serde(default)]
    files: BTreeMap<String, Vec<String>>,
}

/// What is to be fetched for one architecture.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Packages {
    #[serde(default)]
    npm: Vec<NpmPackage>,
    #[serde(default)]
    debian: Vec<DebianPackage>,
    /// The dynamic linker's cache, made for one directory of libraries.
    #[serde(default)]
    library_cache: Option<LibraryCache>,
}

/// A package of npm's registry.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NpmPackage {
    package: String,
    version: String,
    /// npm's `dist.integrity`.
    integrity: String,
    /// File in the package to path in the image.
    files: BTreeMap<String, String>,
}

/// A package of the configured Debian archive.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DebianPackage {
    package: String,
    version: String,
    sha256: String,
    /// Other versions that will do, in the order they are tried when the archive has dropped the
    /// first.
    #[serde(default)]
    accepted: Vec<Version>,
    /// Paths to take, `/usr`-merged; `*` at the end stands for the rest of a name.
    files: Vec<String>,
}

/// A version of a package, and what it must be.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Version {
    version: String,
    sha256: String,
}

/// Parameters of `/etc/ld.so.cache`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LibraryCache {
    directory: String,
    /// glibc's number for libraries of this architecture (`ldconfig.h`).
    flags: i32,
}

/// A recipe's result: a tree ready to be written, and what belongs to it.
#[derive(Debug)]
pub struct Prepared {
    /// The files.
    pub tree: Tree,
    /// Modification time for those that have none, seconds since 1970.
    pub mtime: u64,
    /// How programs are started.
    pub config: ImageConfig,
    /// What it was made from.
    pub provenance: Provenance,
}

impl Recipe {
    /// The recipe called `name` that comes with the program.
    pub fn builtin(name: &str) -> Result<Recipe> {
        let (_, text) = BUILTIN
            .iter()
            .find(|(known, _)| *known == name)
            .ok_or_else(|| {
                let known: Vec<&str> = Recipe::builtin_names().collect();
                Error::Recipe {
                    recipe: name.to_owned(),
                    reason: format!("there is none of that name; known: {}", known.join(", ")),
                }
            })?;
        Recipe::parse(name, text)
    }

    /// A recipe from a file of the user's.
    pub fn load(path: &Path) -> Result<Recipe> {
        let text = fs::read_to_string(path).map_err(Error::io("read", path))?;
        Recipe::parse(&path.display().to_string(), &text)
    }

    /// References of the images that can be built from recipes.
    pub fn builtin_names() -> impl Iterator<Item = &'static str> {
        BUILTIN
            .iter()
            .map(|(name, _)| *name)
            .filter(|name| name.contains(':'))
    }

    fn parse(name: &str, text: &str) -> Result<Recipe> {
        serde_json::from_str(text).map_err(|error| Error::Recipe {
            recipe: name.to_owned(),
            reason: error.to_string(),
        })
    }

    /// Fetches the packages for `architecture` and puts the tree together. `accept` says what else
    /// than the recipe's versions will do. `progress` gets a line at each step.
    pub fn prepare(
        &self,
        architecture: &str,
        accept: &Accept,
        progress: &mut dyn FnMut(&str),
    ) -> Result<Prepared> {
        let mut provenance = Provenance::new(format!("recipe {}", self.name));
        provenance.architecture = Some(architecture.to_owned());
        let mut tree = Tree::default();
        let sources = &mut provenance.sources;
        self.apply(architecture, accept, &mut tree, sources, progress)?;
        Ok(Prepared {
            tree,
            mtime: self.mtime.unwrap_or(crate::erofs::DEFAULT_MTIME),
            config: self.config.clone(),
            provenance,
        })
    }

    fn apply(
        &self,
        architecture: &str,
        accept: &Accept,
        tree: &mut Tree,
        sources: &mut Vec<Source>,
        progress: &mut dyn FnMut(&str),
    ) -> Result<()> {
        if let Some(base) = &self.base {
            Recipe::builtin(base)?.apply(architecture, accept, tree, sources, progress)?;
        }
        let packages = self.architectures.get(architecture).ok_or_else(|| {
            let known: Vec<&str> = self.architectures.keys().map(String::as_str).collect();
            self.error(format!(
                "not for {architecture}, only for {}",
                known.join(", ")
            ))
        })?;
        for package in &packages.debian {
            progress(&format!(
                "Debian package {} {}",
                package.package, package.version
            ));
            let source = fetch::debian(package, accept, tree)?;
            if let Some(wanted) = &source.instead_of {
                progress(&format!(
                    "  {} {wanted} is no longer in the configured archive; took {} ({})",
                    source.name, source.version, source.integrity
                ));
            }
            sources.push(source);
        }
        for package in &packages.npm {
            progress(&format!(
                "npm package {}@{}",
                package.package, package.version
            ));
            sources.push(fetch::npm(package, tree)?);
        }
        for (path, mode) in &self.directories {
            let mode = u16::from_str_radix(mode, 8)
                .ok()
                .filter(|mode| *mode <= 0o7777);
            let mode = mode.ok_or_else(|| self.error(format!("{path}: the mode is not octal")))?;
            tree.insert(path, Node::directory(mode))?;
        }
        for (path, target) in &self.links {
            tree.insert(path, Node::symlink(target.as_str()))?;
        }
        for (path, lines) in &self.files {
            let text: String = lines.iter().flat_map(|line| [line, "\n"]).collect();
            tree.insert(path, Node::file(0o644, text.into_bytes()))?;
        }
        if let Some(cache) = &packages.library_cache {
            let bytes = library_cache::of_directory(tree, &cache.directory, cache.flags);
            tree.insert("/etc/ld.so.cache", Node::file(0o644, bytes))?;
        }
        Ok(())
    }

    fn error(&self, reason: String) -> Error {
        Error::Recipe {
            recipe: self.name.clone(),
            reason,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn builtin_recipes_are_well_formed() {
        for (name, _) in BUILTIN {
            let recipe = Recipe::builtin(name).unwrap();
            assert_eq!(recipe.name, *name);
            for path in recipe.directories.keys().chain(recipe.links.keys()) {
                assert!(path.starts_with('/'), "{name}: {path}");
            }
            if name.contains(':') {
                assert!(recipe.config.entrypoint[0].starts_with('/'));
            }
        }
    }

    #[test]
    fn an_unknown_recipe_names_the_known_ones() {
        let error = Recipe::builtin("node:1").unwrap_err().to_string();
        assert!(
            error.contains("node:24") && !error.contains("glibc"),
            "{error}"
        );
    }

    #[test]
    fn another_architecture_is_refused_before_anything_is_fetched() {
        let recipe = Recipe::builtin("node:24").unwrap();
        let error = recipe
            .prepare("m68k", &Accept::default(), &mut |_| {})
            .unwrap_err()
            .to_string();
        assert!(error.contains("not for m68k"), "{error}");
    }
}

//! What can go wrong, told so that the reader knows where and what to do.

use std::io;
use std::path::{Path, PathBuf};

/// Result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An operation on a file of the host failed.
    #[error("cannot {action} {}: {cause}", path.display())]
    Io {
        /// What was attempted, as a verb: "read", "create".
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The operating system's answer.
        cause: io::Error,
    },
    /// Something in a source tree cannot be put into an image.
    #[error("{}: {reason}", path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// Why, and what to do instead.
        reason: String,
    },
    /// A stored image or reference is damaged.
    #[error("{} is damaged: {reason}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// A name or reference is not well-formed.
    #[error("`{name}` is not a valid {what}: {reason}")]
    InvalidName {
        /// Kind of name.
        what: &'static str,
        /// The name as given.
        name: String,
        /// The rule it breaks.
        reason: &'static str,
    },
    /// No such image in the store.
    #[error("no image `{reference}` in {}: {remedy}", store.display())]
    UnknownImage {
        /// What was asked for.
        reference: String,
        /// Where it was looked for.
        store: PathBuf,
        /// The command that makes it.
        remedy: String,
    },
    /// A package could not be fetched or is not what was expected.
    #[error("cannot fetch {package}: {reason}")]
    Fetch {
        /// Package and version.
        package: String,
        /// What happened, and what to do.
        reason: String,
    },
    /// A recipe is wrong or does not apply here.
    #[error("recipe {recipe}: {reason}")]
    Recipe {
        /// The recipe's name.
        recipe: String,
        /// What is wrong.
        reason: String,
    },
    /// The place of the store cannot be determined.
    #[error("neither SPROUT_HOME, XDG_DATA_HOME nor HOME is set: set SPROUT_HOME to a directory")]
    NoHome,
}

impl Error {
    /// Makes a closure for `map_err` on an I/O result.
    pub(crate) fn io<'a>(
        action: &'static str,
        path: &'a Path,
    ) -> impl FnOnce(io::Error) -> Error + 'a {
        move |cause| Error::Io {
            action,
            path: path.to_owned(),
            cause,
        }
    }

    pub(crate) fn unsupported(path: impl Into<PathBuf>, reason: impl Into<String>) -> Error {
        Error::Unsupported {
            path: path.into(),
            reason: reason.into(),
        }
    }

    pub(crate) fn corrupt(path: impl Into<PathBuf>, reason: impl Into<String>) -> Error {
        Error::Corrupt {
            path: path.into(),
            reason: reason.into(),
        }
    }
}

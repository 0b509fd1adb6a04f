//! Read-only images for guests, and the place on disk they are kept in.
//!
//! An image is an EROFS file system: a format made for read-only roots, simple enough that the
//! guest kernel maps files of it straight from the image, with no cache of its own. This crate
//! turns a [`tree::Tree`] (gathered from a directory of the host, from a [`recipe`], or in memory)
//! into such a file ([`erofs::write`]) and keeps it under the digest of its content ([`Store`]).
//!
//! Depends on `sprout-abi` (slot sizes) and `sprout-agent` (the JavaScript put in its image).

#![forbid(unsafe_code)]

pub mod erofs;
mod error;
mod image;
pub mod recipe;
mod reference;
mod store;

pub mod tree;

pub use error::{Error, Result};
pub use image::{Digest, ImageConfig, Provenance, Source};
pub use reference::Reference;
pub use store::{Image, ImageFile, Store};

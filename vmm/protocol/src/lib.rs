//! What the gateway and a worker process say to each other over the unix stream socket that the
//! worker got from its [`nursery`].
//!
//! A worker serves one request and exits:
//!
//! ```text
//! worker  -> Ready                      a VM is created and waits
//! gateway -> Prepare(Seed)              optional: map the seed now, before a request exists
//! gateway -> Assign                     be this instance, answer this request
//! worker  -> Log*, Response*            as the guest produces them, in pieces
//! worker  -> Done                       the last message; the socket closes after it
//! ```
//!
//! Each message is a `u32` little-endian length and that many bytes of postcard. Workers check the
//! length against [`MAX_MESSAGE`], the gateway against [`MAX_FROM_WORKER`], before they believe it.
//! Timeouts are the gateway's affair: it kills the worker's process.
//!
//! Depends on nothing else of Sprout: neither KVM nor the sentry are needed to speak it.

#![warn(missing_docs)]

pub mod message;
pub mod nursery;
pub mod wire;

pub use message::{
    Assign, Done, FromWorker, LogStream, Outcome, PIECE, Required, Seed, Timings, ToWorker,
};
pub use wire::{
    Decoder, MAX_FROM_WORKER, MAX_MESSAGE, ProtocolError, encode, encode_assign, receive, send,
};

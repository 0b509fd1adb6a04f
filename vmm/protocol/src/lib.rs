//! What the gateway and a worker process say to each other over the unix stream socket that the
//! worker got from its [`nursery`].
//!
//! A worker serves one request and exits, or goes back to its seed and waits for the next:
//!
//! ```text
//! worker  -> Ready                      a VM is created and waits
//! gateway -> Prepare(Seed)              optional: map the seed now, before a request exists
//! gateway -> Assign, request            be this instance, answer this request
//! worker  -> Log*, (Response, bytes)*   as the guest produces them
//! worker  -> Done                       how it went
//! worker  -> Rewound | Retired          if its VM is to be used again: it waits for the next Assign
//!                                       of the same seed, or ends
//! ```
//!
//! After the last message the socket closes.
//!
//! Each message is a `u32` little-endian length, at most [`MAX_MESSAGE`], and that many bytes of
//! postcard. Requests and responses are no part of messages: they follow the one that says how long
//! they are, as they are, so that nobody has to copy them. Timeouts are the gateway's affair: it
//! kills the worker's process.
//!
//! Depends on nothing else of Sprout: neither KVM nor the sentry are needed to speak it.

pub mod message;
pub mod nursery;
pub mod wire;

pub use message::{
    Assign, Done, FromWorker, Instances, LogStream, Outcome, PIECE, Required, Seed, Timings,
    ToWorker,
};
pub use wire::{
    Decoder, MAX_MESSAGE, MAX_REQUEST, ProtocolError, encode, receive, receive_request, send,
};

//! The request channel between the host and a function's agent, and the agent itself.
//!
//! A guest has one byte stream to the host (`/dev/sprout`). This crate defines what travels on it:
//! frames ([`frame`]), the messages made of them ([`message`]), and the state machines that read a
//! request or a response from bytes the other side chose ([`stream`]). The guest is hostile as far
//! as the host is concerned: every malformed input is a typed error, every size has a limit.
//!
//! The agent is JavaScript ([`JS_FILES`]); it becomes the read-only image mounted at `/sprout`.
//!
//! Depends on nothing else of Sprout.

#![forbid(unsafe_code)]

pub mod frame;
pub mod message;
pub mod stream;

pub use frame::{BODY_PIECE, Frame, FrameDecoder, FrameError, FrameKind, HEADER_LEN, Limits};
pub use message::{ErrorReport, RequestHead, ResponseHead, Restored};
pub use stream::{
    ProtocolError, Request, RequestDecoder, RequestEncoder, ResponseDecoder, ResponseEvent,
    encode_request,
};

/// The agent's files: name below the agent's directory, content. The first is the entry point.
pub const JS_FILES: &[(&str, &str)] = &[
    ("agent.mjs", include_str!("../js/agent.mjs")),
    ("channel.mjs", include_str!("../js/channel.mjs")),
    ("clock.cjs", include_str!("../js/clock.cjs")),
    ("copies.cjs", include_str!("../js/copies.cjs")),
    ("drawn.cjs", include_str!("../js/drawn.cjs")),
    ("entry.mjs", include_str!("../js/entry.mjs")),
    ("function.mjs", include_str!("../js/function.mjs")),
    ("generation.cjs", include_str!("../js/generation.cjs")),
    ("process-id.cjs", include_str!("../js/process-id.cjs")),
    ("random.cjs", include_str!("../js/random.cjs")),
    ("thread.cjs", include_str!("../js/thread.cjs")),
    ("threads.cjs", include_str!("../js/threads.cjs")),
];

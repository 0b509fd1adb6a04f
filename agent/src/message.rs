//! The JSON payloads of frames.

use serde::{Deserialize, Serialize};

/// The head of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestHead {
    /// Names the request in logs.
    pub id: String,
    /// HTTP method.
    pub method: String,
    /// Absolute URL as the function sees it.
    pub url: String,
    /// Header fields in order; a value's bytes are one character each (ISO 8859-1), as in the
    /// Fetch standard.
    pub headers: Vec<(String, String)>,
}

/// The head of a response.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResponseHead {
    /// HTTP status, 200..=599.
    pub status: u16,
    /// Header fields in order; values as in [`RequestHead::headers`].
    pub headers: Vec<(String, String)>,
}

/// Why the function gave no response.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorReport {
    /// The exception's message.
    pub message: String,
    /// Its stack, empty when it has none.
    #[serde(default)]
    pub stack: String,
}

/// Tells the agent that it is a copy: what must be unique has to be made anew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restored {
    /// Bumped at each restore of this line of snapshots.
    pub generation: u64,
    /// Unique id of this instance, hexadecimal.
    pub instance_id: String,
}

//! The worker: a process that holds one pre-created VM, becomes an instance of a seed when it is
//! told to, answers one request and exits.

pub mod protocol;

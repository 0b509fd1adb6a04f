//! What becomes of descriptors that were sent and never received.
//!
//! A socket's buffer may hold the last reference to another socket, whose buffer holds one to a
//! third, and so on, as long a chain as a program likes: ending them one within the other would
//! take a kernel stack of that depth. So buffers with descriptors are ended one after the other.

use crate::net::buffer::Buffer;
use crate::sync::{Lock, Rank};
use alloc::vec::Vec;

struct Grave {
    busy: bool,
    waiting: Vec<Buffer>,
}

static GRAVE: Lock<Grave> = Lock::new(
    Rank::Grave,
    Grave {
        busy: false,
        waiting: Vec::new(),
    },
);

/// Ends a buffer: at once, or if this is called while another is ended, right after that.
pub fn bury(buffer: Buffer) {
    if !buffer.has_rights() {
        return;
    }
    {
        let mut grave = GRAVE.lock();
        grave.waiting.push(buffer);
        if core::mem::replace(&mut grave.busy, true) {
            return;
        }
    }
    loop {
        let next = {
            let mut grave = GRAVE.lock();
            let next = grave.waiting.pop();
            grave.busy = next.is_some();
            next
        };
        match next {
            Some(buffer) => drop(buffer),
            None => return,
        }
    }
}

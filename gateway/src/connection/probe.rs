//! Whether a client that sends no more still listens.
//!
//! The end of a client's input says that it sends no more, not that it has gone: `nc -N` ends its
//! input behind the request and waits for the answer. A client that has closed its socket looks the
//! same, until something is sent to it: its system answers with a reset. So a little of what is to
//! be sent anyway is sent ahead of its time, a byte at a time: the letters every answer begins with,
//! or, between two chunks of a body, a zero before the next chunk's size, which HTTP allows (RFC
//! 9112, 7.1). Where neither can be sent the next piece of the answer tells.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How every answer begins, whatever its version and status.
const BEGINNING: &[u8] = b"HTTP/1.";
/// Most zeros before one chunk's size: parsers of chunk sizes take fifteen digits.
const MOST_ZEROS: usize = 7;
/// The first probe comes so long after the end of input: fast answers come in one piece.
const FIRST_PAUSE: Duration = Duration::from_millis(400);
/// Pauses double so many times.
const DOUBLINGS: u32 = 6;

/// What hyper is doing for the client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// No request is being answered, or nothing can be sent ahead.
    #[default]
    Quiet,
    /// An answer is to come.
    Awaited,
    /// A body comes in chunks.
    Chunks,
}

#[derive(Debug, Default)]
struct State {
    stage: Stage,
    /// hyper has bytes that the socket did not take.
    blocked: bool,
    /// Bytes sent ahead since hyper sent something.
    ahead: usize,
    /// Those of them that hyper is still to send.
    owed: usize,
}

/// The exchange of request and answer on a connection, as its probes have to know it.
#[derive(Debug, Default)]
pub(super) struct Exchange(Mutex<State>);

impl Exchange {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request has come.
    pub(super) fn begin(&self) {
        let mut state = self.state();
        state.stage = Stage::Awaited;
        state.ahead = state.owed;
    }

    /// Its answer comes now, perhaps in chunks.
    pub(super) fn answering(&self, chunked: bool) {
        let mut state = self.state();
        state.stage = if chunked { Stage::Chunks } else { Stage::Quiet };
    }

    /// hyper has the end of the answer.
    pub(super) fn end(&self) {
        self.state().stage = Stage::Quiet;
    }

    /// The socket did not take all of what hyper has.
    pub(super) fn blocked(&self) {
        self.state().blocked = true;
    }

    /// The socket has taken something from hyper.
    pub(super) fn wrote(&self) {
        let mut state = self.state();
        state.blocked = false;
        if state.stage != Stage::Awaited {
            state.ahead = 0;
        }
    }

    /// How many of `bytes`, which hyper sends, have been sent ahead.
    pub(super) fn take_ahead(&self, bytes: &[u8]) -> io::Result<Option<usize>> {
        let mut state = self.state();
        if state.owed == 0 {
            return Ok(None);
        }
        let sent = &BEGINNING[state.ahead - state.owed..state.ahead];
        let count = sent.len().min(bytes.len());
        if bytes[..count] != sent[..count] {
            let text = "an answer does not begin as those of HTTP/1 do";
            return Err(io::Error::other(text));
        }
        state.owed -= count;
        if state.owed == 0 {
            // An interim answer may have taken them: the final one gets no probe.
            state.ahead = BEGINNING.len();
        }
        Ok(Some(count))
    }

    /// A byte that can be sent ahead now.
    pub(super) fn probe(&self) -> Option<u8> {
        let state = self.state();
        match state.stage {
            _ if state.blocked => None,
            Stage::Quiet => None,
            Stage::Awaited => BEGINNING.get(state.ahead).copied(),
            Stage::Chunks => (state.ahead < MOST_ZEROS).then_some(b'0'),
        }
    }

    /// That byte has been sent.
    pub(super) fn probed(&self) {
        let mut state = self.state();
        state.ahead += 1;
        if state.stage == Stage::Awaited {
            state.owed += 1;
        }
    }

    /// How long to wait for the next probe.
    pub(super) fn pause(&self) -> Duration {
        let probes = u32::try_from(self.state().ahead).unwrap_or(DOUBLINGS);
        FIRST_PAUSE * 2u32.pow(probes.min(DOUBLINGS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe(exchange: &Exchange) -> Option<u8> {
        let byte = exchange.probe()?;
        exchange.probed();
        Some(byte)
    }

    #[test]
    fn what_was_sent_ahead_of_an_answer_is_not_sent_again() {
        let exchange = Exchange::default();
        assert_eq!(probe(&exchange), None);
        exchange.begin();
        let ahead: Vec<u8> = (0..3).filter_map(|_| probe(&exchange)).collect();
        assert_eq!(ahead, b"HTT");
        assert_eq!(exchange.take_ahead(b"HT").unwrap(), Some(2));
        assert_eq!(exchange.take_ahead(b"TP/1.1 200 OK").unwrap(), Some(1));
        assert_eq!(exchange.take_ahead(b"P/1.1 200 OK").unwrap(), None);
        // The rest of the letters would come after what hyper has sent.
        assert_eq!(probe(&exchange), None);
    }

    #[test]
    fn an_answer_has_only_so_many_letters_to_probe_with() {
        let exchange = Exchange::default();
        exchange.begin();
        let ahead: Vec<u8> = std::iter::from_fn(|| probe(&exchange)).collect();
        assert_eq!(ahead, BEGINNING);
        assert_eq!(exchange.take_ahead(b"HTTP/1.0 200 OK").unwrap(), Some(7));
        exchange.end();
        exchange.begin();
        assert_eq!(probe(&exchange), Some(b'H'));
        assert!(exchange.take_ahead(b"ICY 200").is_err());
    }

    #[test]
    fn chunks_get_zeros_while_nothing_of_theirs_waits() {
        let exchange = Exchange::default();
        exchange.begin();
        exchange.answering(true);
        exchange.wrote();
        assert_eq!(probe(&exchange), Some(b'0'));
        exchange.blocked();
        assert_eq!(probe(&exchange), None);
        exchange.wrote();
        let zeros: Vec<u8> = std::iter::from_fn(|| probe(&exchange)).collect();
        assert_eq!(zeros, [b'0'; MOST_ZEROS]);
        assert_eq!(exchange.take_ahead(b"5\r\nhello").unwrap(), None);
        exchange.end();
        assert_eq!(probe(&exchange), None);
        exchange.begin();
        exchange.answering(false);
        assert_eq!(probe(&exchange), None);
    }
}

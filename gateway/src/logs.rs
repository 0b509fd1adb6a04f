//! What functions print, as log lines that say which function and which request.

use sprout_protocol::LogStream;
use sprout_text::{CUT, cut_before, printable};

/// Longest line; longer ones are cut into several.
pub const MAX_LINE: usize = 8 * 1024;
/// Most bytes one request may log.
const MAX_REQUEST: usize = 1 << 20;
/// What a line costs of that beside its bytes, however short it is.
const LINE_COST: usize = 128;

/// Cuts the streams of one instance into lines.
#[derive(Debug)]
pub struct FunctionLog {
    function: String,
    request: String,
    lines: [Line; 4],
    budget: Budget,
}

/// The line of a stream that has not ended yet.
#[derive(Debug)]
struct Line {
    stream: LogStream,
    bytes: Vec<u8>,
    /// Whether its beginning has been written already.
    continued: bool,
}

/// What a request may still log, and what it has logged beyond that.
#[derive(Debug)]
struct Budget {
    left: usize,
    dropped: usize,
}

impl FunctionLog {
    /// The log of one request.
    pub fn new(function: &str, request: &str) -> Self {
        let streams = [
            LogStream::Stdout,
            LogStream::Stderr,
            LogStream::Sentry,
            LogStream::Audit,
        ];
        Self {
            function: function.into(),
            request: request.into(),
            lines: streams.map(|stream| Line {
                stream,
                bytes: Vec::new(),
                continued: false,
            }),
            budget: Budget {
                left: MAX_REQUEST,
                dropped: 0,
            },
        }
    }

    /// Takes output as it comes.
    pub fn push(&mut self, stream: LogStream, bytes: &[u8]) {
        let (function, request, budget) = (&self.function, &self.request, &mut self.budget);
        let Some(line) = self.lines.iter_mut().find(|line| line.stream == stream) else {
            return;
        };
        line.add(bytes, budget, |text| emit(function, request, stream, text));
    }

    /// Writes what ended without a newline.
    pub fn finish(mut self) {
        let (function, request) = (&self.function, &self.request);
        for line in &mut self.lines {
            let stream = line.stream;
            if !line.bytes.is_empty() {
                line.end(&mut self.budget, |text| {
                    emit(function, request, stream, text)
                });
            }
        }
        let dropped = self.budget.dropped;
        if dropped > 0 {
            tracing::warn!(
                function,
                request,
                "{dropped} bytes above the log limit were dropped"
            );
        }
    }
}

impl Line {
    /// Adds what the stream has next, and writes what is complete.
    fn add(&mut self, bytes: &[u8], budget: &mut Budget, mut write: impl FnMut(&str)) {
        if budget.left == 0 {
            budget.dropped += bytes.len();
            return;
        }
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (mut text, ends) = match piece.strip_suffix(b"\n") {
                Some(text) => (text, true),
                None => (piece, false),
            };
            while self.bytes.len() + text.len() > MAX_LINE {
                // One byte more shows whether the cut would fall into a character.
                let (now, later) = text.split_at(MAX_LINE + 1 - self.bytes.len());
                self.bytes.extend_from_slice(now);
                text = later;
                let rest = self.bytes.split_off(cut_before(&self.bytes, MAX_LINE));
                self.write(budget, true, &mut write);
                self.bytes = rest;
            }
            self.bytes.extend_from_slice(text);
            if ends {
                self.end(budget, &mut write);
            }
        }
    }

    fn end(&mut self, budget: &mut Budget, write: impl FnMut(&str)) {
        self.write(budget, false, write);
        self.continued = false;
    }

    /// Writes what there is of the line, as far as that is allowed.
    fn write(&mut self, budget: &mut Budget, continues: bool, mut write: impl FnMut(&str)) {
        let bytes = std::mem::take(&mut self.bytes);
        let kept = cut_before(&bytes, budget.left.saturating_sub(LINE_COST));
        budget.dropped += bytes.len() - kept;
        if budget.left > 0 {
            budget.left = budget.left.saturating_sub(kept + LINE_COST);
            let text = String::from_utf8_lossy(&bytes[..kept]);
            let text = printable(text.trim_end_matches('\r'));
            let before = if self.continued { CUT } else { "" };
            let after = if continues || kept < bytes.len() {
                CUT
            } else {
                ""
            };
            write(&format!("{before}{text}{after}"));
        }
        self.continued = true;
    }
}

fn emit(function: &str, request: &str, stream: LogStream, line: &str) {
    match stream {
        LogStream::Stdout => {
            tracing::info!(target: "function", function, request, stream = "stdout", "{line}");
        }
        LogStream::Stderr => {
            tracing::warn!(target: "function", function, request, stream = "stderr", "{line}");
        }
        LogStream::Sentry => {
            tracing::info!(target: "sentry", function, request, "{line}");
        }
        LogStream::Audit => {
            tracing::info!(target: "audit", function, request, "{line}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Seen {
        line: Line,
        budget: Budget,
        lines: Vec<String>,
    }

    impl Seen {
        fn new(left: usize) -> Self {
            Self {
                line: Line {
                    stream: LogStream::Stdout,
                    bytes: Vec::new(),
                    continued: false,
                },
                budget: Budget { left, dropped: 0 },
                lines: Vec::new(),
            }
        }

        fn add(&mut self, bytes: &[u8]) -> &[String] {
            let lines = &mut self.lines;
            self.line
                .add(bytes, &mut self.budget, |line| lines.push(line.to_owned()));
            &self.lines
        }
    }

    #[test]
    fn lines_come_out_whole_whatever_pieces_they_arrive_in() {
        let mut seen = Seen::new(MAX_REQUEST);
        assert!(seen.add(b"he").is_empty());
        assert_eq!(seen.add(b"llo\n\nwor"), ["hello", ""]);
        assert_eq!(seen.add(b"ld \xe2\x82").len(), 2);
        assert_eq!(seen.add(b"\xac\r\n")[2], "world €");
    }

    #[test]
    fn a_long_line_is_cut_between_characters_and_the_cuts_are_marked() {
        for (character, offset) in [('x', 0), ('é', 1), ('€', 1), ('€', 2), ('🎉', 3)] {
            let text = "x".repeat(offset) + &character.to_string().repeat(MAX_LINE);
            let mut seen = Seen::new(MAX_REQUEST);
            for piece in text.as_bytes().chunks(1000) {
                seen.add(piece);
            }
            seen.add(b"\nnext\n");
            let (next, lines) = seen.lines.split_last().unwrap();
            assert_eq!(next, "next");
            let (first, last) = (lines.first().unwrap(), lines.last().unwrap());
            if character != 'x' {
                assert!(first.ends_with(CUT) && last.starts_with(CUT) && !last.ends_with(CUT));
            }
            let longest = lines.iter().map(String::len).max().unwrap();
            assert!(longest <= MAX_LINE + 2 * CUT.len());
            let joined: Vec<&str> = lines
                .iter()
                .map(|line| line.trim_matches(|mark| CUT.contains(mark)))
                .collect();
            assert_eq!(joined.concat(), text);
        }
    }

    #[test]
    fn no_text_makes_lines_of_its_own() {
        let mut seen = Seen::new(MAX_REQUEST);
        let forged = "a\r2026-01-01 INFO forged\x1b[2K\u{2028}b\n";
        let expected = "a\\r2026-01-01 INFO forged\\u{1b}[2K\\u{2028}b";
        assert_eq!(seen.add(forged.as_bytes()), [expected]);
    }

    #[test]
    fn a_flood_is_dropped_beyond_the_limit() {
        let mut seen = Seen::new(MAX_REQUEST);
        for _ in 0..4 {
            seen.add(&vec![b'\n'; MAX_REQUEST / 2]);
        }
        assert_eq!(seen.lines.len(), MAX_REQUEST / LINE_COST);
        assert_eq!(seen.budget.left, 0);
        let mut seen = Seen::new(MAX_REQUEST);
        for _ in 0..4 {
            seen.add(&vec![b'x'; MAX_REQUEST / 2]);
        }
        assert!(seen.lines.iter().map(String::len).sum::<usize>() <= MAX_REQUEST);
        assert!(seen.line.bytes.len() <= MAX_LINE);
        let kept: usize = seen
            .lines
            .iter()
            .map(|line| line.matches('x').count())
            .sum();
        assert_eq!(
            kept + seen.budget.dropped + seen.line.bytes.len(),
            2 * MAX_REQUEST
        );
    }

    #[test]
    fn the_last_line_within_the_limit_is_cut_between_characters() {
        let mut seen = Seen::new(LINE_COST + 4);
        assert_eq!(seen.add("grüße\nmore\n".as_bytes()), ["grü…"]);
        assert_eq!(seen.budget.dropped, 3 + 4);
    }
}

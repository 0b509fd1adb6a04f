//! What functions print, as log lines that say which function and which request.

use sprout_vmm::worker::protocol::LogStream;

/// Longest line; longer ones are cut into several.
const MAX_LINE: usize = 8 * 1024;
/// Most bytes one request may log.
const MAX_REQUEST: usize = 1 << 20;

/// Cuts the streams of one instance into lines.
#[derive(Debug)]
pub struct FunctionLog {
    function: String,
    request: String,
    partial: [(LogStream, Vec<u8>); 4],
    left: usize,
    dropped: u64,
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
            partial: streams.map(|stream| (stream, Vec::new())),
            left: MAX_REQUEST,
            dropped: 0,
        }
    }

    /// Takes output as it comes.
    pub fn push(&mut self, stream: LogStream, bytes: &[u8]) {
        let (kept, rest) = bytes.split_at(bytes.len().min(self.left));
        self.left -= kept.len();
        self.dropped += rest.len() as u64;
        for (of, partial) in &mut self.partial {
            if *of == stream {
                for line in lines(partial, kept) {
                    emit(&self.function, &self.request, stream, &line);
                }
            }
        }
    }

    /// Writes what ended without a newline.
    pub fn finish(mut self) {
        for (stream, partial) in &mut self.partial {
            if !partial.is_empty() {
                emit(&self.function, &self.request, *stream, partial);
            }
        }
        if self.dropped > 0 {
            let Self {
                function,
                request,
                dropped,
                ..
            } = &self;
            tracing::warn!(
                function,
                request,
                "{dropped} bytes above the log limit were dropped"
            );
        }
    }
}

/// Adds `bytes` to `partial` and takes out the lines that are complete.
fn lines(partial: &mut Vec<u8>, bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut complete = Vec::new();
    for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
        let (text, ends) = match piece.strip_suffix(b"\n") {
            Some(text) => (text, true),
            None => (piece, false),
        };
        for chunk in text.chunks(MAX_LINE) {
            if partial.len() + chunk.len() > MAX_LINE {
                complete.push(std::mem::take(partial));
            }
            partial.extend_from_slice(chunk);
        }
        if ends {
            complete.push(std::mem::take(partial));
        }
    }
    complete
}

fn emit(function: &str, request: &str, stream: LogStream, line: &[u8]) {
    let line = String::from_utf8_lossy(line);
    let line = line.trim_end_matches('\r');
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

    #[test]
    fn lines_come_out_whole_whatever_pieces_they_arrive_in() {
        let mut partial = Vec::new();
        assert!(lines(&mut partial, b"he").is_empty());
        assert_eq!(
            lines(&mut partial, b"llo\n\nwor"),
            [b"hello".to_vec(), b"".to_vec()]
        );
        assert_eq!(lines(&mut partial, b"ld\n"), [b"world"]);
        assert!(partial.is_empty());
    }

    #[test]
    fn an_endless_line_is_cut() {
        let mut partial = Vec::new();
        let cut = lines(&mut partial, &vec![b'x'; MAX_LINE * 2 + 5]);
        assert_eq!(
            cut.iter().map(Vec::len).collect::<Vec<_>>(),
            [MAX_LINE, MAX_LINE]
        );
        assert_eq!(partial.len(), 5);
    }

    #[test]
    fn a_flood_is_dropped_beyond_the_limit() {
        let mut log = FunctionLog::new("f", "1");
        for _ in 0..3 {
            log.push(LogStream::Stdout, &vec![b'\n'; MAX_REQUEST / 2]);
        }
        assert_eq!((log.left, log.dropped), (0, MAX_REQUEST as u64 / 2));
    }
}

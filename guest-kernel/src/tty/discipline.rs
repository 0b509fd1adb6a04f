//! The line discipline N_TTY: what becomes of typed bytes (lines, editing, echo, signals, flow
//! control) and of written ones. A state machine without a terminal, as drivers/tty/n_tty.c; the
//! order of its decisions is that file's, because programs and tests see it.

use super::termios::{Termios, cc, input, local, output};
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// Bytes a terminal keeps for its reader (N_TTY_BUF_SIZE).
pub const CAPACITY: usize = 4096;

/// What a byte in the buffer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    /// One of a line.
    Plain,
    /// The last of a line.
    LineEnd,
    /// An end of file: ends a line, and is not read itself.
    EndOfFile,
}

/// What is to happen because of input.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// To write back.
    pub echo: Vec<u8>,
    /// Signals for the foreground process group, in order.
    pub signals: Vec<u32>,
    /// Output that waits is to be thrown away.
    pub flush_output: bool,
    /// Output is to stop (true) or go on.
    pub flow: Option<bool>,
}

/// The state of one terminal.
#[derive(Debug, Default)]
pub struct Discipline {
    cells: VecDeque<(u8, Mark)>,
    /// Cells up to here belong to lines that can be read.
    complete: usize,
    literal_next: bool,
    /// In the middle of `\...` of ECHOPRT.
    erasing: bool,
    /// Where the cursor is.
    column: usize,
    /// Where it was when the line began.
    line_column: usize,
    /// Output is stopped by the stop character.
    pub stopped: bool,
}

const SIGINT: u32 = 2;
const SIGQUIT: u32 = 3;
const SIGTSTP: u32 = 20;

impl Discipline {
    /// Bytes a read could get now.
    pub fn available(&self, termios: &Termios) -> usize {
        if termios.l(local::ICANON) {
            self.complete
        } else {
            self.cells.len()
        }
    }

    /// How many bytes of input are taken now. With an unfinished line in a full buffer they are
    /// taken, and lost.
    pub fn room(&self, termios: &Termios) -> usize {
        let room = CAPACITY - 1 - self.cells.len().min(CAPACITY - 1);
        let overflows = termios.l(local::ICANON) && self.complete == 0;
        room.max(usize::from(overflows))
    }

    /// Throws input away.
    pub fn flush(&mut self) {
        self.cells.clear();
        self.complete = 0;
        self.literal_next = false;
        self.erasing = false;
    }

    /// New modes are in force.
    pub fn modes_changed(&mut self, old: &Termios, new: &Termios) {
        if (old.local ^ new.local) & local::ICANON == 0 {
            return;
        }
        for cell in &mut self.cells {
            // An end of file becomes the NUL byte it is stored as.
            if cell.1 == Mark::EndOfFile {
                cell.0 = 0;
            }
            cell.1 = Mark::Plain;
        }
        self.complete = 0;
        if new.l(local::ICANON)
            && let Some(last) = self.cells.back_mut()
        {
            last.1 = Mark::LineEnd;
            self.complete = self.cells.len();
        }
        self.literal_next = false;
        self.erasing = false;
    }

    /// Reads up to `limit` bytes: of one line, or of all there is.
    pub fn read(&mut self, termios: &Termios, limit: usize) -> Vec<u8> {
        let mut out = Vec::new();
        if !termios.l(local::ICANON) {
            let count = limit.min(self.cells.len());
            out.extend(self.cells.drain(..count).map(|(byte, _)| byte));
            return out;
        }
        while self.complete > 0 {
            let (byte, mark) = self.cells[0];
            // The end of file behind a line that just fits is read with it.
            if out.len() == limit && mark != Mark::EndOfFile {
                break;
            }
            self.cells.pop_front();
            self.complete -= 1;
            match mark {
                Mark::Plain => out.push(byte),
                Mark::LineEnd => {
                    out.push(byte);
                    break;
                }
                Mark::EndOfFile => break,
            }
        }
        out
    }

    /// Takes one typed byte.
    pub fn receive(&mut self, mut byte: u8, termios: &Termios, effects: &mut Effects) {
        let canonical = termios.l(local::ICANON);
        if self.cells.len() >= CAPACITY {
            if !canonical || self.complete > 0 {
                return;
            }
            self.cells.pop_back();
        }
        if termios.i(input::ISTRIP) {
            byte &= 0x7f;
        }
        if termios.i(input::IUCLC) && termios.l(local::IEXTEN) {
            byte = byte.to_ascii_lowercase();
        }
        if core::mem::take(&mut self.literal_next) {
            self.ordinary(byte, termios, effects);
            return;
        }
        if termios.i(input::IXON) && termios.is(cc::VSTART, byte) {
            self.start(effects);
            return;
        }
        if termios.i(input::IXON) && termios.is(cc::VSTOP, byte) {
            self.stopped = true;
            effects.flow = Some(true);
            return;
        }
        if termios.l(local::ISIG) {
            let keys = [
                (cc::VINTR, SIGINT),
                (cc::VQUIT, SIGQUIT),
                (cc::VSUSP, SIGTSTP),
            ];
            if let Some((_, signal)) = keys.iter().find(|(key, _)| termios.is(*key, byte)) {
                self.signal(*signal, byte, termios, effects);
                return;
            }
        }
        if self.stopped && termios.i(input::IXON) && termios.i(input::IXANY) {
            self.start(effects);
        }
        match byte {
            b'\r' if termios.i(input::IGNCR) => return,
            b'\r' if termios.i(input::ICRNL) => byte = b'\n',
            b'\n' if termios.i(input::INLCR) => byte = b'\r',
            _ => {}
        }
        if canonical && self.edit(byte, termios, effects) {
            return;
        }
        self.ordinary(byte, termios, effects);
    }

    fn start(&mut self, effects: &mut Effects) {
        if core::mem::take(&mut self.stopped) {
            effects.flow = Some(false);
        }
    }

    fn signal(&mut self, signal: u32, byte: u8, termios: &Termios, effects: &mut Effects) {
        if !termios.l(local::NOFLSH) {
            self.flush();
            effects.echo.clear();
            effects.flush_output = true;
        }
        effects.signals.push(signal);
        if termios.i(input::IXON) {
            self.start(effects);
        }
        if termios.l(local::ECHO) {
            self.echo(byte, termios, effects);
        }
    }

    /// Handles what edits or ends a line. Whether the byte was that.
    fn edit(&mut self, byte: u8, termios: &Termios, effects: &mut Effects) -> bool {
        let extended = termios.l(local::IEXTEN);
        let is = |key| termios.is(key, byte);
        if is(cc::VERASE) || is(cc::VKILL) || (is(cc::VWERASE) && extended) {
            self.erase(byte, termios, effects);
        } else if is(cc::VLNEXT) && extended {
            self.literal_next = true;
            if termios.l(local::ECHO) {
                self.finish_erasing(termios, effects);
                if termios.l(local::ECHOCTL) {
                    self.put_raw(b"^\x08", termios, effects);
                }
            }
        } else if is(cc::VREPRINT) && termios.l(local::ECHO) && extended {
            self.finish_erasing(termios, effects);
            self.echo(byte, termios, effects);
            self.put_raw(b"\n", termios, effects);
            let line: Vec<u8> = self.cells.iter().skip(self.complete).map(|c| c.0).collect();
            for byte in line {
                self.echo(byte, termios, effects);
            }
        } else if byte == b'\n' {
            if termios.l(local::ECHO) || termios.l(local::ECHONL) {
                self.put_raw(b"\n", termios, effects);
            }
            self.end_line(byte, Mark::LineEnd);
        } else if is(cc::VEOF) {
            self.end_line(0, Mark::EndOfFile);
        } else if is(cc::VEOL) || (is(cc::VEOL2) && extended) {
            if termios.l(local::ECHO) {
                self.begin_line();
                self.echo(byte, termios, effects);
            }
            if byte == 0xff && termios.i(input::PARMRK) {
                self.cells.push_back((byte, Mark::Plain));
            }
            self.end_line(byte, Mark::LineEnd);
        } else {
            return false;
        }
        true
    }

    fn end_line(&mut self, byte: u8, mark: Mark) {
        self.cells.push_back((byte, mark));
        self.complete = self.cells.len();
    }

    /// Notes in which column the line begins, for erasing tabs.
    fn begin_line(&mut self) {
        if self.complete == self.cells.len() {
            self.line_column = self.column;
        }
    }

    fn ordinary(&mut self, byte: u8, termios: &Termios, effects: &mut Effects) {
        if termios.l(local::ECHO) {
            self.finish_erasing(termios, effects);
            if byte == b'\n' {
                self.put_raw(b"\n", termios, effects);
            } else {
                self.begin_line();
                self.echo(byte, termios, effects);
            }
        }
        if byte == 0xff && termios.i(input::PARMRK) {
            self.cells.push_back((byte, Mark::Plain));
        }
        self.cells.push_back((byte, Mark::Plain));
    }

    /// Echoes a byte, control characters as `^X`.
    fn echo(&mut self, byte: u8, termios: &Termios, effects: &mut Effects) {
        if termios.l(local::ECHOCTL) && byte.is_ascii_control() && byte != b'\t' {
            self.put_raw(&[b'^', byte ^ 0o100], termios, effects);
        } else {
            self.put_raw(&[byte], termios, effects);
        }
    }

    fn put_raw(&mut self, bytes: &[u8], termios: &Termios, effects: &mut Effects) {
        for byte in bytes {
            self.write(*byte, termios, &mut effects.echo);
        }
    }

    fn finish_erasing(&mut self, termios: &Termios, effects: &mut Effects) {
        if core::mem::take(&mut self.erasing) {
            self.put_raw(b"/", termios, effects);
        }
    }

    fn erase(&mut self, key: u8, termios: &Termios, effects: &mut Effects) {
        if self.cells.len() == self.complete {
            return;
        }
        let echo = termios.l(local::ECHO);
        let one = termios.is(cc::VERASE, key);
        let word = !one && termios.is(cc::VWERASE, key);
        if !one && !word {
            if !echo {
                self.cells.truncate(self.complete);
                return;
            }
            let visibly = local::ECHOK | local::ECHOKE | local::ECHOE;
            if termios.local & visibly != visibly {
                self.cells.truncate(self.complete);
                self.finish_erasing(termios, effects);
                self.echo(key, termios, effects);
                if termios.l(local::ECHOK) {
                    self.put_raw(b"\n", termios, effects);
                }
                return;
            }
        }
        let continuation = |byte: u8| termios.i(input::IUTF8) && byte & 0xc0 == 0x80;
        let mut seen_word = false;
        while self.cells.len() > self.complete {
            let mut head = self.cells.len() - 1;
            while continuation(self.cells[head].0) && head > self.complete {
                head -= 1;
            }
            let byte = self.cells[head].0;
            if continuation(byte) {
                break;
            }
            if word {
                if byte.is_ascii_alphanumeric() || byte == b'_' {
                    seen_word = true;
                } else if seen_word {
                    break;
                }
            }
            let rest: Vec<u8> = self.cells.drain(head..).skip(1).map(|c| c.0).collect();
            if echo {
                self.echo_erased(byte, &rest, one, termios, effects);
            }
            if one {
                break;
            }
        }
        if self.cells.len() == self.complete && echo {
            self.finish_erasing(termios, effects);
        }
    }

    /// Shows that a character was erased; `rest`: its further bytes.
    fn echo_erased(
        &mut self,
        byte: u8,
        rest: &[u8],
        one: bool,
        termios: &Termios,
        effects: &mut Effects,
    ) {
        let visible_control = byte.is_ascii_control() && termios.l(local::ECHOCTL);
        if termios.l(local::ECHOPRT) {
            if !core::mem::replace(&mut self.erasing, true) {
                self.put_raw(b"\\", termios, effects);
            }
            self.echo(byte, termios, effects);
            self.put_raw(rest, termios, effects);
        } else if one && !termios.l(local::ECHOE) {
            self.echo(termios.cc[cc::VERASE], termios, effects);
        } else if byte == b'\t' {
            let columns = self.columns_before_tab(termios);
            for _ in 0..8 - (columns & 7) {
                self.put_raw(b"\x08", termios, effects);
            }
        } else {
            if visible_control {
                self.put_raw(b"\x08 \x08", termios, effects);
            }
            if !byte.is_ascii_control() || visible_control {
                self.put_raw(b"\x08 \x08", termios, effects);
            }
        }
    }

    /// Columns that the line's characters since the last tab take.
    fn columns_before_tab(&self, termios: &Termios) -> usize {
        let mut columns = 0;
        for (byte, _) in self.cells.iter().skip(self.complete).rev() {
            match *byte {
                b'\t' => return columns,
                byte if byte.is_ascii_control() => {
                    columns += if termios.l(local::ECHOCTL) { 2 } else { 0 }
                }
                byte if termios.i(input::IUTF8) && byte & 0xc0 == 0x80 => {}
                _ => columns += 1,
            }
        }
        columns + self.line_column
    }

    /// Writes one byte to the terminal, processed as the modes say.
    pub fn write(&mut self, byte: u8, termios: &Termios, out: &mut Vec<u8>) {
        if !termios.o(output::OPOST) {
            out.push(byte);
            return;
        }
        match byte {
            b'\n' => {
                if termios.o(output::ONLRET) {
                    self.column = 0;
                }
                if termios.o(output::ONLCR) {
                    self.column = 0;
                    out.push(b'\r');
                }
                self.line_column = self.column;
                out.push(b'\n');
            }
            b'\r' if termios.o(output::ONOCR) && self.column == 0 => {}
            b'\r' if termios.o(output::OCRNL) => {
                if termios.o(output::ONLRET) {
                    (self.column, self.line_column) = (0, 0);
                }
                out.push(b'\n');
            }
            b'\r' => {
                (self.column, self.line_column) = (0, 0);
                out.push(byte);
            }
            b'\t' => {
                let spaces = 8 - (self.column & 7);
                self.column += spaces;
                if termios.output & output::TABDLY == output::XTABS {
                    out.extend(core::iter::repeat_n(b' ', spaces));
                } else {
                    out.push(byte);
                }
            }
            0x08 => {
                self.column = self.column.saturating_sub(1);
                out.push(byte);
            }
            _ => {
                let is_control = byte.is_ascii_control();
                let continues = termios.i(input::IUTF8) && byte & 0xc0 == 0x80;
                if !is_control && !continues {
                    self.column += 1;
                }
                let upper = !is_control && termios.o(output::OLCUC);
                out.push(if upper {
                    byte.to_ascii_uppercase()
                } else {
                    byte
                });
            }
        }
    }
}

#[cfg(test)]
#[path = "discipline_tests.rs"]
mod tests;

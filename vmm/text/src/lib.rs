//! Text that guests chose, made safe to print.

use std::borrow::Cow;
use std::fmt::Write;

/// Ends a piece of a line that was cut, and begins the next one.
pub const CUT: &str = "…";

/// `text` on one line that does nothing to a terminal: control characters (line ends and escape
/// sequences begin with some), separators of lines and marks that change the direction of what
/// follows are shown as Rust writes them.
pub fn printable(text: &str) -> Cow<'_, str> {
    if text.chars().all(is_printable) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if is_printable(character) {
            shown.push(character);
        } else {
            // Writing to a string does not fail.
            let _ = match character {
                '\n' | '\r' => write!(shown, "{}", character.escape_default()),
                other => write!(shown, "{}", other.escape_unicode()),
            };
        }
    }
    Cow::Owned(shown)
}

/// As [`printable`], of the first `most` bytes; what is cut off is marked.
pub fn printable_within(text: &str, most: usize) -> Cow<'_, str> {
    if text.len() <= most {
        return printable(text);
    }
    let end = text.floor_char_boundary(most);
    let kept = text.get(..end).unwrap_or_default();
    Cow::Owned(printable(kept).into_owned() + CUT)
}

fn is_printable(character: char) -> bool {
    match character {
        '\t' => true,
        // Separators of lines and paragraphs; marks, embeddings, overrides and isolates of text
        // direction.
        '\u{2028}' | '\u{2029}' | '\u{61c}' | '\u{200e}' | '\u{200f}' => false,
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => false,
        other => !other.is_control(),
    }
}

/// Where to cut `bytes`, so that the first part has at most `most` and no character of UTF-8 is cut
/// in two. What is no UTF-8 is cut at `most`.
pub fn cut_before(bytes: &[u8], most: usize) -> usize {
    if bytes.len() <= most {
        return bytes.len();
    }
    let is_start = |at: &usize| bytes.get(*at).is_some_and(|byte| byte & 0xc0 != 0x80);
    // A character has at most three bytes behind its first.
    let start = (most.saturating_sub(3)..=most).rev().find(is_start);
    start.filter(|start| *start > 0).unwrap_or(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_on_its_line_and_moves_no_cursor() {
        for (text, shown) in [
            ("plain\ttext, grüße 日本 🎉", "plain\ttext, grüße 日本 🎉"),
            ("a\nINFO forged", "a\\nINFO forged"),
            ("a\rb", "a\\rb"),
            ("\x1b[2J\x07", "\\u{1b}[2J\\u{7}"),
            ("\u{9b}2J\u{85}\u{7f}\0", "\\u{9b}2J\\u{85}\\u{7f}\\u{0}"),
            ("a\u{2028}b\u{2029}c", "a\\u{2028}b\\u{2029}c"),
            ("\u{202e}gpj.exe\u{2066}", "\\u{202e}gpj.exe\\u{2066}"),
        ] {
            assert_eq!(printable(text), shown);
        }
    }

    #[test]
    fn long_text_is_cut_between_characters_and_says_so() {
        assert_eq!(printable_within("grüße", 7), "grüße");
        assert_eq!(printable_within("grüße", 3), "gr…");
        assert_eq!(printable_within("grüße", 4), "grü…");
    }

    #[test]
    fn bytes_are_cut_between_characters() {
        for (bytes, most, expected) in [
            ("grüße".as_bytes(), 3, 2),
            ("grüße".as_bytes(), 4, 4),
            ("🎉🎉".as_bytes(), 7, 4),
            (&[0x80; 9], 5, 5),
            ("🎉".as_bytes(), 2, 2),
            (b"short", 9, 5),
        ] {
            assert_eq!(cut_before(bytes, most), expected, "{bytes:?}");
        }
    }
}

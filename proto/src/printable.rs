//! Foreign words in one printable line: for terminals, logs, events and JSON.
//!
//! Answers: which characters may a guest, a peer or an issuer put on an operator's screen?
//! Escaped are line ends and all other control characters (U+0085 too), what changes the direction of text (U+061C,
//! U+200E to U+200F, U+202A to U+202E, U+2066 to U+2069), what is not seen (Unicode's Default_Ignorable_Code_Point: U+200B to
//! U+200D, U+FEFF, the soft hyphen, Hangul fillers; and the empty Braille pattern), separators (U+2028, U+2029), combining
//! marks, and what no font has. Quotes and backslashes stay, so that a text may pass several
//! edges and is escaped once.
//! Invariant: what comes out of here is one line, reads in the order of its bytes, and every character of it is seen.

use std::{
    borrow::Cow,
    fmt::{self, Write as _},
    io,
};

/// Whether a character is shown as it is.
#[must_use]
pub fn is_printable(character: char) -> bool {
    if matches!(character, '\'' | '"' | '\\') {
        return true;
    }
    if is_invisible(character) {
        return false;
    }
    let mut escaped = character.escape_debug();
    escaped.next() == Some(character) && escaped.next().is_none()
}

/// What is drawn as nothing (DerivedCoreProperties.txt, Default_Ignorable_Code_Point), and U+2800, a Braille cell without dots.
fn is_invisible(character: char) -> bool {
    matches!(u32::from(character),
        0xAD | 0x34F | 0x61C | 0x115F..=0x1160 | 0x17B4..=0x17B5 | 0x180B..=0x180F | 0x200B..=0x200F | 0x202A..=0x202E
        | 0x2060..=0x206F | 0x2800 | 0x3164 | 0xFE00..=0xFE0F | 0xFEFF | 0xFFA0 | 0xFFF0..=0xFFF8 | 0x1_BCA0..=0x1_BCA3
        | 0x1_D173..=0x1_D17A | 0xE_0000..=0xE_0FFF)
}

/// At most so many characters of a text, as one printable line; `…` says that there is more.
#[must_use]
pub fn line(text: &str, max: usize) -> String {
    let mut out = String::with_capacity(text.len().min(max));
    let mut length = 0;
    for character in text.chars() {
        let before = out.len();
        length += push(&mut out, character);
        if length > max {
            out.truncate(before);
            out.push('…');
            return out;
        }
    }
    out
}

/// A text that is shown as one printable line, however long.
#[derive(Debug, Clone, Copy)]
pub struct Shown<'t>(pub &'t str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&whole(self.0))
    }
}

/// All of a text as one printable line.
#[must_use]
pub fn whole(text: &str) -> Cow<'_, str> {
    if text.chars().all(is_printable) {
        return text.into();
    }
    let mut out = String::with_capacity(text.len() * 2);
    for character in text.chars() {
        push(&mut out, character);
    }
    out.into()
}

/// The same JSON document, in which no character is that is not printable: JSON's own escapes stand for them, so that
/// readers get what was meant.
#[must_use]
pub fn json(document: &str) -> Cow<'_, str> {
    if document.chars().all(is_printable) {
        return document.into();
    }
    let mut out = String::with_capacity(document.len() * 2);
    for character in document.chars() {
        if is_printable(character) {
            out.push(character);
            continue;
        }
        // Only strings have other characters than ASCII's printable ones in a document of one line (RFC 8259 section 7).
        for unit in character.encode_utf16(&mut [0; 2]) {
            // Writing to a String cannot fail.
            write!(out, "\\u{unit:04x}").ok();
        }
    }
    out.into()
}

/// Adds a character, escaped if it must be; how many characters that were.
fn push(out: &mut String, character: char) -> usize {
    if is_printable(character) {
        out.push(character);
        return 1;
    }
    let mut add = |escaped| out.push(escaped);
    if is_invisible(character) {
        return character.escape_unicode().map(&mut add).count();
    }
    character.escape_debug().map(&mut add).count()
}

/// A log's lines: each is written at once, and ends where it ends.
#[derive(Debug)]
pub struct Lines<W>(pub W);

impl<W: io::Write> io::Write for Lines<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        let (line, end) = text.strip_suffix('\n').map_or((&*text, ""), |line| (line, "\n"));
        self.0.write_all(format!("{}{end}", Shown(line)).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    /// What forges lines and hides or turns words.
    const HOSTILE: &str = "\n\r\t\u{b}\u{c}\u{1b}\0\u{7f}\u{85}\u{9b}\u{ad}\u{61c}\u{180e}\u{200b}\u{200c}\u{200d}\u{200e}\
        \u{200f}\u{2028}\u{2029}\u{202a}\u{202b}\u{202c}\u{202d}\u{202e}\u{2060}\u{2066}\u{2067}\u{2068}\u{2069}\u{feff}\
        \u{fff9}\u{e0001}\u{e000}\u{10ffff}\u{301}";

    #[test]
    fn what_is_drawn_as_nothing_is_escaped() {
        for (hidden, shown) in [
            ('\u{ad}', "ad"),
            ('\u{115f}', "115f"),
            ('\u{1160}', "1160"),
            ('\u{2800}', "2800"),
            ('\u{3164}', "3164"),
            ('\u{ffa0}', "ffa0"),
            ('\u{2062}', "2062"),
            ('\u{e0041}', "e0041"),
        ] {
            assert!(!is_printable(hidden), "{shown}");
            assert_eq!(whole(&format!("a{hidden}b")), format!("a\\u{{{shown}}}b"));
            assert_eq!(line(&format!("a{hidden}b"), 100), format!("a\\u{{{shown}}}b"));
            let document = serde_json::to_string(&format!("a{hidden}b")).expect("a document");
            let escaped = json(&document);
            assert!(escaped.is_ascii(), "{escaped}");
            assert_eq!(serde_json::from_str::<String>(&escaped).expect("the same"), format!("a{hidden}b"));
        }
        assert!(['한', 'é', '⠁', ' ', 'a'].into_iter().all(is_printable));
    }

    #[test]
    fn whatever_forges_lines_or_hides_words_is_escaped() {
        for character in HOSTILE.chars() {
            assert!(!is_printable(character), "{character:?}");
            let text = format!("a{character}b");
            let shown = line(&text, 80);
            assert_eq!(shown, format!("a{}b", character.escape_debug()), "{character:?}");
            assert_eq!(Shown(&text).to_string(), shown);
            assert_eq!(line(&shown, 80), shown, "escaped once");
            let document = serde_json::to_string(&text).expect("JSON");
            let printed = json(&document);
            assert!(printed.chars().all(is_printable), "{printed}");
            assert_eq!(serde_json::from_str::<String>(&printed).expect("JSON"), text);
        }
    }

    #[test]
    fn ordinary_words_stay_as_they_are() {
        for text in
            ["cannot open `/etc/ssl/web.key`: \"Permission denied\" \\ 'x'", "Zertifikat für ä ö ü ß – „gültig“ ✓", ""]
        {
            assert_eq!(line(text, 200), text);
            assert!(matches!(whole(text), Cow::Borrowed(_)));
            assert!(matches!(json(text), Cow::Borrowed(_)));
        }
    }

    #[test]
    fn what_is_long_is_cut_between_characters() {
        assert_eq!(line("äbc", 3), "äbc");
        assert_eq!(line("äbcd", 3), "äbc…");
        assert_eq!(line("ab\u{202e}", 5), "ab…", "an escape is whole or not there");
        assert_eq!(line(&"\u{10ffff}".repeat(10_000), 4000).chars().count(), 4000 / 10 * 10 + 1);
    }

    #[test]
    fn a_log_has_as_many_lines_as_were_logged() {
        let mut log = Lines(Vec::new());
        log.write_all("one\n2026 WARN forged\u{2028}\u{1b}[2J\n".as_bytes()).expect("room");
        log.write_all(b"two \xff\n").expect("room");
        let text = String::from_utf8(log.0).expect("UTF-8");
        assert_eq!(text, "one\\n2026 WARN forged\\u{2028}\\u{1b}[2J\ntwo \u{fffd}\n");
    }
}

//! Text for people in lines that are no wider than asked for.

/// The text in lines of at most `width` characters, broken between words; lines after the first begin with `indent` spaces,
/// which count. A word that is wider than a line has a line of its own.
pub(super) fn wrap(text: &str, width: usize, indent: usize) -> String {
    let mut out = String::new();
    let mut column = 0;
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let length = word.chars().count();
        if column > 0 && column + 1 + length > width {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', indent));
            column = indent;
        } else if column > 0 {
            out.push(' ');
            column += 1;
        }
        out += word;
        column += length;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::wrap;

    #[test]
    fn lines_are_broken_between_words_and_long_words_stay_whole() {
        assert_eq!(wrap("one two three", 13, 2), "one two three");
        assert_eq!(wrap("one two three", 12, 2), "one two\n  three");
        assert_eq!(wrap("one two  three", 7, 2), "one two\n  three");
        assert_eq!(wrap("a overlong-word b", 6, 1), "a\n overlong-word\n b");
        assert_eq!(wrap("", 6, 1), "");
    }
}

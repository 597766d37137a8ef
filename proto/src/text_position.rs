//! Where in a text something is wrong, as both programs tell it.

/// Line and column, both from 1, of a byte of the text; columns are characters. Inside a character it is that
/// character's place, and past the end the end's.
#[must_use]
pub fn line_and_column(text: &str, byte: usize) -> (usize, usize) {
    let mut byte = byte.min(text.len());
    while !text.is_char_boundary(byte) {
        byte -= 1;
    }
    let before = text.get(..byte).unwrap_or(text);
    let line = before.bytes().filter(|b| *b == b'\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line, column)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_characters_are_counted_from_one() {
        let text = "a\nüb\n";
        let places =
            [(0, (1, 1)), (1, (1, 2)), (2, (2, 1)), (3, (2, 1)), (4, (2, 2)), (5, (2, 3)), (6, (3, 1)), (99, (3, 1))];
        for (byte, place) in places {
            assert_eq!(line_and_column(text, byte), place, "{byte}");
        }
    }
}

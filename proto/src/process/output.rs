//! What a program says on one of its streams, as much of it as is kept.

use std::collections::VecDeque;

/// Which part of a stream is kept, however long it is (bytes).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// All of it. A program that says more is ended.
    AtMost(usize),
    /// Its beginning.
    First(usize),
    /// So much of its beginning, and so much of its end.
    Ends(usize),
}

/// What came of a stream.
#[derive(Debug)]
pub struct Output {
    keep: Keep,
    first: Vec<u8>,
    last: VecDeque<u8>,
    left_out: usize,
}

impl Output {
    /// Nothing yet.
    #[must_use]
    pub fn new(keep: Keep) -> Self {
        Self { keep, first: Vec::new(), last: VecDeque::new(), left_out: 0 }
    }

    /// Takes what came next; false when that is more than may come.
    pub(super) fn push(&mut self, bytes: &[u8]) -> bool {
        let (Keep::AtMost(max) | Keep::First(max) | Keep::Ends(max)) = self.keep;
        let (head, rest) = bytes.split_at(bytes.len().min(max.saturating_sub(self.first.len())));
        self.first.extend_from_slice(head);
        match self.keep {
            Keep::AtMost(_) => rest.is_empty(),
            Keep::First(_) => true,
            Keep::Ends(_) => {
                self.last.extend(rest);
                let excess = self.last.len().saturating_sub(max);
                self.last.drain(..excess);
                self.left_out += excess;
                true
            }
        }
    }

    /// What was kept. Between two ends, a line says how much was left out.
    #[must_use]
    pub fn into_bytes(mut self) -> Vec<u8> {
        let mut bytes = self.first;
        if self.left_out > 0 {
            bytes.extend_from_slice(format!("\n… {} bytes left out …\n", self.left_out).as_bytes());
        }
        bytes.extend_from_slice(self.last.make_contiguous());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_long_stream_the_part_is_kept_that_was_asked_for() {
        for (keep, chunks, may_come, kept) in [
            (Keep::AtMost(4), ["ab", "cd"], true, "abcd"),
            (Keep::AtMost(3), ["ab", "cd"], false, "abc"),
            (Keep::First(3), ["ab", "cd"], true, "abc"),
            (Keep::First(0), ["ab", "cd"], true, ""),
            (Keep::Ends(2), ["ab", "cd"], true, "abcd"),
            (Keep::Ends(2), ["abcd", "ef"], true, "ab\n… 2 bytes left out …\nef"),
            (Keep::Ends(2), ["a", "bcdef"], true, "ab\n… 2 bytes left out …\nef"),
            (Keep::Ends(3), ["abcde", ""], true, "abcde"),
        ] {
            let mut output = Output::new(keep);
            let took = chunks.iter().all(|chunk| output.push(chunk.as_bytes()));
            let text = String::from_utf8(output.into_bytes()).expect("text");
            assert_eq!((took, text.as_str()), (may_come, kept), "{keep:?} of {chunks:?}");
        }
    }
}

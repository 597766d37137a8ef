//! An error and all its causes in one line, as both programs tell it.

use std::error::Error;

/// The error and its causes, outermost first, joined by `: `; a cause that repeats what was just said is left out.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let words = cause.to_string();
        if !text.ends_with(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot read the token")]
    struct Outer(#[source] Middle);

    #[derive(Debug, thiserror::Error)]
    #[error("open /run/token: {0}")]
    struct Middle(#[source] io::Error);

    #[test]
    fn every_cause_is_said_once() {
        let error = Outer(Middle(io::Error::other("denied")));
        assert_eq!(chain(&error), "cannot read the token: open /run/token: denied");
    }
}

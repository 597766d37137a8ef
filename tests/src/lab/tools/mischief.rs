//! Tools that misbehave on demand.
//!
//! Answers: what when a tool hangs, or prints something new? A test writes a file; the tool looks there
//! before it does anything else. Invariant: without such a file nothing changes.

use std::{fmt, fs, io, io::Write as _, path::Path, thread, time::Duration};

/// Where the files are, in the lab: `NAME` for a tool, `NAME.VMID` for a tool asked about one guest.
pub const DIRECTORY: &str = "/run/pinion-lab/mischief";

/// What a tool does instead of its work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mischief {
    /// Nothing, until it is killed.
    Hang,
    /// Bytes that are neither text nor JSON, and success.
    Garbage,
    /// Output without an end.
    Endless,
    /// These words on standard output, and this exit code.
    Say(u8, String),
}

impl fmt::Display for Mischief {
    /// As it is written into the file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hang => f.write_str("hang"),
            Self::Garbage => f.write_str("garbage"),
            Self::Endless => f.write_str("endless"),
            Self::Say(code, text) => write!(f, "say {code}\n{text}"),
        }
    }
}

impl Mischief {
    fn parse(text: &str) -> Option<Self> {
        let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
        match first.split_once(' ').unwrap_or((first, "")) {
            ("hang", _) => Some(Self::Hang),
            ("garbage", _) => Some(Self::Garbage),
            ("endless", _) => Some(Self::Endless),
            ("say", code) => Some(Self::Say(code.parse().ok()?, rest.to_owned())),
            _ => None,
        }
    }
}

/// Does what the file for this call says, if there is one; the exit code.
pub(super) fn done(tool: &str, arguments: &[String]) -> Option<u8> {
    let numbers = arguments.iter().filter(|word| word.bytes().all(|byte| byte.is_ascii_digit()));
    let names = numbers.map(|number| format!("{tool}.{number}")).chain([tool.to_owned()]);
    let text = names.filter_map(|name| fs::read_to_string(Path::new(DIRECTORY).join(name)).ok()).next()?;
    let mut out = io::stdout().lock();
    match Mischief::parse(&text)? {
        Mischief::Hang => loop {
            thread::sleep(Duration::from_secs(3600));
        },
        Mischief::Garbage => out.write_all(b"\xff\xfe{\"exited\": maybe\x00\n").and(Ok(0)).ok(),
        Mischief::Endless => {
            while out.write_all(&[b'x'; 4096]).is_ok() {}
            Some(0)
        }
        Mischief::Say(code, words) => out.write_all(words.as_bytes()).and(Ok(code)).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_is_read() {
        for mischief in
            [Mischief::Hang, Mischief::Garbage, Mischief::Endless, Mischief::Say(3, "two\nlines\n".to_owned())]
        {
            assert_eq!(Mischief::parse(&mischief.to_string()), Some(mischief));
        }
        assert_eq!(Mischief::parse("dance"), None);
    }
}

//! How both programs end: the exit codes that scripts rely on.

use std::process::ExitCode;

/// What a command line ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// What was asked for is so.
    Reached,
    /// Something failed inside; worth a bug report.
    Internal,
    /// Wrong usage, or a bad manifest or config.
    Usage,
    /// The time is up; the daemon goes on trying.
    TimedOut,
    /// It needs a person.
    Blocked,
    /// The daemon cannot be reached.
    Unreachable,
    /// Nothing has that name.
    NoSuchName,
}

impl Exit {
    /// All of them, by their numbers.
    pub const ALL: [Self; 7] = [
        Self::Reached,
        Self::Internal,
        Self::Usage,
        Self::TimedOut,
        Self::Blocked,
        Self::Unreachable,
        Self::NoSuchName,
    ];

    /// What it means, in a few words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Reached => "reached",
            Self::Internal => "internal failure",
            Self::Usage => "usage or bad manifest or config",
            Self::TimedOut => "timed out (still trying)",
            Self::Blocked => "blocked (needs a person)",
            Self::Unreachable => "the daemon can't be reached",
            Self::NoSuchName => "no such name",
        }
    }

    /// What it means for a script, and what to do.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Reached => "What you asked for is done, or is so already.",
            Self::Internal => {
                "Something failed inside Pinion or on this machine, such as a disk. The message says what; if it \
                 names no cause that you can remove, report a bug."
            }
            Self::Usage => {
                "The command line is wrong, or the manifest, a configuration or a recipe has mistakes. The message \
                 names each mistake. Repeating the command does not help."
            }
            Self::TimedOut => {
                "The time is up, and the daemon keeps trying. Nothing is lost: wait again with the same command."
            }
            Self::Blocked => {
                "It needs a person, or you are not allowed to do this. The message says what is in the way, and what \
                 to do. The daemon keeps trying, but rarely."
            }
            Self::Unreachable => "The daemon does not answer on its socket. Start it, or read its log.",
            Self::NoSuchName => "No certificate, placement, guest, issuer or recipe has that name. Check the spelling.",
        }
    }

    /// All of them in one line, for `--help`.
    #[must_use]
    pub fn summary() -> String {
        let words: Vec<_> = Self::ALL.iter().map(|exit| format!("{} {}", exit.code(), exit.words())).collect();
        format!("Exit codes: {}.", words.join(", "))
    }

    /// The process's exit status.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Reached => 0,
            Self::Internal => 1,
            Self::Usage => 2,
            Self::TimedOut => 3,
            Self::Blocked => 4,
            Self::Unreachable => 5,
            Self::NoSuchName => 6,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

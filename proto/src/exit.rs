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

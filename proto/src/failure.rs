//! Why a command failed: a line for people, and an object for programs.
//!
//! Invariant: each part is said once; what the message already says is not its cause again. With `--json`, what a command
//! writes to standard output is one JSON document, also when it fails: the failure alone, or the answer with the failure
//! in its member `error`.

use std::{error::Error, ffi::OsString, fmt, io, os::unix::ffi::OsStrExt as _};

use rustix::process::geteuid;
use serde::{Serialize, Serializer};
use serde_json::{Value, json};
use tracing::Level;

use crate::{
    causes::chain,
    daemon, errln,
    exit::Exit,
    outln,
    printable::{self, Shown},
    stage::Trouble,
};

/// Why a command ends with something else than 0.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Failure {
    /// What was tried, and on what.
    message: String,
    /// Why it failed: the whole chain of causes.
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<String>,
    /// What a person can do.
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
    /// The process's exit code.
    #[serde(rename = "exit_code", serialize_with = "code")]
    #[cfg_attr(feature = "schema", schemars(with = "u8"))]
    exit: Exit,
}

impl Failure {
    /// A failure in words.
    #[must_use]
    pub fn new(exit: Exit, message: impl fmt::Display) -> Self {
        Self { message: message.to_string(), cause: None, remedy: None, exit }
    }

    /// An error, which says what was tried, and its causes.
    #[must_use]
    pub fn of(exit: Exit, error: &dyn Error) -> Self {
        let (message, whole) = (error.to_string(), chain(error));
        let cause = whole.strip_prefix(&message).and_then(|rest| rest.strip_prefix(": ")).map(ToOwned::to_owned);
        Self { message, cause, remedy: None, exit }
    }

    /// What holds a placement, a guest or an issuer up.
    #[must_use]
    pub fn of_trouble(exit: Exit, trouble: &Trouble) -> Self {
        let remedy = Some(trouble.remedy.clone()).filter(|remedy| !remedy.is_empty());
        Self { message: trouble.attempt.clone(), cause: Some(trouble.cause.clone()), remedy, exit }
    }

    /// A command line that makes no sense, from what was written about it: what is wrong comes first, then a tip, then how
    /// it is used.
    #[must_use]
    pub fn of_usage(written: &str) -> Self {
        let one_line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let mut parts = written.split("\n\n").map(one_line).filter(|part| !part.is_empty());
        let message = parts.next().and_then(|first| first.strip_prefix("error: ").map(ToOwned::to_owned));
        let Some(message) = message else {
            // Help was printed instead.
            return Self::new(Exit::Usage, "a command is missing").remedy("--help lists the commands");
        };
        let (mut tips, mut usage) = (Vec::new(), None);
        for part in parts {
            match part.strip_prefix("tip: ") {
                Some(tip) => tips.extend(tip.split(" tip: ").map(ToOwned::to_owned)),
                None if part.starts_with("Usage: ") => usage = Some(part),
                None => {}
            }
        }
        let remedy = if tips.is_empty() { usage } else { Some(tips.join("; ")) };
        Self { message, cause: None, remedy, exit: Exit::Usage }
    }

    /// The same, with its cause.
    #[must_use]
    pub fn cause(mut self, cause: impl fmt::Display) -> Self {
        self.cause = Some(cause.to_string());
        self
    }

    /// The same, with what a person can do.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// The same; if the error is that this user may not do it, root may.
    #[must_use]
    pub fn or_root(self, error: &(dyn Error + 'static)) -> Self {
        let mut next = Some(error);
        while let Some(cause) = next {
            let denied = |error: &io::Error| error.kind() == io::ErrorKind::PermissionDenied;
            if cause.downcast_ref().is_some_and(denied) && !geteuid().is_root() {
                return self.remedy("run this command as root");
            }
            next = cause.source();
        }
        self
    }

    /// What failed and why, and what a person can do.
    #[must_use]
    pub fn parts(&self) -> (String, Option<&str>) {
        (Self { remedy: None, ..self.clone() }.to_string(), self.remedy.as_deref())
    }

    /// How the command ends.
    #[must_use]
    pub fn exit(&self) -> Exit {
        self.exit
    }

    /// Says it: to people on standard error, and to programs on standard output if they asked for JSON. Returns how the
    /// command ends.
    #[must_use]
    pub fn report(&self, program: &str, json: bool) -> Exit {
        if json {
            outln!("{}", printable::json(&json!({ "error": self }).to_string()));
        }
        let prefix = daemon::prefix(Level::ERROR);
        for line in format!("{program}: {self}").lines() {
            errln!("{prefix}{}", Shown(line));
        }
        self.exit
    }

    /// An answer in which this is the member `error`. Only an object can have members.
    #[must_use]
    pub fn within(&self, answer: impl Serialize) -> Value {
        let mut document = serde_json::to_value(answer).unwrap_or_default();
        if let (Some(members), Ok(error)) = (document.as_object_mut(), serde_json::to_value(self)) {
            members.insert("error".into(), error);
        }
        document
    }
}

/// Whether a command line that could not be read asks for JSON.
#[must_use]
pub fn is_json_asked(arguments: impl Iterator<Item = OsString>) -> bool {
    arguments
        .skip(1)
        .take_while(|word| word != "--")
        .any(|word| word.as_bytes().split(|byte| *byte == b'=').next() == Some(b"--json"))
}

fn code<S: Serializer>(exit: &Exit, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u8(exit.code())
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if let Some(cause) = self.cause.as_ref().filter(|cause| !self.message.ends_with(*cause)) {
            write!(f, ": {cause}")?;
        }
        match &self.remedy {
            Some(remedy) => write!(f, "; {remedy}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("read {path}")]
    struct Outer {
        path: &'static str,
        source: io::Error,
    }

    #[derive(Debug, thiserror::Error)]
    #[error("cannot open it: {0}")]
    struct Inline(#[source] io::Error);

    #[test]
    fn every_part_is_said_once_and_has_a_member() {
        let error = Outer { path: "/etc/x", source: io::Error::other("denied") };
        let failure = Failure::of(Exit::Usage, &error).remedy("correct it");
        assert_eq!(failure.to_string(), "read /etc/x: denied; correct it");
        assert_eq!(failure.parts(), ("read /etc/x: denied".to_owned(), Some("correct it")));
        assert_eq!(
            serde_json::to_value(&failure).expect("JSON"),
            json!({ "message": "read /etc/x", "cause": "denied", "remedy": "correct it", "exit_code": 2 })
        );
        let inline = Failure::of(Exit::Internal, &Inline(io::Error::other("denied")));
        assert_eq!(inline.to_string(), "cannot open it: denied");
        assert_eq!(
            serde_json::to_value(&inline).expect("JSON"),
            json!({ "message": "cannot open it: denied", "exit_code": 1 })
        );
        let twice = Failure::new(Exit::Blocked, "sign: refused").cause("refused");
        assert_eq!(twice.to_string(), "sign: refused");
        assert_eq!(failure.within(json!({ "ok": false }))["error"]["exit_code"], 2);
    }

    #[test]
    fn json_is_asked_for_by_its_option_alone() {
        let is_asked = |line: &str| is_json_asked(line.split(' ').map(OsString::from));
        assert!(is_asked("pinion statsu --json") && is_asked("pinion --json") && is_asked("pinion serve --json=yes"));
        assert!(!is_asked("pinion --jsonn") && !is_asked("pinion status -- --json") && !is_asked("--json"));
    }

    #[test]
    fn a_wrong_command_line_has_its_tip_or_its_usage_as_the_remedy() {
        for (written, message, remedy) in [
            (
                "error: unrecognized subcommand 'statsu'\n\n  tip: a similar subcommand exists: 'status'\n\nUsage: \
                 pinion [OPTIONS] <COMMAND>\n\nFor more information, try '--help'.\n",
                "unrecognized subcommand 'statsu'",
                Some("a similar subcommand exists: 'status'"),
            ),
            (
                "error: the following required arguments were not provided:\n  --guest <G>\n\nUsage: pinion token create \
                 --guest <G>\n\nFor more information, try '--help'.\n",
                "the following required arguments were not provided: --guest <G>",
                Some("Usage: pinion token create --guest <G>"),
            ),
            (
                "error: invalid value 'x' for '--until <T>': `x` is not a time\n\nFor more information, try '--help'.\n",
                "invalid value 'x' for '--until <T>': `x` is not a time",
                None,
            ),
            (
                "List guests.\n\nUsage: pinion guest <COMMAND>\n",
                "a command is missing",
                Some("--help lists the commands"),
            ),
        ] {
            let failure = Failure::of_usage(written);
            assert_eq!((failure.message.as_str(), failure.remedy.as_deref()), (message, remedy));
            assert_eq!(failure.exit(), Exit::Usage);
        }
    }
}

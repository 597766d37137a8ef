//! The controller's files of settings: what is wrong with one is told as it is of a manifest.
//!
//! Invariant: nothing of a file with a mistake is used.

use std::{fmt, time::Duration};

pub use pinion_proto::settings::Fields;
use pinion_proto::settings::{self, Mistake};
use serde::{Deserialize, Deserializer, Serialize, de};

use crate::manifest::Problem;

/// More mistakes than this are only counted: nobody reads so many.
const MAX_PROBLEMS: usize = 200;

/// Everything wrong with a file, in its order; at least one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mistakes {
    /// The first of them.
    pub problems: Vec<Problem>,
    /// How many more there are.
    pub omitted: usize,
}

impl Mistakes {
    /// The mistakes as lines that begin with the file's name.
    #[must_use]
    pub fn lines(&self, path: &std::path::Path) -> String {
        let lines: Vec<_> = self.to_string().lines().map(|line| format!("{}:{line}", path.display())).collect();
        lines.join("\n")
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            let end = if index == 0 { "" } else { "\n" };
            // A parser's words may have lines of their own.
            write!(f, "{end}{}", problem.to_string().replace('\n', " "))?;
        }
        if self.omitted > 0 {
            write!(f, "\n… and {} more mistakes", self.omitted)?;
        }
        Ok(())
    }
}

/// A length of time such as `30s`, which is not nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pause(pub Duration);

impl<'de> Deserialize<'de> for Pause {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let shown = pinion_proto::id::shown(&text);
        let parsed = humantime::parse_duration(&text)
            .map_err(|error| de::Error::custom(format!("`{shown}` is not a duration such as \"30s\": {error}")))?;
        if parsed.is_zero() {
            return Err(de::Error::custom("a duration of zero is not allowed: use 1s or more"));
        }
        Ok(Self(parsed))
    }
}

/// Reads a file's text by `read`, which is given the fields at its top.
///
/// # Errors
/// Everything that is wrong: with the text as TOML, and what `read` complained about.
pub fn read<T>(text: &str, read: impl FnOnce(&Fields<'_>) -> T) -> Result<T, Mistakes> {
    settings::read(text, read).map_err(|mut found| {
        let omitted = found.len().saturating_sub(MAX_PROBLEMS);
        found.truncate(MAX_PROBLEMS);
        let problem = |mistake: Mistake| {
            let (line, column) = mistake.place(text);
            Problem { file: None, line, column, path: mistake.path, message: mistake.why }
        };
        Mistakes { problems: found.into_iter().map(problem).collect(), omitted }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistakes(text: &str) -> Vec<String> {
        let read = read(text, |top| {
            top.known(&["listen", "retry", "issuers"]);
            top.optional::<std::net::SocketAddr>("listen");
            if let Some(retry) = top.table("retry") {
                retry.known(&["initial", "max"]);
                retry.required::<String>("initial");
                retry.optional::<bool>("max");
            }
        });
        match read {
            Ok(()) => Vec::new(),
            Err(mistakes) => mistakes.to_string().lines().map(ToOwned::to_owned).collect(),
        }
    }

    #[test]
    fn all_mistakes_are_found_at_once_each_with_its_place() {
        let said = mistakes("lisen = 1\nlisten = \"nowhere\"\n\n[retry]\nmax = 7\n");
        let [unknown, address, missing, kind] = said.as_slice() else { panic!("{said:?}") };
        assert_eq!(unknown, "1:1 lisen: there is no field `lisen` here; did you mean `listen`?");
        assert!(address.starts_with("2:10 listen: ") && address.contains("address"), "{address}");
        assert_eq!(missing, "4:1 retry: the field \"initial\" is missing");
        assert!(kind.starts_with("5:7 retry.max: ") && kind.contains("boolean"), "{kind}");
    }

    #[test]
    fn broken_toml_hides_no_other_mistake_and_makes_none_up() {
        let said = mistakes("listen = \"nowhere\"\n[retry\nmax = = 7\n[isuers]\n");
        assert!(said.iter().any(|line| line.starts_with("1:10 listen: ")), "{said:?}");
        assert!(said.iter().any(|line| line.starts_with("2:")), "{said:?}");
        assert!(said.iter().any(|line| line.contains("did you mean `issuers`?")), "{said:?}");
        assert!(!said.iter().any(|line| line.contains("missing")), "{said:?}");
        let said = mistakes("listen = \"127.0.0.1:1\"\nlisten = \"127.0.0.1:2\"\n");
        assert!(matches!(said.as_slice(), [one] if one.starts_with("2:1 ") && one.contains("duplicate")), "{said:?}");
        assert!(mistakes("listen = \"127.0.0.1:1\"\n").is_empty());
        assert!(mistakes("retry = 3\n")[0].starts_with("1:9 retry: expected a table"), "{:?}", mistakes("retry = 3\n"));
    }
}

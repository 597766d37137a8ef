//! Recipes as they are written: shipped ones inside the binary, the operator's in `/etc/pinion/recipes.d/NAME.toml`.
//!
//! An operator's recipe comes before a shipped one of the same name.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fs::File,
    io::{self, Read},
    net::SocketAddr,
    path::{Path, PathBuf},
};

use pinion_proto::{
    names::SubjectName,
    spec::{
        Account, FileMode, GuestPath, Layout, Part, PlainName, ProxyProtocol, Reload, StartTls, TlsProbe, Unit, Usage,
    },
    text_position::line_and_column,
    trusted::{self, Distrust},
};
use serde::Deserialize;
use thiserror::Error;

use super::{
    one_or_more,
    path::PathTemplate,
    reload::{EscalationLevel, Levels, ReloadAction},
    shipped,
};
use crate::config::Period;

/// A recipe is a page of text (bytes).
const MAX_RECIPE: u64 = 64 * 1024;

/// How one kind of service takes its certificate.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Where each part goes; `{common_name}` in a path stands for the certificate's.
    #[serde(default)]
    pub(super) files: BTreeMap<Part, FileTemplate>,
    /// How they change; copies where nothing is said.
    #[serde(default)]
    pub(super) layout: Option<Layout>,
    /// Program and arguments that check the files in place.
    #[serde(default, deserialize_with = "arguments")]
    pub(super) validate: Option<Vec<String>>,
    /// How the service is notified, or each of several.
    #[serde(default, deserialize_with = "one_or_more::read")]
    pub(super) reload: Vec<Reload>,
    /// What the placement has to say.
    #[serde(default)]
    pub(super) requires: Vec<Required>,
    /// Stronger ways, in their order, for when that does not help.
    #[serde(default)]
    pub(super) escalate: Vec<EscalationLevel>,
    /// Where it shows its certificate: in all of these places.
    #[serde(default, deserialize_with = "one_or_more::read")]
    pub(super) probe: Vec<ProbeTemplate>,
    /// Which side of a connection shows the certificate; a server where there is a probe.
    #[serde(default)]
    pub(super) usage: Option<Usage>,
    /// Program and arguments that make a store of the files, before the service is notified.
    #[serde(default, deserialize_with = "arguments")]
    pub(super) update: Option<Vec<String>>,
    /// Where the store's readers get it, a file of PEM certificates: each root has to be in it.
    #[serde(default)]
    pub(super) store: Option<GuestPath>,
    /// What the service's own configuration needs; read by people alone.
    #[serde(default)]
    pub(super) configure: Option<Configure>,
    /// It allows its placements nothing by itself: the guest's agent.toml has to.
    #[serde(default)]
    pub(super) restricted: bool,
}

/// What a person writes into the service's own configuration, once.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Configure {
    /// Where.
    #[serde(default)]
    pub(super) file: Option<String>,
    /// What, with `{PART}` for the path of each part.
    #[serde(default)]
    pub(super) lines: Option<String>,
    /// What else is to be known.
    #[serde(default)]
    pub(super) note: Option<String>,
    /// Written from the service's documentation and sources, and not run with the service.
    #[serde(default)]
    pub(super) untried: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileTemplate {
    pub(super) path: PathTemplate,
    #[serde(default)]
    pub(super) mode: Option<FileMode>,
    #[serde(default)]
    pub(super) owner: Option<Account>,
    #[serde(default)]
    pub(super) group: Option<Account>,
    #[serde(default)]
    pub(super) password_file: Option<GuestPath>,
    #[serde(default)]
    pub(super) legacy: Option<bool>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProbeTemplate {
    pub(super) connect: SocketAddr,
    /// Which of the recipe's units is behind it.
    #[serde(default)]
    pub(super) unit: Option<Unit>,
    #[serde(default)]
    pub(super) server_name: Option<SubjectName>,
    /// What is spoken before TLS.
    #[serde(default)]
    pub(super) starttls: Option<StartTls>,
    /// What is sent before anything else.
    #[serde(default)]
    pub(super) proxy_protocol: Option<ProxyProtocol>,
    #[serde(default)]
    pub(super) settle: Option<Period>,
}

impl ProbeTemplate {
    /// As a placement would say it.
    pub(super) fn handshake(&self) -> TlsProbe {
        TlsProbe {
            server_name: self.server_name.clone(),
            starttls: self.starttls,
            proxy_protocol: self.proxy_protocol,
            unit: self.unit.clone(),
            ..TlsProbe::at(self.connect)
        }
    }
}

impl Recipe {
    /// The ways to notify each of its services, the mildest first.
    pub(super) fn services(&self) -> Vec<Levels> {
        let levels = |first: ReloadAction| {
            let stronger = self.escalate.iter().filter_map(|level| level.above(&first)).collect();
            Levels::new(first, stronger)
        };
        self.reload.iter().filter_map(ReloadAction::of).map(levels).collect()
    }
}

/// What a recipe leaves to each placement, because it differs everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Required {
    Reload,
}

/// The recipe `name`: the operator's from `directory`, or the shipped one.
///
/// # Errors
/// There is none of that name, or the operator's cannot be read or understood.
pub fn find(name: &PlainName, directory: &Path) -> Result<Recipe, RecipeError> {
    let (text, path) = find_text(name, directory)?;
    parse(&text, path)
}

/// The text of the recipe `name`, and where an operator's is or would be.
///
/// # Errors
/// There is none of that name, or the operator's cannot be read.
pub(super) fn find_text(name: &PlainName, directory: &Path) -> Result<(Cow<'static, str>, PathBuf), RecipeError> {
    let file = format!("{name}.toml");
    let path = directory.join(&file);
    match trusted::open(directory, &file) {
        Ok(Some(opened)) => match text(opened.file) {
            Ok(text) => Ok((text.into(), path)),
            Err(source) => Err(RecipeError::Read { path, source }),
        },
        Ok(None) => match shipped::text(name.as_str()) {
            Some(text) => Ok((text.into(), path)),
            None => Err(RecipeError::Unknown { name: name.clone(), path }),
        },
        Err(Distrust::Look { source, .. }) => Err(RecipeError::Read { path, source }),
        Err(why) => Err(RecipeError::Untrusted { path, why }),
    }
}

/// The text of a recipe's file.
///
/// # Errors
/// It cannot be read, or is far too long for a recipe.
pub fn read(path: &Path) -> io::Result<String> {
    text(File::open(path)?)
}

fn text(file: File) -> io::Result<String> {
    let mut text = String::new();
    let read = file.take(MAX_RECIPE + 1).read_to_string(&mut text)?;
    if read as u64 > MAX_RECIPE {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is too large for a recipe"));
    }
    Ok(text)
}

/// Why there is no recipe.
#[derive(Debug, Error)]
pub enum RecipeError {
    /// Neither shipped nor the operator's.
    #[error("there is no recipe `{name}`: {path} does not exist, and Pinion ships no recipe of that name", path = path.display())]
    Unknown {
        /// Its name.
        name: PlainName,
        /// Where an operator's would be.
        path: PathBuf,
    },
    /// Cannot be read.
    #[error("cannot read the recipe {path}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Somebody else could have written it.
    #[error("the agent does not use the recipe {path}, because {why}", path = path.display())]
    Untrusted {
        /// The file.
        path: PathBuf,
        /// What makes it untrustworthy.
        why: Distrust,
    },
    /// Cannot be understood.
    #[error("{path}:{line}:{column}: {why}", path = path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// In characters, from 1.
        column: usize,
        /// What is wrong there.
        why: String,
    },
}

impl RecipeError {
    /// What a person can do.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::Unknown { path, .. } => {
                format!("use a recipe from `pinion-agent recipe list` in the manifest, or write {}", path.display())
            }
            Self::Read { path, .. } => format!("make {} a text file that the agent's user can read", path.display()),
            Self::Untrusted { why, .. } => why.remedy(),
            Self::Content { path, line, .. } => format!("correct line {line} of {}", path.display()),
        }
    }
}

pub(super) fn parse(text: &str, path: PathBuf) -> Result<Recipe, RecipeError> {
    toml::from_str(text).map_err(|e| {
        let (line, column) = line_and_column(text, e.span().map_or(0, |span| span.start));
        RecipeError::Content { path, line, column, why: e.message().replace('\n', ", ") }
    })
}

fn arguments<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    let arguments = Vec::<String>::deserialize(deserializer)?;
    let program = arguments.first().map(String::as_str).unwrap_or_default();
    if program.is_empty() || arguments.iter().any(|argument| argument.contains('\0')) {
        return Err(serde::de::Error::custom("this is a program and its arguments, for example [\"nginx\", \"-t\"]"));
    }
    Ok(Some(arguments))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_operators_recipe_comes_first_and_its_faults_are_placed() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let nginx: PlainName = "nginx".parse().expect("a name");
        assert!(find(&nginx, directory.path()).expect("the shipped one").validate.is_some());
        let path = directory.path().join("nginx.toml");
        std::fs::write(&path, "[files.key]\npath = \"/etc/ssl/k\"\n").expect("written");
        assert_eq!(find(&nginx, directory.path()).expect("the operator's").files.len(), 1);
        for (text, place) in [
            ("validate = []", ":1:12:"),
            ("[files.key]\npath = 3", ":2:8:"),
            ("[files.kye]\npath = \"/x\"", ":1:"),
            ("escalate = [\"reboot\"]", ":1:12:"),
        ] {
            std::fs::write(&path, text).expect("written");
            let error = find(&nginx, directory.path()).expect_err(text);
            assert!(error.to_string().contains(place), "{error}");
            assert!(error.remedy().contains("nginx.toml"));
        }
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o775)).expect("mode");
        let error = find(&nginx, directory.path()).expect_err("others could have put it there");
        assert!(matches!(error, RecipeError::Untrusted { .. }) && error.remedy().contains("chmod go-w"), "{error}");
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).expect("mode");
        let unknown = find(&"unheard-of".parse().expect("a name"), directory.path()).expect_err("none");
        assert!(matches!(unknown, RecipeError::Unknown { .. }));
    }
}

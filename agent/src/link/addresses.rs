//! Where the controller may be: what the guest joined with, what worked last, and what the controller has said since.
//!
//! Answers: which addresses are dialled, in which order, and what is kept of that?
//! What the controller says is a hint: its addresses are tried, and nothing else. An address counts for more only once
//! the controller with the pinned root has answered and linked there. What was found at an address that came in a message
//! is reported to nobody, or a controller that has been broken into could look around a network through its agents.
//! Invariant: no message removes what the guest joined with or what worked last, or comes before it, so that agents go home
//! as soon as somebody is there again; a document that is lost or damaged
//! costs what it said, and nothing else.

use std::{io, net::SocketAddr, path::PathBuf};

use pinion_proto::{document, message::Controllers};
use serde::{Deserialize, Serialize};
use tracing::{debug, warn};

use crate::{
    config::Config,
    install::{files::Files, replace::replace},
};

/// The document's name, in the agent's own directory.
pub const FILE: &str = "controllers.json";

/// The version of the document that this agent writes and reads.
const VERSION: u32 = 1;

/// What the controller said that is kept; a token names as many.
const MAX_ANNOUNCED: usize = 16;

/// Seventeen addresses are less than 1 KiB (bytes).
const MAX_DOCUMENT: u64 = 16 * 1024;

/// The addresses of the controller.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Addresses {
    kept: Kept,
    /// Where the controller answered last and did not link: it is tried after the others of its kind.
    refused: Option<SocketAddr>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    /// Where the last link was.
    #[serde(default)]
    last: Option<SocketAddr>,
    /// What the controller has said, the guest's own node first.
    #[serde(default)]
    #[serde(rename = "told")]
    announced: Vec<SocketAddr>,
}

#[derive(Serialize)]
struct Document {
    version: u32,
    #[serde(flatten)]
    kept: Kept,
}

/// An address to dial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// Where.
    pub address: SocketAddr,
    /// Whether only a message named it: what is found there is reported to nobody.
    pub announced: bool,
}

impl Addresses {
    /// Reads what is kept; nothing, where that cannot be read.
    #[must_use]
    pub fn load(config: &Config, files: &dyn Files) -> Self {
        let path = path(config);
        let read = files
            .read(&path, MAX_DOCUMENT)
            .and_then(|bytes| document::parse::<Kept>(&bytes, VERSION).map_err(io::Error::other));
        let mut kept = match read {
            Ok(kept) => kept,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Kept::default(),
            Err(error) => {
                warn!(path = %path.display(), %error, "Cannot read the controller's addresses; dialling those with \
                    which this guest joined");
                Kept::default()
            }
        };
        kept.announced.retain(can_be_dialled);
        kept.announced.truncate(MAX_ANNOUNCED);
        Self { kept, refused: None }
    }

    /// What is to be dialled, in this order: what the guest joined with, where the last link was, what the controller has
    /// said. Where the controller answered and refused, comes last among its kind: no refusal leads elsewhere.
    #[must_use]
    pub fn candidates(&self, joined: &[SocketAddr]) -> Vec<Candidate> {
        let kinds = [(joined, false), (self.kept.last.as_slice(), false), (self.kept.announced.as_slice(), true)];
        let mut candidates: Vec<Candidate> = Vec::new();
        for (addresses, announced) in kinds {
            let (refused, others): (Vec<_>, Vec<_>) =
                addresses.iter().copied().partition(|address| Some(*address) == self.refused);
            for address in others.into_iter().chain(refused) {
                if candidates.iter().all(|known| known.address != address) {
                    candidates.push(Candidate { address, announced });
                }
            }
        }
        candidates
    }

    /// The controller linked here.
    pub fn linked(&mut self, address: SocketAddr, config: &Config, files: &dyn Files) {
        self.refused = None;
        if self.kept.last != Some(address) {
            self.kept.last = Some(address);
            self.save(config, files);
        }
    }

    /// The controller answered here, and did not link.
    pub fn refused(&mut self, address: SocketAddr) {
        self.refused = Some(address);
    }

    /// The controller says where it is. A message without an address that can be dialled says nothing.
    pub fn announced(&mut self, controllers: &Controllers, config: &Config, files: &dyn Files) {
        let home = |at_home: bool| {
            controllers
                .nodes
                .iter()
                .filter(move |node| (node.name == controllers.home) == at_home)
                .flat_map(|node| &node.addresses)
        };
        let mut announced: Vec<SocketAddr> = Vec::new();
        for address in home(true).chain(home(false)).filter(|address| can_be_dialled(address)) {
            if announced.len() < MAX_ANNOUNCED && !announced.contains(address) {
                announced.push(*address);
            }
        }
        if announced.is_empty() || announced == self.kept.announced {
            return;
        }
        debug!(?announced, "The controller says where it is");
        self.kept.announced = announced;
        self.save(config, files);
    }

    fn save(&self, config: &Config, files: &dyn Files) {
        let path = path(config);
        let document = Document { version: VERSION, kept: self.kept.clone() };
        let saved = serde_json::to_vec(&document)
            .map_err(io::Error::from)
            .and_then(|bytes| replace(files, &path, &bytes, 0o600));
        if let Err(error) = saved {
            warn!(path = %path.display(), %error, "Cannot store the controller's addresses; they are lost when the \
                agent stops");
        }
    }
}

/// Where it is kept.
#[must_use]
pub fn path(config: &Config) -> PathBuf {
    config.state.join(FILE)
}

/// Forgets what was said: the guest joins, perhaps another controller.
///
/// # Errors
/// The file cannot be removed.
pub fn forget(config: &Config, files: &dyn Files) -> io::Result<()> {
    match files.remove(&path(config)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Whether somebody could listen there.
fn can_be_dialled(address: &SocketAddr) -> bool {
    let ip = address.ip();
    address.port() != 0 && !ip.is_unspecified() && !ip.is_multicast()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use pinion_proto::message::ControllerNode;

    use super::*;
    use crate::install::files::RealFiles;

    fn address(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    fn said(nodes: &[(&str, &[&str])], home: &str) -> Controllers {
        let node = |(name, addresses): &(&str, &[&str])| ControllerNode {
            name: name.parse().expect("a name"),
            addresses: addresses.iter().map(|text| address(text)).collect(),
        };
        Controllers { nodes: nodes.iter().map(node).collect(), home: home.parse().expect("a name") }
    }

    fn dialled(addresses: &Addresses, joined: &[SocketAddr]) -> Vec<String> {
        addresses.candidates(joined).iter().map(|candidate| candidate.address.to_string()).collect()
    }

    #[test]
    fn what_the_guest_joined_with_and_what_worked_last_stay_whatever_is_said() {
        let (_root, config) = Config::for_test();
        let joined = [address("10.0.0.13:7443")];
        let mut addresses = Addresses::load(&config, &RealFiles);
        assert_eq!(dialled(&addresses, &joined), ["10.0.0.13:7443"]);
        addresses.announced(&said(&[("b", &["10.0.0.15:7443"]), ("a", &["10.0.0.14:7443"])], "a"), &config, &RealFiles);
        assert_eq!(dialled(&addresses, &joined), ["10.0.0.13:7443", "10.0.0.14:7443", "10.0.0.15:7443"]);
        addresses.linked(address("10.0.0.14:7443"), &config, &RealFiles);
        let many: Vec<String> = (1..200).map(|n| format!("10.0.1.{n}:7443")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        addresses.announced(&said(&[("a", &many)], "a"), &config, &RealFiles);
        for addresses in [addresses.clone(), Addresses::load(&config, &RealFiles)] {
            let candidates = addresses.candidates(&joined);
            assert_eq!(dialled(&addresses, &joined)[..3], ["10.0.0.13:7443", "10.0.0.14:7443", "10.0.1.1:7443"]);
            assert_eq!(candidates.len(), 2 + MAX_ANNOUNCED);
            assert_eq!(candidates.iter().filter(|candidate| !candidate.announced).count(), 2);
        }
        // Who answers and refuses sends nobody elsewhere.
        let before = dialled(&addresses, &joined);
        for refused in ["10.0.0.13:7443", "10.0.0.14:7443"] {
            addresses.refused(address(refused));
            assert_eq!(dialled(&addresses, &joined), before, "{refused}");
        }
        let joined = [address("10.0.0.13:7443"), address("10.0.0.12:7443")];
        addresses.refused(joined[0]);
        assert_eq!(dialled(&addresses, &joined)[..3], ["10.0.0.12:7443", "10.0.0.13:7443", "10.0.0.14:7443"]);
    }

    #[test]
    fn nonsense_is_not_dialled_and_nothing_said_changes_nothing() {
        let (_root, config) = Config::for_test();
        let mut addresses = Addresses::load(&config, &RealFiles);
        addresses.announced(&said(&[("a", &["10.0.0.14:7443"])], "a"), &config, &RealFiles);
        for nothing in
            [said(&[], "a"), said(&[("a", &["0.0.0.0:7443", "10.0.0.1:0", "224.0.0.1:1", "[::]:7443"])], "a")]
        {
            addresses.announced(&nothing, &config, &RealFiles);
            assert_eq!(dialled(&addresses, &[]), ["10.0.0.14:7443"]);
        }
    }

    #[test]
    fn a_damaged_document_costs_what_it_said() {
        let (_root, config) = Config::for_test();
        let joined = [address("10.0.0.13:7443")];
        for damaged in
            ["", "{", "[]", r#"{"version":2,"last":null}"#, r#"{"version":1,"told":["x"]}"#, &"x".repeat(20_000)]
        {
            fs::write(path(&config), damaged).expect("written");
            assert_eq!(dialled(&Addresses::load(&config, &RealFiles), &joined), ["10.0.0.13:7443"], "{damaged:.20}");
        }
        fs::write(path(&config), r#"{"version":1,"last":"10.0.0.14:7443","later":7}"#).expect("written");
        assert_eq!(dialled(&Addresses::load(&config, &RealFiles), &joined), ["10.0.0.13:7443", "10.0.0.14:7443"]);
        forget(&config, &RealFiles).expect("forgotten");
        forget(&config, &RealFiles).expect("nothing to forget");
    }
}

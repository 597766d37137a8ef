//! What a person wants, and the files that say so.
//!
//! Invariant: what is written is read by the daemon's own readers first, so that setup never writes what they refuse.

use std::path::{Path, PathBuf};

use pinion_proto::{bundle::Fingerprint, spec::PlainName};

use crate::{
    config::{self, Advertised},
    issuer::{CaUrl, IssuerConfig},
};

/// The issuer's name in both files: what the manifest means where it names none.
pub const STEP_CA: &str = "step-ca";

/// Pinion's own CA.
pub const EMBEDDED: &str = "embedded";

/// The provisioner that docs/controller.md has a person make.
pub const PROVISIONER: &str = "pinion";

/// The name of the file with the provisioner's password, below `/etc/pinion`.
pub const PASSWORD_FILE: &str = "step-ca.password";

/// What a person wants.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The addresses of this host as guests see them.
    pub advertise: Vec<Advertised>,
    /// Who signs.
    pub signer: Signer,
}

/// Who signs.
#[derive(Debug, Clone)]
pub enum Signer {
    /// Pinion's own CA.
    Embedded,
    /// A step-ca.
    StepCa {
        /// Where it is.
        url: CaUrl,
        /// The SHA-256 of its root, which a person has compared.
        fingerprint: Fingerprint,
        /// The JWK provisioner that signs for Pinion.
        provisioner: String,
    },
}

impl Signer {
    /// Its name in the manifest.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Embedded => EMBEDDED,
            Self::StepCa { .. } => STEP_CA,
        }
    }
}

impl Wanted {
    /// The text of controller.toml below `root`.
    ///
    /// # Errors
    /// An answer cannot be in that file; in words.
    pub fn settings(&self, root: &Path) -> Result<String, String> {
        let mut text = String::from(
            "# Written by `pinion setup`; /usr/share/doc/pinion/reference/configuration.md describes every setting.\n\n",
        );
        if let Some(listen) = self.listen() {
            text += &format!("listen = {}\n\n", quoted(&listen));
        }
        let addresses: Vec<String> = self.advertise.iter().map(|entry| quoted(&shown(entry))).collect();
        text += "# This host's addresses as guests see them, one for each network that guests are on.\n";
        text += &format!("advertise = [{}]\n", addresses.join(", "));
        if let Some(table) = self.issuer_table(root) {
            text += &format!("\n[issuers.{STEP_CA}]\n{table}");
        }
        config::check_text(&text).map(|()| text)
    }

    /// The issuer's own configuration, as the file will have it, and its name; none for one that needs none.
    ///
    /// # Errors
    /// As [`Self::settings`].
    pub fn issuer(&self, root: &Path) -> Result<Option<(PlainName, IssuerConfig)>, String> {
        let Some(table) = self.issuer_table(root) else { return Ok(None) };
        let name = STEP_CA.parse().map_err(|error| format!("{error}"))?;
        IssuerConfig::from_toml(&table).map(|config| Some((name, config)))
    }

    fn issuer_table(&self, root: &Path) -> Option<String> {
        let Signer::StepCa { url, fingerprint, provisioner } = &self.signer else { return None };
        Some(format!(
            "type = \"step-ca\"\nurl = {}\nfingerprint = \"{fingerprint}\"\nprovisioner = {}\npassword_file = {}\n",
            quoted(url.as_str()),
            quoted(provisioner),
            quoted(&password_file(root).to_string_lossy())
        ))
    }

    /// Where the controller has to listen, if that is not the default: another port, or IPv6 as well.
    fn listen(&self) -> Option<String> {
        let ports: Vec<u16> = self.advertise.iter().map(port).collect();
        let first = *ports.first()?;
        // With several ports something between passes them on, and nobody knows to which one.
        let port = if ports.iter().all(|port| *port == first) { first } else { config::PORT };
        let is_ipv6 = |entry: &Advertised| matches!(entry, Advertised::Address(address) if address.is_ipv6());
        if self.advertise.iter().any(is_ipv6) {
            Some(format!("[::]:{port}"))
        } else {
            (port != config::PORT).then(|| format!("0.0.0.0:{port}"))
        }
    }

    /// The text of a manifest that asks for nothing yet.
    #[must_use]
    pub fn manifest(&self) -> String {
        empty_manifest(Some(self.signer.name()))
    }

    /// The provisioner whose password is needed; none for an issuer that needs none.
    #[must_use]
    pub fn provisioner(&self) -> Option<&str> {
        match &self.signer {
            Signer::Embedded => None,
            Signer::StepCa { provisioner, .. } => Some(provisioner),
        }
    }
}

/// The text of a manifest without certificates, with this issuer as the default.
#[must_use]
pub fn empty_manifest(issuer: Option<&str>) -> String {
    let issuer = issuer.unwrap_or(EMBEDDED);
    format!("{{ \"version\": 1,\n  \"defaults\": {{ \"issuer\": \"{issuer}\" }},\n  \"certificates\": [] }}\n")
}

/// The setting `password_file`: below another root a relative path, which the controller takes as below that root.
#[must_use]
pub fn password_file(root: &Path) -> PathBuf {
    let below = Path::new("etc/pinion").join(PASSWORD_FILE);
    if root == Path::new("/") { Path::new("/").join(below) } else { below }
}

/// An address as a person writes it; without a port it gets the usual one.
///
/// # Errors
/// It is no address or name; in words.
pub fn advertised(text: &str) -> Result<Advertised, String> {
    if let Ok(address) = text.parse::<std::net::IpAddr>() {
        return Ok(Advertised::Address((address, config::PORT).into()));
    }
    match text.parse() {
        Ok(Advertised::Address(address)) if config::check::cannot_be_dialled(&address) => {
            Err(format!("{address} cannot be dialled: write an address of this host, with a port"))
        }
        Ok(entry) => Ok(entry),
        Err(error) => Err(format!("{error}")),
    }
}

/// An entry of `advertise` as it is written.
#[must_use]
pub fn shown(entry: &Advertised) -> String {
    match entry {
        Advertised::Address(address) => address.to_string(),
        Advertised::Name(name, port) => format!("{name}:{port}"),
    }
}

fn port(entry: &Advertised) -> u16 {
    match entry {
        Advertised::Address(address) => address.port(),
        Advertised::Name(_, port) => *port,
    }
}

/// A TOML string. JSON's escapes are among TOML's; what TOML forbids beyond them, its reader refuses.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::Config, manifest::Manifest};

    fn wanted(addresses: &[&str], signer: Signer) -> Wanted {
        Wanted { advertise: addresses.iter().map(|text| advertised(text).expect(text)).collect(), signer }
    }

    fn step_ca(provisioner: &str) -> Signer {
        Signer::StepCa {
            url: "https://10.0.0.10:9000".parse().expect("a URL"),
            fingerprint: Fingerprint::of(b"root"),
            provisioner: provisioner.into(),
        }
    }

    fn loaded(root: &Path, wanted: &Wanted) -> Config {
        let path = config::path(root);
        std::fs::create_dir_all(path.parent().expect("a directory")).expect("made");
        std::fs::write(&path, wanted.settings(root).expect("good")).expect("written");
        Config::load(root).expect("the daemon reads it")
    }

    #[test]
    fn the_daemon_reads_what_is_written() {
        let root = tempfile::tempdir().expect("a directory");
        let odd = "a \"quoted\" \\ name";
        let config = loaded(root.path(), &wanted(&["10.0.0.13", "172.16.100.1:7443"], step_ca(odd)));
        assert_eq!(config.advertise.iter().map(shown).collect::<Vec<_>>(), ["10.0.0.13:7443", "172.16.100.1:7443"]);
        assert_eq!(config.listen.to_string(), "0.0.0.0:7443");
        let Some(IssuerConfig::StepCa(ca)) = config.issuers.values().next() else { panic!("a step-ca") };
        assert_eq!((ca.provisioner.as_str(), ca.url.as_str()), (odd, "https://10.0.0.10:9000"));
        assert_eq!(ca.password_file, Some(PathBuf::from("etc/pinion/step-ca.password")), "below the other root");
        assert_eq!(password_file(Path::new("/")), Path::new("/etc/pinion/step-ca.password"));
        let config = loaded(root.path(), &wanted(&["pinion.example:7443"], Signer::Embedded));
        assert!(config.issuers.is_empty());
    }

    #[test]
    fn the_controller_listens_where_it_is_dialled() {
        for (addresses, listen) in [
            (&["10.0.0.13:8443", "10.0.1.13:8443"][..], "0.0.0.0:8443"),
            (&["10.0.0.13:8443", "10.0.1.13:9443"], "0.0.0.0:7443"),
            (&["10.0.0.13", "[fd00::13]:7443"], "[::]:7443"),
            (&["fd00::13"], "[::]:7443"),
        ] {
            let root = tempfile::tempdir().expect("a directory");
            let config = loaded(root.path(), &wanted(addresses, Signer::Embedded));
            assert_eq!(config.listen.to_string(), listen, "{addresses:?}");
        }
    }

    #[test]
    fn the_empty_manifest_is_a_good_one() {
        for signer in [Signer::Embedded, step_ca("pinion")] {
            let name = signer.name();
            let text = wanted(&["10.0.0.13"], signer).manifest();
            let manifest = Manifest::parse(text.as_bytes()).expect("good");
            assert!(manifest.certificates.is_empty());
            assert_eq!(manifest.defaults.issuer.as_str(), name);
        }
    }

    #[test]
    fn what_guests_cannot_dial_is_refused() {
        for text in ["0.0.0.0:7443", "10.0.0.13:0", "10.0.0", "", "224.0.0.1:7443", "a b:1"] {
            advertised(text).expect_err(text);
        }
    }
}

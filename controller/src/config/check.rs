//! What is wrong with a configuration beyond the file's own text.
//!
//! Answers: are the files there that it names, and is what it says possible on this host?
//! Invariant: nothing is changed, no issuer is asked and no password is read. Only mistakes in the file keep the
//! daemons from starting; what is found here holds up a part, and the daemons say so themselves.

use std::{
    fmt, fs, io,
    net::{IpAddr, SocketAddr, UdpSocket},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use pinion_proto::{causes::chain, users::LocalUsers};
use schemars::JsonSchema;
use serde::Serialize;

use super::{Advertised, Config, ConfigError};
use crate::{
    manifest::{
        DEFAULT_ISSUER, Problem,
        file::{self, Loaded},
        source::FileError,
    },
    notify,
    web::tls,
};

/// All that was found.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ConfigCheck")]
pub struct Report {
    /// The `controller.toml` that was checked.
    pub file: PathBuf,
    /// Whether nothing was found.
    pub ok: bool,
    /// Mistakes in the file: with one of them no daemon starts.
    pub problems: Vec<Problem>,
    /// Why the file could not be read as a whole, if so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unreadable: Option<String>,
    /// What does not fit this host.
    pub findings: Vec<Finding>,
}

/// Something that the file says and that cannot work on this host as it is now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Finding {
    /// The setting's name as it is written, for example `advertise`.
    pub setting: String,
    /// What is wrong and what to do.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.setting, self.message)
    }
}

/// Looks at the configuration below `root`.
#[must_use]
pub fn check(root: &Path) -> Report {
    let file = super::path(root);
    let mut report = Report { file, ok: true, problems: Vec::new(), unreadable: None, findings: Vec::new() };
    match Config::load(root) {
        Ok(config) => report.findings = findings(&config),
        Err(ConfigError::Wrong { mistakes, .. }) => report.problems = mistakes.problems,
        Err(error) => report.unreadable = Some(chain(&error)),
    }
    report.ok = report.problems.is_empty() && report.unreadable.is_none() && report.findings.is_empty();
    report
}

fn findings(config: &Config) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut find = |setting: String, message: String| found.push(Finding { setting, message });
    for (name, issuer) in &config.issuers {
        for (setting, file) in issuer.secret_files() {
            let what =
                if setting == "key_file" { "the provisioner's private key" } else { "the provisioner's password" };
            if let Err(why) = secret_file(config, &config.root.join(file), what) {
                find(format!("issuers.{name}.{setting}"), why);
            }
        }
    }
    for (name, target) in &config.notify.targets {
        for (setting, file) in target.secret_files().filter(|(_, file)| !file.starts_with(CREDENTIALS)) {
            let what = match setting {
                "url_file" => "the target's address",
                "token_file" => "the target's token",
                _ => "the password",
            };
            if let Err(why) = secret_file(config, &config.root.join(file), what) {
                find(format!("notify.targets.{name}.{setting}"), why);
            }
        }
    }
    notify::findings(&config.notify, &config.root).into_iter().for_each(|(setting, why)| find(setting, why));
    if let Err(why) = listens(config.listen.ip()) {
        find("listen".into(), why);
    }
    if config.advertise.is_empty() {
        let why = "guests would not know which address to dial: write this host's addresses as guests see them, for \
            example [\"10.0.0.13:7443\"]";
        find("advertise".into(), why.into());
    }
    let addresses = config.advertise.iter().filter_map(|entry| match entry {
        Advertised::Address(address) => Some(address),
        Advertised::Name(..) => None,
    });
    for address in addresses.filter(|address| cannot_be_dialled(address)) {
        find("advertise".into(), format!("{address} cannot be dialled: write an address of this host, with a port"));
    }
    if let Some(tools) = config.channel.tools.as_deref().filter(|tools| !tools.is_dir()) {
        find("channel.tools".into(), format!("{} is not a directory", tools.display()));
    }
    if let Some(Err(error)) = config.web.pair.as_ref().map(tls::read) {
        let why = format!("the page cannot be reached until the pair is there: {}", chain(&error));
        find("web.certificate".into(), why);
    }
    if let Some(directory) = config.web.textfile.as_deref().and_then(Path::parent).filter(|it| !it.is_dir()) {
        let (shown, user) = (directory.display(), &config.channel.user);
        find(
            "web.textfile".into(),
            format!("{shown} is not a directory: create it, and let the user {user} write there"),
        );
    }
    if let Err(why) = manifest(config) {
        find("issuers".into(), why);
    }
    found
}

/// What systemd passes to a unit (`LoadCredential=`) is there only while that runs, and for that alone.
const CREDENTIALS: &str = "/run/credentials";

fn secret_file(config: &Config, path: &Path, what: &str) -> Result<(), String> {
    let shown = path.display();
    let found = match fs::metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(format!("{shown} does not exist: write {what} into it, mode 0600"));
        }
        Err(error) => return Err(format!("cannot access {shown}: {error}")),
    };
    let user = &config.channel.user;
    if !found.is_file() {
        return Err(format!("{shown} is not a regular file"));
    }
    if found.len() == 0 {
        return Err(format!("{shown} is empty: write {what} into it"));
    }
    let mode = found.permissions().mode() & 0o777;
    if mode & 0o027 != 0 {
        return Err(format!(
            "{shown} has mode {mode:04o}, so others could read or replace {what}: run `chown {user}: {shown}` \
             and `chmod 0600 {shown}`"
        ));
    }
    // Whoever is not root is asked by the kernel itself.
    let readable = if rustix::process::geteuid().is_root() {
        may_read(&config.root, user, &found)
    } else {
        fs::File::open(path).is_ok()
    };
    if readable { Ok(()) } else { Err(format!("the user {user} cannot read {shown}: run `chown {user}: {shown}`")) }
}

/// Whether the user that `pinion serve` runs as may read a file, by its owner, group and mode; yes where there is no
/// such user.
fn may_read(root: &Path, name: &str, file: &fs::Metadata) -> bool {
    let Ok(users) = LocalUsers::read(root) else { return true };
    let Some(user) = name.parse().ok().or_else(|| users.number(name)) else { return true };
    let mode = file.permissions().mode();
    if user == 0 {
        true
    } else if file.uid() == user {
        mode & 0o400 != 0
    } else {
        // Other than the owner and a group nobody is let read it, which was looked at before.
        mode & 0o040 != 0
            && users.group_name(file.gid()).is_none_or(|group| users.is_member(user, &[], group) == Some(true))
    }
}

/// Whether this host has the address; what a bound socket of no port would say.
fn listens(address: IpAddr) -> Result<(), String> {
    match UdpSocket::bind(SocketAddr::new(address, 0)) {
        Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {
            Err(format!("this host has no address {address}: use one of its own, or 0.0.0.0 for all"))
        }
        _ => Ok(()),
    }
}

/// Whether nobody could reach this host at an address.
pub(crate) fn cannot_be_dialled(address: &SocketAddr) -> bool {
    address.port() == 0 || address.ip().is_unspecified() || address.ip().is_multicast()
}

/// Whether every issuer that the manifest names is configured. A manifest that is not there yet names none.
fn manifest(config: &Config) -> Result<(), String> {
    let manifest = match file::load(&config.manifest) {
        Ok(Loaded { manifest, .. }) => manifest,
        Err(error) if error.is_absent() => return Ok(()),
        // `pinion manifest check` tells them.
        Err(FileError::Bad(errors)) => {
            let file = errors.problems.iter().find_map(|problem| problem.file.as_ref()).unwrap_or(&config.manifest);
            return Err(format!("{} has mistakes: `pinion manifest check` lists them", file.display()));
        }
        Err(error) => return Err(chain(&error)),
    };
    let configured =
        |issuer: &str| issuer == DEFAULT_ISSUER || config.issuers.keys().any(|name| name.as_str() == issuer);
    let missing: Vec<_> = manifest
        .certificates
        .iter()
        .filter_map(|certificate| Some((certificate, certificate.issuer.as_ref()?)))
        .filter(|(_, issuer)| !configured(issuer.as_str()))
        .map(|(certificate, issuer)| format!("`{issuer}` (of certificate {})", certificate.name))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(format!(
        "the manifest names issuers that are not configured: {}; add a table [issuers.NAME], or correct the manifest",
        missing.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(toml: &str) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a directory");
        fs::create_dir_all(root.path().join("etc/pinion")).expect("made");
        fs::write(super::super::path(root.path()), toml).expect("written");
        root
    }

    const STEP_CA: &str = "listen = '127.0.0.1:7443'\n[issuers.ca]\ntype = 'step-ca'\nurl = 'https://10.0.0.3:9000'\n\
        fingerprint = '0000000000000000000000000000000000000000000000000000000000000000'\nprovisioner = 'p'\n\
        password_file = '/etc/pinion/password'\n";

    fn told(root: &Path) -> String {
        let report = check(root);
        assert!(report.problems.is_empty() && report.unreadable.is_none(), "{report:?}");
        report.findings.iter().map(|finding| format!("{finding}\n")).collect()
    }

    #[test]
    fn the_password_file_is_looked_at_and_not_read() {
        // Below `root` an absolute path is taken as it is, so the file is named from there.
        let root = root("");
        let path = root.path().join("password");
        let toml = STEP_CA.replace("/etc/pinion/password", path.to_str().expect("text"));
        fs::write(super::super::path(root.path()), toml).expect("written");
        assert!(told(root.path()).contains("issuers.ca.password_file") && told(root.path()).contains("does not exist"));
        fs::write(&path, "").expect("written");
        assert!(told(root.path()).contains("is empty"));
        fs::write(&path, "secret").expect("written");
        for (mode, good) in [(0o600, true), (0o640, true), (0o644, false), (0o660, false), (0o400, true)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("set");
            assert_eq!(told(root.path()).is_empty(), good, "{mode:o}: {}", told(root.path()));
        }
        assert!(!told(root.path()).contains("secret"));
        fs::remove_file(&path).expect("removed");
        fs::create_dir(&path).expect("made");
        assert!(told(root.path()).contains("not a regular file"));
    }

    #[test]
    fn a_textfile_needs_a_directory_and_a_name_that_is_read() {
        let toml = |path: &str| format!("listen = '127.0.0.1:7443'\n[web]\ntextfile = '{path}'\n");
        let root = root(&toml("/var/lib/x/pinion.prom"));
        assert!(
            told(root.path()).contains("web.textfile: ") && told(root.path()).contains("var/lib/x is not a directory")
        );
        fs::create_dir_all(root.path().join("var/lib/x")).expect("made");
        assert_eq!(told(root.path()), "");
        for wrong in ["/var/lib/x/pinion", "/var/lib/x/pinion.txt", "pinion.prom"] {
            fs::write(super::super::path(root.path()), toml(wrong)).expect("written");
            let report = check(root.path());
            assert!(
                report.problems.iter().any(|problem| problem.to_string().contains(".prom`")),
                "{wrong}: {report:?}"
            );
        }
    }

    #[test]
    fn addresses_and_issuers_that_cannot_be_are_told() {
        let root = root("listen = '192.0.2.7:7443'\nadvertise = ['0.0.0.0:7443']\n");
        let manifest = r#"{"version": 1, "certificates": [
            {"name": "web", "common_name": "web.example", "issuer": "acme", "placements": []}]}"#;
        fs::write(root.path().join("etc/pinion/certificate-manifest.json"), manifest).expect("written");
        let all = told(root.path());
        for words in
            ["listen: this host has no address 192.0.2.7", "advertise: 0.0.0.0:7443", "`acme` (of certificate web)"]
        {
            assert!(all.contains(words), "{words} in {all}");
        }
        let nothing = tempfile::tempdir().expect("a directory");
        let all = told(nothing.path());
        assert!(all.starts_with("advertise: guests would not know which address to dial"), "without any file: {all}");
    }
}

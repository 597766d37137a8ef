//! The packages, as apt installs and removes them on a host that boots.

use std::fs;

use pinion_tests::{lab::booted::Booted, program};

/// The version that the tests are of; [`program::next_version`] is the one to upgrade to. `cargo xtask test` makes both.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Puts a package of this version into root's home directory; its path.
pub(crate) fn bring(host: &Booted, name: &str, version: &str) -> String {
    let file = format!("{name}_{version}_amd64.deb");
    let package = fs::read(program::packages(version).expect("built").join(&file)).expect("a package");
    let path = format!("/root/{file}");
    host.write(&path, 0o644, &package).expect("copied");
    path
}

/// Does it with both packages, and returns what was said.
pub(crate) fn apt(host: &Booted, what: &str, version: &str) -> String {
    apt_with(host, &["pinion", "pinion-agent"], what, version)
}

/// Does it with these packages, and returns what was said.
pub(crate) fn apt_with(host: &Booted, names: &[&str], what: &str, version: &str) -> String {
    let is_file = what == "install";
    let word = |name: &&str| if is_file { bring(host, name, version) } else { (*name).to_owned() };
    let words: Vec<String> = names.iter().map(word).collect();
    let command = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", "-y", "--allow-downgrades", what];
    let command: Vec<&str> = command.into_iter().chain(words.iter().map(String::as_str)).collect();
    let done = host.well(&command).unwrap_or_else(|error| panic!("{what} {version}: {error:#}\n{}", host.journal()));
    done.stdout + &done.stderr
}

//! Which command lines there are, what each means, and which are refused.

use std::{path::Path, time::Duration};

use clap::{Parser, error::ErrorKind};
use pinion_proto::{exit::Exit, stage::Stage};

use crate::cli::{Args, Name, Verb, config, recipe};

fn parse(line: &str) -> Result<Args, clap::Error> {
    Args::try_parse_from(["pinion-agent"].into_iter().chain(line.split_whitespace()))
}

fn parsed(line: &str) -> Args {
    parse(line).unwrap_or_else(|error| panic!("{line}: {error}"))
}

#[test]
fn await_waits_for_installed_and_five_minutes_unless_told_otherwise() {
    for (line, names, until, timeout) in [
        ("await docker", &["docker"][..], Stage::Installed, 300),
        ("await docker@1001 web --until served --timeout 90s", &["docker@1001", "web"], Stage::Served, 90),
        ("await --until=issued --timeout=1h30m docker", &["docker"], Stage::Issued, 5400),
        ("await docker --until reloaded", &["docker"], Stage::Reloaded, 300),
        ("await docker --timeout 0s", &["docker"], Stage::Installed, 0),
    ] {
        let Verb::Await { names: read, until: stage, timeout: time } = parsed(line).verb else { panic!("{line}") };
        assert_eq!(read, names, "{line}");
        assert_eq!((stage, time), (until, Duration::from_secs(timeout)), "{line}");
    }
}

#[test]
fn root_and_json_are_understood_before_and_after_the_command() {
    for (line, root, json) in [
        ("status", "/", false),
        ("--root /srv/a --json status", "/srv/a", true),
        ("status --json --root=/srv/a", "/srv/a", true),
        ("config check --json", "/", true),
        ("recipe list --root /srv/a", "/srv/a", false),
    ] {
        let args = parsed(line);
        assert_eq!((args.root.as_path(), args.json), (Path::new(root), json), "{line}");
    }
}

#[test]
fn every_command_has_its_line() {
    assert!(matches!(parsed("run").verb, Verb::Run));
    assert!(matches!(parsed("status").verb, Verb::Status));
    assert!(matches!(parsed("seal").verb, Verb::Seal));
    assert!(matches!(parsed("join").verb, Verb::Join { token_file: None }));
    let Verb::Join { token_file: Some(file) } = parsed("join --token-file /run/token").verb else { panic!("a file") };
    assert_eq!(file, Path::new("/run/token"));
    assert!(matches!(parsed("config check").verb, Verb::Config(config::Verb::Check)));
    assert!(matches!(parsed("recipe list").verb, Verb::Recipe(recipe::Verb::List)));
    let Verb::Recipe(recipe::Verb::Check { file }) = parsed("recipe check squid.toml").verb else { panic!("a file") };
    assert_eq!(file, Path::new("squid.toml"));
}

#[test]
fn what_makes_no_sense_is_wrong_usage() {
    for (line, kind) in [
        ("", ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand),
        ("frobnicate", ErrorKind::InvalidSubcommand),
        ("await", ErrorKind::MissingRequiredArgument),
        ("await docker --until done", ErrorKind::InvalidValue),
        ("await docker --timeout 5", ErrorKind::ValueValidation),
        ("await docker --timeout soon", ErrorKind::ValueValidation),
        ("await docker --forever", ErrorKind::UnknownArgument),
        // A token on the command line would be in every list of processes.
        ("join pinion-join-1.abc", ErrorKind::UnknownArgument),
        ("join --token-file", ErrorKind::InvalidValue),
        ("seal now", ErrorKind::UnknownArgument),
        ("status docker", ErrorKind::UnknownArgument),
        ("recipe", ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand),
        ("recipe check", ErrorKind::MissingRequiredArgument),
        ("config", ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand),
        ("--root", ErrorKind::InvalidValue),
    ] {
        let error = parse(line).map(|args| format!("{:?}", args.verb)).expect_err(line);
        assert_eq!(error.kind(), kind, "{line}");
        assert_eq!(error.exit_code(), i32::from(Exit::Usage.code()), "{line}");
    }
}

#[test]
fn help_and_version_are_no_failure() {
    for line in ["--help", "-h", "--version", "help", "await --help", "recipe check -h"] {
        assert_eq!(parse(line).expect_err(line).exit_code(), 0, "{line}");
    }
}

#[test]
fn a_name_is_a_certificate_or_a_placement_of_a_guest() {
    for (text, certificate, guest) in [
        ("docker", "docker", None),
        ("docker@1001", "docker", Some("1001")),
        ("docker@host", "docker", Some("host")),
        ("docker@web", "docker", Some("web")),
    ] {
        let name: Name = text.parse().expect(text);
        assert_eq!(name.certificate.as_str(), certificate);
        assert_eq!(name.guest.map(|guest| guest.to_string()).as_deref(), guest, "{text}");
    }
    for text in ["", "@", "docker@", "@1001", "docker@we b", "docker@1001@1", "../docker", "a b"] {
        text.parse::<Name>().map(|name| format!("{name:?}")).expect_err(text);
    }
}

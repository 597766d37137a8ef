//! Which command lines there are, what each means, and which are refused.

use std::{path::Path, time::Duration};

use clap::{Parser, error::ErrorKind};
use pinion_proto::{exit::Exit, stage::Stage};

use crate::cli::{
    Args, ConfigVerb, EnsureArgs, GuestVerb, IssuerVerb, ManifestVerb, StatusArgs, TokenVerb, Verb, args::IdentityVerb,
    backup::RestoreArgs, events::EventsArgs,
};

fn parse(line: &str) -> Result<Args, clap::Error> {
    Args::try_parse_from(["pinion"].into_iter().chain(line.split_whitespace()))
}

fn parsed(line: &str) -> Verb {
    parse(line).unwrap_or_else(|error| panic!("{line}: {error}")).verb
}

#[test]
fn ensure_means_served_within_ten_minutes_and_renews_only_when_told_to() {
    for (line, expected) in [
        ("ensure", (&[][..], None, false, false, Stage::Served, 600)),
        ("ensure docker web@101", (&["docker", "web@101"], None, false, false, Stage::Served, 600)),
        ("ensure --guest 101 --until installed", (&[], Some("101"), false, false, Stage::Installed, 600)),
        ("ensure docker --renew", (&["docker"], None, true, false, Stage::Served, 600)),
        ("ensure docker --force", (&["docker"], None, true, false, Stage::Served, 600)),
        ("ensure --renew --now docker --timeout 90s", (&["docker"], None, true, true, Stage::Served, 90)),
        ("ensure --force --now --guest host --until reloaded", (&[], Some("host"), true, true, Stage::Reloaded, 600)),
    ] {
        let Verb::Ensure(ensure) = parsed(line) else { panic!("{line}") };
        let EnsureArgs { names, guests, renew, now, until, timeout, wait } = ensure;
        assert!(!wait, "{line}");
        let (wanted_names, wanted_guest, wanted_renew, wanted_now, stage, seconds) = expected;
        assert_eq!(names, wanted_names, "{line}");
        assert_eq!(
            (guests.first().map(String::as_str), renew, now),
            (wanted_guest, wanted_renew, wanted_now),
            "{line}"
        );
        assert_eq!((until, timeout), (stage, Duration::from_secs(seconds)), "{line}");
    }
}

#[test]
fn what_is_selected_is_names_and_a_guest() {
    for (line, wanted, wanted_guest) in [
        ("status", &[][..], None),
        ("status docker docker@1001", &["docker", "docker@1001"], None),
        ("status --guest gateway", &[], Some("gateway")),
        ("freeze docker --guest host", &["docker"], Some("host")),
    ] {
        let (names, guests) = match parsed(line) {
            Verb::Status(StatusArgs { names, guests, check: false, watch: false, wide: false }) => (names, guests),
            Verb::Freeze { names, guest, .. } => (names, guest.into_iter().collect()),
            other => panic!("{line}: {other:?}"),
        };
        assert_eq!(names, wanted, "{line}");
        assert_eq!(guests.first().map(String::as_str), wanted_guest, "{line}");
    }
}

#[test]
fn several_guests_are_meant_together_and_blocked_is_waited_for_when_that_is_said() {
    let Verb::Ensure(ensure) = parsed("ensure --guest 101 --wait --guest web") else { panic!("ensure") };
    assert!(ensure.wait && ensure.guests == ["101", "web"], "{ensure:?}");
    assert!(
        matches!(parsed("status --guest 101 --guest host"), Verb::Status(StatusArgs { guests, .. }) if guests == ["101", "host"])
    );
    let error = parse("freeze --guest 101 --guest 102").expect_err("a freeze has one");
    assert_eq!(error.kind(), ErrorKind::ArgumentConflict);
}

#[test]
fn a_check_is_a_status() {
    for (line, wanted) in [("status", false), ("status --check", true), ("status docker --check --json", true)] {
        assert!(matches!(parsed(line), Verb::Status(StatusArgs { check, .. }) if check == wanted), "{line}");
    }
}

#[test]
fn a_wide_status_is_no_check() {
    assert!(matches!(parsed("status --wide docker"), Verb::Status(StatusArgs { wide: true, check: false, .. })));
    assert_eq!(parse("status --wide --check").expect_err("one line is not wide").kind(), ErrorKind::ArgumentConflict);
}

#[test]
fn a_freeze_lasts_until_a_moment_or_until_it_is_lifted() {
    let read = |line| match parsed(line) {
        Verb::Freeze { until, lift, .. } => (until.is_some(), lift),
        other => panic!("{line}: {other:?}"),
    };
    assert_eq!(read("freeze"), (false, false));
    assert_eq!(read("freeze --until 8h"), (true, false));
    assert_eq!(read("freeze --until 9999-12-24T18:00Z"), (true, false));
    assert_eq!(read("freeze --lift docker"), (false, true));
}

#[test]
fn guests_are_listed_enrolled_woken_unlocked_forgotten_and_evicted() {
    let read = |line| match parsed(line) {
        Verb::Guest(verb) => verb,
        other => panic!("{line}: {other:?}"),
    };
    assert!(matches!(read("guest list"), GuestVerb::List));
    let GuestVerb::Enroll { guest, timeout } = read("guest enroll 101") else { panic!("enroll") };
    assert_eq!((guest.as_str(), timeout), ("101", Duration::from_secs(300)));
    let GuestVerb::Enroll { timeout, .. } = read("guest enroll web --timeout 1m") else { panic!("enroll") };
    assert_eq!(timeout, Duration::from_secs(60));
    assert!(matches!(read("guest wake 101"), GuestVerb::Wake { guest } if guest == "101"));
    assert!(matches!(read("guest unlock web"), GuestVerb::Unlock { guest } if guest == "web"));
    for (line, forgets, is_compromised) in [
        ("guest forget 101", true, false),
        ("guest forget 101 --compromised", true, true),
        ("guest evict 101", false, false),
        ("guest evict --compromised 101", false, true),
    ] {
        let (found, compromised) = match read(line) {
            GuestVerb::Forget { compromised, .. } => (true, compromised),
            GuestVerb::Evict { compromised, .. } => (false, compromised),
            other => panic!("{line}: {other:?}"),
        };
        assert_eq!((found, compromised), (forgets, is_compromised), "{line}");
    }
}

#[test]
fn an_issuers_root_and_the_events_of_a_name_have_theirs() {
    assert!(matches!(parsed("issuer root"), Verb::Issuer(IssuerVerb::Root { name: None })));
    assert!(matches!(parsed("issuer root ca"), Verb::Issuer(IssuerVerb::Root { name: Some(name) }) if name == "ca"));
    assert!(matches!(
        parsed("events docker --since 8h"),
        Verb::Events(EventsArgs { name: Some(name), since: Some(_), .. }) if name == "docker"
    ));
}

#[test]
fn every_other_command_has_its_line() {
    assert!(matches!(parsed("serve"), Verb::Serve));
    assert!(matches!(parsed("channel"), Verb::Channel));
    assert!(
        matches!(parsed("purge docker"), Verb::Purge { names, restore: false, force: false } if names == ["docker"])
    );
    assert!(matches!(parsed("purge --restore --force docker"), Verb::Purge { restore: true, force: true, .. }));
    assert!(matches!(parsed("token create --guest 101"), Verb::Token(TokenVerb::Create { guest }) if guest == "101"));
    assert!(matches!(parsed("issuer check"), Verb::Issuer(IssuerVerb::Check)));
    assert!(matches!(parsed("manifest schema"), Verb::Manifest(ManifestVerb::Schema)));
    assert!(matches!(parsed("manifest check"), Verb::Manifest(ManifestVerb::Check { file: None })));
    assert!(matches!(
        parsed("manifest check a.json"),
        Verb::Manifest(ManifestVerb::Check { file: Some(file) }) if file == Path::new("a.json")
    ));
    assert!(matches!(parsed("config check"), Verb::Config(ConfigVerb::Check { start: false })));
    assert!(matches!(parsed("config check --start"), Verb::Config(ConfigVerb::Check { start: true })));
}

#[test]
fn backups_and_restorations_have_their_options() {
    assert!(matches!(parsed("backup a.tar"), Verb::Backup { file, keep: None } if file == Path::new("a.tar")));
    assert!(matches!(parsed("backup --keep 30 backups"), Verb::Backup { keep: Some(30), .. }));
    assert!(matches!(parsed("restore a.tar"), Verb::Restore(RestoreArgs { yes: false, .. })));
    let all = parsed("restore a.tar --yes --keep-settings --evict 104 --evict host");
    assert!(
        matches!(all, Verb::Restore(RestoreArgs { yes: true, keep_settings: true, evict, .. }) if evict.len() == 2)
    );
}

#[test]
fn every_other_command_has_its_options() {
    assert!(matches!(parsed("plan"), Verb::Plan { file: None }));
    assert!(matches!(parsed("plan a.json"), Verb::Plan { file: Some(file) } if file == Path::new("a.json")));
    assert!(matches!(parsed("show docker"), Verb::Show { from: 0, count: 20, .. }));
    assert!(matches!(parsed("show docker --from 20 --count 5"), Verb::Show { from: 20, count: 5, .. }));
    assert!(matches!(
        parsed("events"),
        Verb::Events(EventsArgs { follow: false, last: None, name: None, since: None })
    ));
    assert!(matches!(parsed("events -f --last 5"), Verb::Events(EventsArgs { follow: true, last: Some(5), .. })));
    assert!(matches!(
        parsed("identity new-root"),
        Verb::Identity(IdentityVerb::NewRoot { embedded: false, at_once: false, to_root_process: false, yes: false })
    ));
    assert!(matches!(
        parsed("identity new-root --embedded --at-once --yes"),
        Verb::Identity(IdentityVerb::NewRoot { embedded: true, at_once: true, to_root_process: false, yes: true })
    ));
    assert!(matches!(
        parsed("identity new-root --to-root-process --yes"),
        Verb::Identity(IdentityVerb::NewRoot { embedded: false, at_once: false, to_root_process: true, yes: true })
    ));
    for other in ["--embedded", "--at-once"] {
        let error = parse(&format!("identity new-root --to-root-process {other}")).expect_err(other);
        assert_eq!(error.kind(), ErrorKind::ArgumentConflict, "{other}");
    }
}

#[test]
fn root_and_json_are_understood_before_and_after_the_command() {
    for (line, root, json) in [
        ("status", "/", false),
        ("--root /srv/a --json status", "/srv/a", true),
        ("guest list --json --root=/srv/a", "/srv/a", true),
    ] {
        let args = parse(line).expect(line);
        assert_eq!((args.root.as_path(), args.json), (Path::new(root), json), "{line}");
    }
}

#[test]
fn what_makes_no_sense_is_wrong_usage() {
    for (line, kind) in [
        ("", ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand),
        ("frobnicate", ErrorKind::InvalidSubcommand),
        // Without a renewal there is nothing that could wait for a window.
        ("ensure --now", ErrorKind::MissingRequiredArgument),
        ("ensure --until done", ErrorKind::InvalidValue),
        ("ensure --timeout 5", ErrorKind::ValueValidation),
        ("ensure --guest", ErrorKind::InvalidValue),
        ("purge", ErrorKind::MissingRequiredArgument),
        ("show", ErrorKind::MissingRequiredArgument),
        ("show docker --count many", ErrorKind::ValueValidation),
        ("show docker --from -1", ErrorKind::UnknownArgument),
        ("freeze --until soon", ErrorKind::ValueValidation),
        ("freeze --until 2020-01-01T00:00Z", ErrorKind::ValueValidation),
        ("freeze --until 8h --lift", ErrorKind::ArgumentConflict),
        ("guest", ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand),
        ("guest forget", ErrorKind::MissingRequiredArgument),
        ("guest evict 101 102", ErrorKind::UnknownArgument),
        ("token create", ErrorKind::MissingRequiredArgument),
        ("token create 101", ErrorKind::UnknownArgument),
        ("backup", ErrorKind::MissingRequiredArgument),
        ("restore", ErrorKind::MissingRequiredArgument),
        ("events --last", ErrorKind::InvalidValue),
        ("serve --json=yes", ErrorKind::TooManyValues),
    ] {
        let error = parse(line).map(|args| format!("{:?}", args.verb)).expect_err(line);
        assert_eq!(error.kind(), kind, "{line}");
        assert_eq!(error.exit_code(), i32::from(Exit::Usage.code()), "{line}");
    }
}

#[test]
fn help_and_version_are_no_failure() {
    for line in ["--help", "-h", "--version", "help", "ensure --help", "guest evict -h"] {
        assert_eq!(parse(line).expect_err(line).exit_code(), 0, "{line}");
    }
}

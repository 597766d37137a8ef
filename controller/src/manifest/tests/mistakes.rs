//! Mistakes, each with its place and words.

use super::{EXAMPLE, parse};
use crate::manifest::{Manifest, ManifestErrors};

fn errors(text: &str) -> ManifestErrors {
    match parse(text) {
        Ok(_) => panic!("accepted: {text}"),
        Err(errors) => errors,
    }
}

/// The one problem of a text, as a line.
fn only(text: &str) -> String {
    let errors = errors(text);
    assert_eq!(errors.problems.len(), 1, "{errors}");
    errors.to_string()
}

/// A manifest with one certificate of one placement, `field` replaced.
fn with(certificate: &str, placement: &str) -> String {
    format!(
        r#"{{"version": 1, "certificates": [{{"name": "a", "common_name": "a.example"{certificate}, "placements": [{{{placement}}}]}}]}}"#
    )
}

#[track_caller]
fn says(text: &str, path: &str, words: &str) {
    let errors = errors(text);
    let found = errors.problems.iter().any(|problem| problem.path == path && problem.message.contains(words));
    assert!(found, "expected `{path}: …{words}…` in\n{errors}");
    assert_eq!(errors.problems.len(), 1, "{errors}");
}

#[test]
fn all_mistakes_are_named_at_once_each_at_its_place() {
    let text = r#"{
  "version": 1,
  "certificates": [
    { "name": "web", "common_name": "web.example", "placemnts": [],
      "placements": [ { "guest": 101, "recipe": "nginx" } ] },
    { "name": "web", "common_name": "w..example", "duration": "1 minute",
      "placements": [ { "guest": 101, "files": { "key": { "path": "relative", "mode": 640 } } },
                      { "guest": 101, "recipe": "ngi/nx" } ] }
  ]
}"#;
    let expected = [
        "4:52 certificates[0].placemnts: there is no field `placemnts` here; did you mean `placements`?",
        "6:15 certificates[1].name: `web` is already the name of the certificate on line 4: rename one",
        "6:37 certificates[1].common_name: `w..example` is not a DNS name: it has an empty label",
        "6:63 certificates[1].duration: 1m is too short: at least 5m",
        "7:67 certificates[1].placements[0].files.key.path: `relative` is not an absolute path without `.`, `..`, \
         `//`, a trailing `/` or control characters",
        "7:87 certificates[1].placements[0].files.key.mode: expected octal permission bits in quotes such as \
         \"0640\", found a number",
        "8:34 certificates[1].placements[1].guest: 101 has this certificate already, on line 7: a guest can have each \
         certificate once; make another certificate entry with its own name for the second",
        "8:49 certificates[1].placements[1].recipe: `ngi/nx` is not a name: use up to 63 letters, digits, `.`, `_`, \
         `-`, starting with a letter or digit",
    ];
    assert_eq!(errors(text).to_string().lines().collect::<Vec<_>>(), expected);
}

#[test]
fn for_programs_the_same_as_json() {
    let json = serde_json::to_value(errors(r#"{"version": 1}"#)).expect("errors are JSON");
    assert_eq!(
        json,
        serde_json::json!({"problems": [
            {"line": 1, "column": 1, "path": "", "message": "the field \"certificates\" is missing"}]})
    );
}

#[test]
fn whole_files_that_are_no_manifest() {
    for (bytes, words) in [
        (&b""[..], "1:1 the manifest is empty"),
        (b" \n\t", "1:1 the manifest is empty"),
        (b"\xef\xbb\xbf{}", "byte order mark"),
        (b"\xff\xfe{\0}\0", "UTF-16"),
        (b"{\n \"version\": \"\xff\"}", "2:14 a byte here is not UTF-8"),
        (b"{\"version\": 1, \"certificates\": [", "1:33 the manifest ends too early"),
        (b"{\"version\": 1, \"certificates\": [],}", "remove the comma"),
        (b"{\"version\": 1, // no\n}", "not JSON"),
        (b"{\"version\": 1} {}", "not JSON: trailing characters"),
        (b"{'version': 1}", "the name of a field in double quotes"),
        (b"{\"version\": 01}", "not JSON"),
        (b"{\"version\": \"\\ud800\"}", "not JSON"),
        (b"[{\"common_name\": \"x\"}]", "manifest import phoenix"),
        (b"3", "expected the manifest: an object, found a number"),
        (
            b"{\"version\": 2, \"certficates\": 7}",
            "version 2 is newer than version 1, which this pinion reads: upgrade pinion",
        ),
        (b"{\"version\": 0}", "0 is not a version"),
        (b"{\"version\": 1.5}", "1.5 is not a version"),
        (b"{\"version\": \"1\"}", "expected the number 1, found text"),
        (b"{\"certificates\": []}", "the field \"version\" is missing"),
    ] {
        let errors = Manifest::parse(bytes).expect_err(words);
        assert_eq!(errors.problems.len(), 1, "{errors}");
        assert!(errors.to_string().contains(words), "expected {words:?} in {errors}");
    }
}

#[test]
fn bombs_are_refused_quickly() {
    let deep = "[".repeat(1_000_000);
    assert!(only(&deep).contains("nested more than 32 deep"));
    let deep_object = "{\"a\":".repeat(100_000);
    assert!(only(&deep_object).contains("nested more than 32 deep"));
    // Brackets in texts are no nesting.
    says(
        &with("", &format!(r#""guest": 101, "recipe": "{}""#, "[{".repeat(100))),
        "certificates[0].placements[0].recipe",
        "is not a name",
    );
    let large = format!("{{\"version\": 1, \"certificates\": [{}]}}", " ".repeat(17 * 1024 * 1024));
    assert!(only(&large).contains("more than the 16777216"));
    let many = format!(r#"{{"version": 1, "certificates": [{}1]}}"#, "1,".repeat(1_000_000));
    let errors = errors(&many);
    assert_eq!((errors.problems.len(), errors.omitted), (200, 999_801));
    assert!(errors.to_string().ends_with("… and 999801 more problems"));
}

#[test]
fn a_field_twice() {
    says(r#"{"version": 1, "certificates": [], "certificates": []}"#, "certificates", "appears already on line 1");
    says(
        &with("", r#""guest": 101, "recipe": "x", "recipe": "y""#),
        "certificates[0].placements[0].recipe",
        "appears already",
    );
}

#[test]
fn certificates() {
    says(
        &with(r#", "renew_before": "30d""#, r#""guest": 101, "recipe": "x""#),
        "certificates[0].renew_before",
        "30d before the end",
    );
    says(&with(r#", "duration": "20y""#, r#""guest": 101, "recipe": "x""#), "certificates[0].duration", "too long");
    says(
        &with(r#", "duration": "30 dogs""#, r#""guest": 101, "recipe": "x""#),
        "certificates[0].duration",
        "not a duration",
    );
    says(&with(r#", "duration": 30"#, r#""guest": 101, "recipe": "x""#), "certificates[0].duration", "found a number");
    says(&with(r#", "duration": null"#, r#""guest": 101, "recipe": "x""#), "certificates[0].duration", "found null");
    says(
        &with(r#", "sans": ["a.b", 3]"#, r#""guest": 101, "recipe": "x""#),
        "certificates[0].sans[1]",
        "found a number",
    );
    says(
        &with(r#", "key": {"algorithm": "rsa-1024"}"#, r#""guest": 101, "recipe": "x""#),
        "certificates[0].key.algorithm",
        "rsa-2048",
    );
    says(
        &with(r#", "key": {"rotation": "often"}"#, r#""guest": 101, "recipe": "x""#),
        "certificates[0].key.rotation",
        "always or never",
    );
    says(
        &with(r#", "shared": true"#, r#""guest": 101, "recipe": "x", "sans": ["b.example"]"#),
        "certificates[0].placements[0].sans",
        "the same in every place",
    );
    let long = format!("{}.example", "a".repeat(60));
    says(&EXAMPLE.replace("nginx.internal.example", &long), "certificates[0].common_name", "at most 64");
    let sans = (0..500).map(|n| format!("\"n{n}.example\"")).collect::<Vec<_>>().join(",");
    says(
        &with(&format!(r#", "sans": [{sans}]"#), r#""guest": 101, "recipe": "x""#),
        "certificates[0].sans",
        "501 names",
    );
}

#[test]
fn placements() {
    const AT: &str = "certificates[0].placements[0]";
    says(&with("", r#""recipe": "x""#), AT, "the placement has no place");
    says(&with("", r#""guest": 101"#), AT, "needs a \"recipe\"");
    says(&with("", r#""guest": 101, "files": {}"#), AT, "needs a \"recipe\"");
    says(&with("", r#""guest": 99, "recipe": "x""#), &format!("{AT}.guest"), "99 is not a VMID");
    says(&with("", r#""guest": "101", "recipe": "x""#), &format!("{AT}.guest"), "without quotes");
    says(&with("", r#""guest": "host", "recipe": "x""#), &format!("{AT}.guest"), "\"host\": true");
    says(&with("", r#""guest": "no name", "recipe": "x""#), &format!("{AT}.guest"), "use its VMID, or its name");
    says(&with("", r#""guest": true, "recipe": "x""#), &format!("{AT}.guest"), "expected a VMID");
    says(&with("", r#""host": false, "recipe": "x""#), &format!("{AT}.host"), "true or absent");
    says(
        &with("", r#""guest": 101, "host": true, "recipe": "x""#),
        &format!("{AT}.host"),
        "keep \"guest\" or \"host\"",
    );
    says(
        &with("", r#""guest": 101, "files": {"key": {"mode": "0600"}}"#),
        &format!("{AT}.files.key"),
        "\"path\" is missing",
    );
    says(
        &with("", r#""guest": 101, "files": {"key": {"path": "/k", "mode": "0644"}}"#),
        &format!("{AT}.files.key.mode"),
        "private key",
    );
    says(
        &with("", r#""guest": 101, "files": {"key": {"path": "/k"}, "cert": {"path": "/k"}}"#),
        &format!("{AT}.files.key.path"),
        "another part",
    );
    says(
        &with("", r#""guest": 101, "files": {"crt": {"path": "/k"}}, "recipe": "x""#),
        &format!("{AT}.files.crt"),
        "did you mean `cert`?",
    );
    says(
        &with("", r#""guest": 101, "recipe": "x", "reload": {"restart": "nginx"}"#),
        &format!("{AT}.reload.restart"),
        "nginx.service",
    );
    says(&with("", r#""guest": 101, "recipe": "x", "reload": {}"#), &format!("{AT}.reload"), "exactly one of");
    says(
        &with("", r#""guest": 101, "recipe": "x", "reload": {"hook": "a", "restart": "a.service"}"#),
        &format!("{AT}.reload"),
        "exactly one of",
    );
    says(
        &with("", r#""guest": 101, "recipe": "x", "reload": "restart""#),
        &format!("{AT}.reload"),
        "expected \"nothing\" or one of",
    );
    says(
        &with("", r#""guest": 101, "recipe": "x", "validate": {"command": "rm -rf /"}"#),
        &format!("{AT}.validate.command"),
        "there is no field",
    );
    says(
        &with("", r#""guest": 101, "recipe": "x", "probe": {"connect": "localhost:8000"}"#),
        &format!("{AT}.probe.connect"),
        "127.0.0.1:8443",
    );
    says(
        &with("", r#""guest": 101, "recipe": "x", "probe": {"connect": "127.0.0.1:0"}"#),
        &format!("{AT}.probe.connect"),
        "not an address and a port",
    );
    says(
        &with("", r#""guest": 101, "recipe": "x", "probe": {"connect": "[::1]:1", "server_name": "*.x"}"#),
        &format!("{AT}.probe.server_name"),
        "not a wildcard",
    );
    says(
        &with("", r#""guest": 101, "recipe": "x", "reload": [{"reload": "a.service"}, {"reload": "b"}]"#),
        &format!("{AT}.reload[1].reload"),
        "not a service unit",
    );
    says(&with("", r#""guest": 101, "recipe": "x", "reload": []"#), &format!("{AT}.reload"), "the list is empty");
    says(
        &with("", r#""guest": 101, "recipe": "x", "probe": [{"connect": "127.0.0.1:25"}, "nothing"]"#),
        &format!("{AT}.probe[1]"),
        "stands alone",
    );
    says(
        &with(
            "",
            r#""guest": 101, "recipe": "x", "probe": [{"connect": "127.0.0.1:25"}, {"connect": "127.0.0.1:25"}]"#,
        ),
        &format!("{AT}.probe"),
        "element 2 says what an element before it says",
    );
    let unit = |unit: &str| {
        let reload = r#""reload": [{"restart": "a.service"}, {"reload": "b.service"}]"#;
        let probe = format!(r#""probe": [{{"connect": "127.0.0.1:25", "unit": "{unit}"}}]"#);
        with("", &format!(r#""guest": 101, "recipe": "x", {reload}, {probe}"#))
    };
    assert!(Manifest::parse(unit("b.service").as_bytes()).is_ok());
    says(&unit("c.service"), &format!("{AT}.probe"), "none of the units in \"reload\"");
}

#[test]
fn two_placements_must_not_write_one_file() {
    let text = r#"{"version": 1, "certificates": [
      {"name": "a", "common_name": "a.example", "placements": [
        {"guest": 101, "files": {"cert": {"path": "/etc/ssl/x.crt"}}},
        {"guest": 102, "files": {"cert": {"path": "/etc/ssl/x.crt"}}}]},
      {"name": "b", "common_name": "b.example", "placements": [
        {"guest": 101, "files": {"cert": {"path": "/etc/ssl/x.crt"}}}]}]}"#;
    says(text, "certificates[1].placements[0].files.cert.path", "already used by the files on line 3");
}

#[test]
fn windows() {
    let at = |rest: &str| format!("certificates[0].placements[0].window{rest}");
    let window = |window: &str| with("", &format!(r#""guest": 101, "recipe": "x", "window": {window}"#));
    says(&window("{}"), &at(""), "needs \"days\"");
    says(&window(r#"{"days": []}"#), &at(".days"), "never opens");
    says(&window(r#"{"days": ["Saturday"]}"#), &at(".days[0]"), "use mon, tue");
    says(&window(r#"{"from": "02:00"}"#), &at(""), "both \"from\" and \"to\"");
    says(&window(r#"{"from": "2:00", "to": "04:00"}"#), &at(".from"), "HH:MM");
    says(&window(r#"{"from": "24:00", "to": "04:00"}"#), &at(".from"), "HH:MM");
    says(&window(r#"{"from": "02:00", "to": "02:00"}"#), &at(".to"), "closes when it opens");
    says(
        &window(r#"{"days": ["mon"], "time_zone": "Middle/Earth"}"#),
        &at(".time_zone"),
        "does not know the time zone",
    );
}

#[test]
fn a_file_cut_anywhere_is_refused_and_no_byte_changed_is_fatal() {
    let whole = EXAMPLE.trim_end();
    for end in (0..whole.len()).step_by(7) {
        assert!(Manifest::parse(whole.get(..end).expect("ASCII").as_bytes()).is_err(), "cut at {end}");
    }
    // Whatever comes out, it is an answer and not a panic.
    for at in 0..whole.len() {
        for byte in [b'"', b'[', b'}', b',', 0, 0xff, b'9'] {
            let mut bytes = whole.as_bytes().to_vec();
            bytes[at] = byte;
            drop(Manifest::parse(&bytes));
        }
    }
}

proptest::proptest! {
    #[test]
    fn any_bytes_get_an_answer(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
        drop(Manifest::parse(&bytes));
    }
}

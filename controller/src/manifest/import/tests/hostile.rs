//! Lines and entries that want to break something: nothing does, and nothing is printed that hides or moves words.

use pinion_proto::printable::is_printable;
use proptest::prelude::*;
use serde_json::json;

use super::{documents, entry, imported, look_at};

#[test]
fn long_and_deep_lines_are_left_to_a_person() {
    let lines = [
        "(".repeat(4_000),
        format!("{}true{}", "(".repeat(2_000), ")".repeat(2_000)),
        "$(".repeat(2_000),
        "A=$(".repeat(1_000),
        "\"$(".repeat(1_000),
        "`".repeat(3_000),
        "{a,".repeat(1_000),
        "a && ".repeat(1_500) + "a",
        "a | ".repeat(1_500) + "a",
        "! ".repeat(4_000) + "a",
        "true;".repeat(1_600),
        "x".repeat(100_000),
        "'".repeat(5_000),
        "\\".repeat(8_000),
        "<".repeat(3_000),
        format!("chmod 600 /etc/ssl/{}", "*a".repeat(1_000)),
        format!("{}x{}", "bash -c '".repeat(20), "'".repeat(20)),
    ];
    for line in lines {
        let (certificates, report) = documents(&json!([entry(&line)]));
        assert_eq!(certificates[0]["placements"][0]["guest"], 101);
        if !line.starts_with("true") {
            assert_eq!(report["hooks"].as_array().map(Vec::len), Some(1), "{line:.40}: {}", look_at(&report));
        }
    }
}

/// Each bracket may double what the parser has to try; no line takes long for it.
#[test]
fn no_line_and_no_file_takes_long() {
    let begun = std::time::Instant::now();
    for depth in 0..=16 {
        imported(&json!([entry(&format!("{}x{}", "A=$(".repeat(depth), " b)".repeat(depth)))]));
        imported(&json!([entry(&format!("{}x{}", "{a,".repeat(depth), "}".repeat(depth)))]));
    }
    let entries: Vec<_> = (0..1_000)
        .map(|number| {
            let mut entry = entry("pct exec 101 -- systemctl restart app");
            entry["common_name"] = format!("a{number}.example").into();
            entry
        })
        .collect();
    assert_eq!(imported(&json!(entries)).report.certificates, 1_000);
    // Seconds where something doubles, a tenth of one otherwise; the machine may be busy.
    assert!(begun.elapsed().as_secs() < 60, "{:?}", begun.elapsed());
}

#[test]
fn nothing_that_is_printed_hides_or_moves_words() {
    let hostile = "\u{202e}\u{1b}[2J\u{200b}\n\r";
    let mut all = entry(&format!(
        "pct exec 101 -- bash -c 'mv /tmp/cert.pem /etc/ssl/a/{hostile}.crt; evil{hostile} \"{hostile}\"'"
    ));
    all["cert_path"] = format!("/etc/ssl/\u{202e}{}.crt", "a").into();
    all["key_path"] = "/etc/ssl/\u{202e}a.key".into();
    all[format!("field{hostile}")] = 1.into();
    let mut push = entry("pct exec 101 -- systemctl restart app");
    push["common_name"] = "b.example".into();
    push["cert_path"] = "/etc/app/\u{202e}\u{2028}.crt".into();
    let imported = imported(&json!([all, push]));
    let report = imported.report.to_string();
    let hooks: Vec<_> = imported.report.hooks.iter().map(|hook| hook.content.as_str()).collect();
    for text in [report.as_str(), imported.manifest.as_str()].into_iter().chain(hooks) {
        let seen = text.chars().all(|character| character == '\n' || is_printable(character));
        assert!(seen, "{text:?}");
    }
    assert!(report.contains("\\u{202e}"), "{report}");
}

/// Pieces of which lines are made.
fn line() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("pct exec 101 -- "),
        Just("qm guest exec 102 -- "),
        Just("bash -c "),
        Just("'"),
        Just("\""),
        Just("mv "),
        Just("cp -p "),
        Just("/tmp/cert.pem "),
        Just("/tmp/key.pem "),
        Just("/etc/ssl/a/a.crt "),
        Just("/etc/ssl/a/ "),
        Just("chown a:b "),
        Just("chmod 600 "),
        Just("systemctl restart "),
        Just("docker "),
        Just("nginx "),
        Just("&& "),
        Just("|| "),
        Just("; "),
        Just("| "),
        Just("("),
        Just(")"),
        Just("$X "),
        Just("$("),
        Just("`"),
        Just("\\"),
        Just("\n"),
        Just("> "),
        Just("* "),
        Just("~"),
        Just("{a,b} "),
        Just("docker secret create x /tmp/key.pem; "),
        Just("docker service update --force x "),
        Just("docker secret create x /tmp/cert.pem; "),
        Just("systemctl restart a b c d e f g h i j k l m n o p; "),
        Just("\u{202e}"),
        Just("-"),
        Just("--"),
    ];
    prop_oneof![proptest::collection::vec(piece, 0..30).prop_map(|pieces| pieces.concat()), "\\PC{0,60}",]
}

const NAMES: [&str; 3] = ["a.example", "b.example", "*.example"];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]
    /// Whatever the lines are, there is a valid manifest, and every entry is in the report.
    #[test]
    fn any_lines_become_a_manifest(lines in proptest::collection::vec((line(), 0_usize..3, any::<bool>()), 1..6)) {
        let entries: Vec<_> = lines.iter().map(|(line, name, client)| json!({
            "common_name": NAMES[*name], "guest_id": 101, "post_renewal_command": line,
            "cert_path": "/etc/ssl/a/a.crt", "include_ca": client, "cert_type": if *client { "client" } else { "server" },
        })).collect();
        let imported = imported(&json!(entries));
        prop_assert_eq!(imported.report.entries.len(), entries.len());
        for (entry, (line, ..)) in imported.report.entries.iter().zip(&lines) {
            prop_assert!(!entry.became.is_empty(), "{:?}", line);
        }
    }
}

//! Each command of both programs has a man page, which is well formed.

use std::{collections::BTreeSet, fs, process::Command};

use pinion_tests::{
    process::{self, Finished},
    program,
    wait::PATIENCE,
};

fn pages(command: &clap::Command, name: &str, into: &mut BTreeSet<String>) {
    into.insert(format!("{name}.1"));
    for inner in command.get_subcommands().filter(|inner| !inner.is_hide_set()) {
        pages(inner, &format!("{name}-{}", inner.get_name()), into);
    }
}

#[test]
fn every_command_has_a_page_without_mistakes() {
    let directory = tempfile::tempdir().expect("a directory");
    pinion_manual::pages::write(directory.path()).expect("written");
    let mut expected = BTreeSet::new();
    pages(&pinion_controller::cli::command(), "pinion", &mut expected);
    pages(&pinion_agent::cli::command(), "pinion-agent", &mut expected);
    let entries = fs::read_dir(directory.path()).expect("pages").map(|entry| entry.expect("a page"));
    let written: BTreeSet<_> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    assert_eq!(written, expected);
    for page in &written {
        let path = directory.path().join(page);
        let text = fs::read_to_string(&path).expect("a page");
        for section in [".SH NAME", ".SH SYNOPSIS", ".SH DESCRIPTION", ".SH OPTIONS"] {
            assert!(text.contains(section), "{page} has no {section}");
        }
        // Debian's own check (lintian's man page tests) asks groff in the same way.
        if let Ok(groff) = program::found("groff") {
            let mut lint = Command::new(groff);
            lint.args(["-man", "-Tutf8", "-K", "utf8", "-ww", "-z"]).arg(&path);
            let lint = process::run(&mut lint, b"", PATIENCE).and_then(Finished::succeeded).expect("it is formatted");
            assert_eq!(lint.stderr, "", "{page}");
        }
    }
}

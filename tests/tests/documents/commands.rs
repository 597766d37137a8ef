//! Each command line of ours in the documents is one that the programs take.
//!
//! That a document's steps do what it says is for the tests that run them: CONTRIBUTING.md has the table.

use clap::{Command, error::ErrorKind};

use crate::shown::{self, Shown};

/// Why a program would not take a line; none if it would, or if the line only names a command.
fn refusal(shown: &Shown) -> Option<String> {
    let command = match shown.words.first()?.as_str() {
        "pinion" => pinion_controller::cli::command(),
        _ => pinion_agent::cli::command(),
    };
    let words = instead_of_placeholders(&shown.words);
    let error = command.clone().try_get_matches_from(&words).err()?;
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => None,
        // `pinion guest enroll` in a sentence means the command, whatever it takes.
        ErrorKind::MissingRequiredArgument
        | ErrorKind::MissingSubcommand
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
            if is_named_alone(&command, &words) =>
        {
            None
        }
        _ => Some(error.to_string()),
    }
}

/// Whether the words are a command's name, or options of it, without what it requires.
fn is_named_alone(command: &Command, words: &[String]) -> bool {
    let mut command = command;
    for word in words.iter().skip(1) {
        match command.find_subcommand(word) {
            Some(inner) => command = inner,
            None => return word.starts_with('-') && words.last() == Some(word),
        }
    }
    true
}

/// The words with something in place of `G`, `NAME…`, `[FILE]`, `TIME`, as documents write them.
fn instead_of_placeholders(words: &[String]) -> Vec<String> {
    let mut instead = Vec::new();
    for word in words {
        let word = word.trim_matches(['[', ']']).trim_end_matches('…').trim_end_matches("...");
        let word = match word {
            "" | "…" => continue,
            "G" | "GUEST" | "VMID" => "1001",
            "NAME" | "NAME@VMID" => "web",
            "STAGE" => "served",
            "T" | "TIME" => "8h",
            "SHA256" => &"ab".repeat(32),
            word if word.contains('|') => word.split('|').next().unwrap_or(word),
            word => word,
        };
        instead.push(word.to_owned());
    }
    instead
}

#[test]
fn every_command_in_the_documents_is_one_that_the_programs_take() {
    let (refused, count) = shown::refused(&["pinion", "pinion-agent"], refusal);
    assert!(refused.is_empty(), "{}", refused.join("\n"));
    assert!(count > 300, "only {count} commands were found");
}

#[test]
fn a_command_that_is_not_there_is_refused() {
    let words = |line: &str| line.split(' ').map(ToOwned::to_owned).collect();
    let refused = |line: &str| refusal(&Shown { place: "a.md:1".into(), words: words(line) }).is_some();
    for good in
        ["pinion status", "pinion guest enroll", "pinion guest", "pinion ensure [NAME…] --until STAGE", "pinion --help"]
    {
        assert!(!refused(good), "{good}");
    }
    for bad in
        ["pinion statsu", "pinion status --foo", "pinion guest evict 1 2", "pinion-agent await web --until later"]
    {
        assert!(refused(bad), "{bad}");
    }
}

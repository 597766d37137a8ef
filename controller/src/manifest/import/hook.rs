//! What is left of an old line, as a file for a person to review. Pinion writes it and never runs it.
//!
//! Invariant: as it is written, a hook does nothing but fail. What was in the line is a comment, unless every character of it
//! is seen and the shell reads it in one way.

use std::fmt::Write as _;

use pinion_proto::{
    id::Guest,
    printable::{is_printable, whole},
    spec::PlainName,
};
use schemars::JsonSchema;
use serde::Serialize;

use super::{old::OldEntry, step::Left};

/// A hook to review.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Hook {
    /// The file's name, as the manifest has it.
    pub name: PlainName,
    /// The guest that it is for.
    pub guest: Guest,
    /// The entry that it comes from, counted from 1.
    pub entry: usize,
    /// The file, below the directory of hooks.
    pub file: String,
    /// Whether the new manifest names it. One that it does not name is only for you to read.
    pub named: bool,
    /// Its text.
    pub content: String,
}

/// The commands of a line.
pub(super) struct Commands<'c> {
    /// Those left, each with the command as a person reads it.
    pub(super) left: &'c [(Left, String)],
    /// Those that Pinion's own work takes the place of.
    pub(super) done: &'c [String],
    /// What is left ran only if all before it succeeded.
    pub(super) chained: bool,
}

/// Writes a hook.
pub(super) fn hook(name: PlainName, guest: Guest, entry: &OldEntry, commands: &Commands<'_>, named: bool) -> Hook {
    let file = format!("{guest}/{}", name.as_str());
    let mut text = String::from("#!/bin/sh\n");
    let mut line = |words: &str| {
        // Writing to a String cannot fail.
        writeln!(text, "{words}").ok();
    };
    line(&format!(
        "# What is left of the post_renewal_command of entry {}, {}.",
        entry.number,
        entry.common_name.plain()
    ));
    if named {
        let place = if guest == Guest::Host { "on the host".to_owned() } else { format!("in guest {guest}") };
        line("# Review it, remove the next two lines, and install it, as root, with mode 0755,");
        line(&format!("# {place} as /etc/pinion/hooks.d/{}.", name.as_str()));
    } else {
        line("# It ran on the host, where this certificate has no placement: Pinion does not run it.");
    }
    line(&format!("echo '{}: not reviewed yet' >&2", name.as_str()));
    line("exit 1");
    line("");
    if commands.chained {
        line("set -e");
    }
    for (left, shown) in commands.left {
        line(&format!("# {}:", whole(&left.why)));
        match left.command.as_deref().filter(|command| command.chars().all(is_printable)) {
            Some(command) => line(command),
            None => comment(shown, &mut line),
        }
    }
    line("");
    if !commands.done.is_empty() {
        line("# Pinion does this itself:");
        for shown in commands.done {
            comment(shown, &mut line);
        }
    }
    line("# The whole line was:");
    comment(entry.command.as_deref().unwrap_or_default(), &mut line);
    Hook { name, guest, entry: entry.number, file, named, content: text }
}

fn comment(text: &str, line: &mut impl FnMut(&str)) {
    for part in text.lines() {
        line(&format!("#     {}", whole(part)));
    }
}

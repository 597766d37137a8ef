//! docs/reference/commands.md: every command of both programs, as `--help` has it.

use clap::{Arg, Command};

use super::text::{anchor, cell, page, paragraphs, table};

const ABOUT: &str = "\
Every command of `pinion`, on the host, and of `pinion-agent`, in a guest, with its options. `--help` \
behind a command prints the same.

A NAME is a certificate (`docker`) or one placement of it (`docker@1001`). A guest G is a VMID, a guest's name, or `host`. \
A STAGE is `pending`, `issued`, `installed`, `reloaded` or `served`. A duration is written as `90s`, `5m`, `8h` or `30d`.";

/// The page.
pub(super) fn write(programs: &[Command]) -> String {
    let mut text = page("Commands", ABOUT);
    for program in programs {
        text += &index(program);
    }
    for program in programs {
        text += &format!("\n## {}\n\n{}\n", program.get_name(), about(program));
        text += "\nOptions of every command:\n\n";
        text += &options(program.get_arguments().filter(|argument| argument.is_global_set()));
        each(program, &mut |command, name| text += &section(command, name));
    }
    text
}

fn index(program: &Command) -> String {
    let mut rows = Vec::new();
    each(program, &mut |command, name| {
        let short = command.get_about().map(ToString::to_string).unwrap_or_default();
        rows.push(vec![format!("[`{name}`](#{})", anchor(name)), cell(&short)]);
    });
    format!("\n{}", table(&[program.get_name(), ""], rows))
}

/// Has every command that does something, with its whole name.
fn each(command: &Command, have: &mut dyn FnMut(&Command, &str)) {
    for inner in command.get_subcommands().filter(|inner| !inner.is_hide_set()) {
        if inner.has_subcommands() {
            each(inner, have);
        } else {
            let name = inner.get_bin_name().unwrap_or_else(|| inner.get_name());
            have(inner, name);
        }
    }
}

fn section(command: &Command, name: &str) -> String {
    let mut text = format!("\n### {name}\n\n{}\n", about(command));
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").trim();
    text += &format!("\n```text\n{}\n```\n", usage.split_whitespace().collect::<Vec<_>>().join(" "));
    let own = command.get_arguments().filter(|argument| {
        !argument.is_hide_set()
            && !argument.is_global_set()
            && !["help", "version"].contains(&argument.get_id().as_str())
    });
    let own: Vec<_> = own.collect();
    if !own.is_empty() {
        text += &format!("\n{}", options(own.into_iter()));
    }
    if let Some(more) = command.get_after_long_help() {
        let more = more.to_string();
        let (title, lines) = more.split_once('\n').unwrap_or(("", &more));
        let lines: Vec<_> = lines.lines().map(str::trim).collect();
        text += &format!("\n{title}\n\n```sh\n{}\n```\n", lines.join("\n"));
    }
    text
}

fn about(command: &Command) -> String {
    let about = command.get_long_about().or_else(|| command.get_about());
    paragraphs(&sentence(&about.map(ToString::to_string).unwrap_or_default()))
}

/// With the full stop that a single line of help has not.
fn sentence(text: &str) -> String {
    let text = text.trim();
    if text.is_empty() || text.ends_with(['.', '?', ':']) { text.to_owned() } else { format!("{text}.") }
}

fn options<'a>(arguments: impl Iterator<Item = &'a Arg>) -> String {
    let rows = arguments.map(|argument| {
        let help =
            argument.get_long_help().or_else(|| argument.get_help()).map(ToString::to_string).unwrap_or_default();
        let values = argument.get_default_values().iter().filter(|_| argument.get_action().takes_values());
        let defaults: Vec<_> = values.map(|value| format!("`{}`", value.to_string_lossy())).collect();
        let words: Vec<_> = argument
            .get_possible_values()
            .iter()
            .filter(|_| argument.get_action().takes_values())
            .filter(|value| !value.is_hide_set())
            .map(|value| format!("`{}`", value.get_name()))
            .collect();
        let mut meaning = sentence(&help);
        if !words.is_empty() {
            meaning += &format!(" One of {}.", words.join(", "));
        }
        let aliases = argument.get_visible_aliases().unwrap_or_default();
        if !aliases.is_empty() {
            let aliases: Vec<_> = aliases.iter().map(|alias| format!("`--{alias}`")).collect();
            meaning += &format!(" Also {}.", aliases.join(", "));
        }
        vec![spelled(argument), defaults.join(" "), cell(&meaning)]
    });
    table(&["option", "default", "meaning"], rows)
}

/// `--until STAGE`, or `NAME…`.
fn spelled(argument: &Arg) -> String {
    let values: Vec<_> = argument.get_value_names().unwrap_or_default().iter().map(ToString::to_string).collect();
    let takes = argument.get_action().takes_values();
    let mut value = if takes { values.join(" ") } else { String::new() };
    if takes && value.is_empty() {
        value = argument.get_id().as_str().to_uppercase();
    }
    let many = argument.get_num_args().is_some_and(|range| range.max_values() > 1);
    let more = if many { "…" } else { "" };
    let flag = match (argument.get_short(), argument.get_long()) {
        (Some(short), Some(long)) => format!("-{short}, --{long}"),
        (None, Some(long)) => format!("--{long}"),
        (Some(short), None) => format!("-{short}"),
        (None, None) => String::new(),
    };
    format!(
        "`{}`",
        [flag, format!("{value}{more}")].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
    )
}

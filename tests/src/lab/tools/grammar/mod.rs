//! How the tools of Proxmox read their arguments, and what they say of those they do not take.
//!
//! Answers: which command is meant, with which values? Invariant: as Perl's `Getopt::Long` and the tools'
//! schemas have it: commands and options may be shortened while they are unique, options stand anywhere
//! before `--`, and whatever is left over, missing or unknown ends with code 255 and the command's usage.

mod kind;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use super::Failure;
use kind::Wrong;

pub(super) use kind::Kind;

/// A tool's commands.
#[derive(Debug)]
pub(super) struct Tool {
    /// `pct`.
    pub name: &'static str,
    /// What the lab's version can do.
    pub verbs: &'static [Verb],
    /// What only the real one can do; shortening a command takes them into account.
    pub others: &'static [&'static str],
    /// Other words for commands: `agent` is `guest cmd`.
    pub aliases: &'static [(&'static str, &'static [&'static str])],
}

/// A command.
#[derive(Debug)]
pub(super) struct Verb {
    /// `guest exec`, word by word.
    pub words: &'static [&'static str],
    /// Its arguments, in order.
    pub arguments: &'static [Parameter],
    /// Its options.
    pub options: &'static [Parameter],
}

/// An argument or an option.
#[derive(Debug)]
pub(super) struct Parameter {
    pub name: &'static str,
    pub kind: Kind,
}

/// What was asked for.
#[derive(Debug)]
pub(super) struct Asked {
    pub verb: &'static Verb,
    values: BTreeMap<&'static str, String>,
    /// The command line, for verbs that take one.
    pub rest: Vec<String>,
}

impl Asked {
    /// A value that was given.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// A value that the grammar has made sure of; empty where it is optional and was not given.
    pub(super) fn text(&self, name: &str) -> &str {
        self.get(name).unwrap_or_default()
    }

    /// Whether a flag was given, and how.
    pub(super) fn flag(&self, name: &str) -> Option<bool> {
        self.get(name).map(|value| value == "1")
    }
}

impl Tool {
    /// Reads a command line.
    pub(super) fn parse(&'static self, arguments: &[String]) -> Result<Asked, Failure> {
        let (verb, left) = self.resolve(arguments)?;
        verb.parse(left).map_err(|failure| Failure { text: failure.text + &verb.usage(self.name), ..failure })
    }

    fn resolve(&'static self, arguments: &[String]) -> Result<(&'static Verb, Vec<String>), Failure> {
        let mut words: Vec<String> = arguments.to_vec();
        let Some(first) = words.first() else {
            return Err(self.misled("no command specified"));
        };
        if let Some((_, full)) = self.aliases.iter().find(|(alias, _)| alias == first) {
            words.splice(0..1, full.iter().map(|word| (*word).to_owned()));
        }
        let mut said = self.name.to_owned();
        for depth in 0..words.len() {
            let so_far: Vec<String> = words.iter().take(depth).cloned().collect();
            let meant = self.expand(&so_far, words.get(depth).map_or("", String::as_str));
            said = format!("{said} {meant}");
            if let Some(word) = words.get_mut(depth) {
                *word = meant;
            }
            let begun = words.get(..=depth).unwrap_or(&words);
            if let Some(verb) = self.verbs.iter().find(|verb| verb.words == begun) {
                return Ok((verb, words.split_off(depth + 1)));
            }
            if depth == 0 && self.others.contains(&begun[0].as_str()) {
                return Err(Failure::died(format!("the lab has no `{said}`")));
            }
            if !self.verbs.iter().any(|verb| verb.words.starts_with_words(begun)) {
                return Err(self.misled(&format!("unknown command '{said}'")));
            }
        }
        Err(self.misled(&format!("incomplete command '{said}'")))
    }

    /// The word that a shortened one means, when only one is meant.
    fn expand(&self, before: &[String], word: &str) -> String {
        let depth = before.len();
        let verbs = self.verbs.iter().filter(|verb| verb.words.starts_with_words(before));
        let mut known: Vec<&str> = verbs.filter_map(|verb| verb.words.get(depth).copied()).collect();
        if depth == 0 {
            known.extend(self.others);
        }
        known.sort_unstable();
        known.dedup();
        if known.contains(&word) {
            return word.to_owned();
        }
        let mut fitting = known.iter().filter(|full| full.starts_with(word));
        match (fitting.next(), fitting.next()) {
            (Some(only), None) => (*only).to_owned(),
            _ => word.to_owned(),
        }
    }

    fn misled(&self, reason: &str) -> Failure {
        let mut text = format!("ERROR: {reason}\nUSAGE: {} <COMMAND> [ARGS] [OPTIONS]\n\n", self.name);
        for verb in self.verbs {
            text.push_str("       ");
            text.push_str(&verb.usage(self.name));
        }
        Failure { text, code: 255 }
    }
}

/// Words at the beginning of a command.
trait StartsWithWords {
    fn starts_with_words(&self, words: &[String]) -> bool;
}

impl StartsWithWords for [&str] {
    fn starts_with_words(&self, words: &[String]) -> bool {
        words.len() <= self.len() && self.iter().zip(words).all(|(ours, theirs)| ours == theirs)
    }
}

impl Verb {
    fn parse(&'static self, words: Vec<String>) -> Result<Asked, Failure> {
        let (mut values, mut plain) = self.take_options(words)?;
        let mut rest = Vec::new();
        for argument in self.arguments {
            if let Kind::Rest = argument.kind {
                rest = std::mem::take(&mut plain);
            } else if plain.is_empty() {
                return Err(Failure::died("400 not enough arguments"));
            } else {
                values.insert(argument.name, plain.remove(0));
            }
        }
        if !plain.is_empty() {
            return Err(Failure::died("400 too many arguments"));
        }
        let mut refused = String::new();
        for parameter in self.arguments.iter().chain(self.options) {
            let Some(value) = values.get_mut(parameter.name) else { continue };
            match parameter.kind.check(value) {
                Ok(checked) => *value = checked,
                Err(Wrong::Flag) => return Err(Failure::died("400 unable to parse boolean option")),
                Err(Wrong::Value(reason)) => refused.push_str(&format!("{}: {reason}\n", parameter.name)),
            }
        }
        if refused.is_empty() {
            Ok(Asked { verb: self, values, rest })
        } else {
            Err(Failure { text: format!("400 Parameter verification failed.\n{refused}"), code: 255 })
        }
    }

    /// Options apart from the rest, wherever they stand before a `--`.
    fn take_options(&self, words: Vec<String>) -> Result<(BTreeMap<&'static str, String>, Vec<String>), Failure> {
        let (mut values, mut plain, mut complaints) = (BTreeMap::new(), Vec::new(), String::new());
        let mut words = words.into_iter().peekable();
        while let Some(word) = words.next() {
            if word == "--" {
                plain.extend(words.by_ref());
                break;
            }
            let Some(option) =
                word.strip_prefix("--").or_else(|| word.strip_prefix('-')).filter(|name| !name.is_empty())
            else {
                plain.push(word);
                continue;
            };
            let (name, attached) = match option.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (option, None),
            };
            let parameter = match self.option(name) {
                Ok(parameter) => parameter,
                Err(complaint) => {
                    complaints.push_str(&complaint);
                    continue;
                }
            };
            let value = match (attached, parameter.kind) {
                (Some(value), _) => value,
                // Its value may be left out, so what looks like an option is one.
                (None, Kind::Flag) => words.next_if(|next| !next.starts_with('-') || next == "-").unwrap_or_default(),
                (None, _) => match words.next() {
                    Some(value) => value,
                    None => {
                        complaints.push_str(&format!("Option {name} requires an argument\n"));
                        continue;
                    }
                },
            };
            values.insert(parameter.name, value);
        }
        if complaints.is_empty() {
            Ok((values, plain))
        } else {
            Err(Failure { text: complaints + "400 unable to parse option\n", code: 255 })
        }
    }

    /// The option that is meant; arguments may be given as options too.
    fn option(&self, name: &str) -> Result<&'static Parameter, String> {
        let name = name.to_lowercase();
        let known = || self.arguments_and_options().filter(|parameter| !matches!(parameter.kind, Kind::Rest));
        if let Some(exact) = known().find(|parameter| parameter.name == name) {
            return Ok(exact);
        }
        let fitting: Vec<_> = known().filter(|parameter| parameter.name.starts_with(&name)).collect();
        match fitting.as_slice() {
            [only] => Ok(only),
            [] => Err(format!("Unknown option: {name}\n")),
            several => {
                let names: Vec<&str> = several.iter().map(|parameter| parameter.name).collect();
                Err(format!("Option {name} is ambiguous ({})\n", names.join(", ")))
            }
        }
    }

    fn arguments_and_options(&self) -> impl Iterator<Item = &'static Parameter> + use<> {
        let (arguments, options) = (self.arguments, self.options);
        arguments.iter().chain(options)
    }

    fn usage(&self, tool: &str) -> String {
        let mut text = format!("{tool} {} ", self.words.join(" "));
        let arguments: Vec<String> = self
            .arguments
            .iter()
            .map(|argument| match argument.kind {
                Kind::Rest => format!("[<{}>]", argument.name),
                _ => format!("<{}>", argument.name),
            })
            .collect();
        text.push_str(&arguments.join(" "));
        if !self.options.is_empty() {
            text.push_str(" [OPTIONS]");
        }
        text + "\n"
    }
}

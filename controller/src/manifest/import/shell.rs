//! A line of shell, as far as its meaning is plain without running it.
//!
//! Invariant: nothing is ever executed; the crate's parser is compiled, its shell is not. What is not plain (variables,
//! patterns, substitutions, pipes, conditions) is never guessed: it is [`Statement::Other`], with the reason.

use deno_task_shell::parser::{
    self, BooleanList, BooleanListOperator, Command, CommandInner, IoFile, PipelineInner, Redirect, Sequence,
    SequentialList, Word, WordPart,
};

/// Longer than any line that somebody wrote by hand (bytes).
const MAX_LINE: usize = 4 * 1024;

/// The parser recurses at each of these, and tries some twice: each doubles its work.
const MAX_BRACKETS: usize = 8;

/// The parser recurses at each of these, too; each is half of an operator.
const MAX_OPERATORS: usize = 256;

/// What a line does, in its order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Script {
    pub(super) statements: Vec<Statement>,
    /// Every command runs only if those before it succeeded.
    pub(super) chained: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Statement {
    /// A program and its arguments.
    Command(Words),
    /// Commands of which only some run, `a && b || c`: those that are meant to, and the rest.
    Choice(Vec<Words>, Vec<Words>),
    /// Something else, and why its meaning is not plain.
    Other(String),
}

/// A program and its arguments.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Words {
    pub(super) all: Vec<String>,
    /// The words with wildcards, which the shell would expand to file names.
    pub(super) patterns: Vec<String>,
}

/// Reads a line.
pub(super) fn read(line: &str) -> Script {
    let count = |characters: &[char]| line.chars().filter(|character| characters.contains(character)).count();
    if line.len() > MAX_LINE || count(&['(', '{', '`']) > MAX_BRACKETS || count(&['&', '|', '!']) > MAX_OPERATORS {
        return Script::other("it is longer or deeper than Pinion reads");
    }
    match parser::parse(&silenced(line)) {
        Ok(list) => {
            let mut script = Script { statements: Vec::new(), chained: list.items.len() < 2 };
            script.list(&list);
            script
        }
        Err(error) => Script::other(format!("it cannot be read as shell ({})", error.message.trim_end_matches('.'))),
    }
}

/// The line with the usual two redirections to nowhere as one, because the parser takes one for each command.
fn silenced(line: &str) -> String {
    let mut line = line.to_owned();
    for usual in ["1>/dev/null 2>&1", "> /dev/null 2>&1", ">/dev/null 2>&1"] {
        line = line.replace(usual, "&>/dev/null");
    }
    line
}

/// Whether a word means itself, whatever reads it.
pub(super) fn is_plain(word: &str) -> bool {
    !word.contains(['$', '`', '\\'])
}

impl Script {
    fn other(why: impl Into<String>) -> Self {
        Self { statements: vec![Statement::Other(why.into())], chained: false }
    }

    fn list(&mut self, list: &SequentialList) {
        self.chained &= list.items.len() < 2;
        for item in &list.items {
            if item.is_async {
                self.statements.push(Statement::Other("it runs in the background (`&`)".into()));
            } else {
                self.sequence(&item.sequence);
            }
        }
    }

    fn sequence(&mut self, sequence: &Sequence) {
        let Sequence::BooleanList(list) = sequence else {
            match command(sequence) {
                Ok(found) => self.command(found),
                Err(why) => self.statements.push(Statement::Other(why)),
            }
            return;
        };
        let mut all = chain(list);
        // `a || true` is `a`, of which the failure does not matter.
        let before = all.len();
        all.retain(|(operator, sequence)| *operator != Some(BooleanListOperator::Or) || !succeeds(sequence));
        self.chained &= all.len() == before;
        if all.iter().all(|(operator, _)| *operator != Some(BooleanListOperator::Or)) {
            for (_, sequence) in all {
                self.sequence(sequence);
            }
            return;
        }
        self.chained = false;
        let meant = all.iter().take_while(|(operator, _)| *operator != Some(BooleanListOperator::Or)).count();
        let commands = all.into_iter().map(|(_, sequence)| words_of(sequence));
        self.statements.push(match commands.collect::<Result<Vec<_>, _>>() {
            Ok(mut commands) => {
                let rest = commands.split_off(meant);
                Statement::Choice(commands, rest)
            }
            Err(why) => Statement::Other(why),
        });
    }

    fn command(&mut self, command: &Command) {
        match &command.inner {
            CommandInner::Subshell(list) => self.list(list),
            CommandInner::Simple(_) => self.statements.push(match words(command) {
                Ok(words) => Statement::Command(words),
                Err(why) => Statement::Other(why),
            }),
        }
    }
}

/// The elements of `a && b || c`, each with what is before it.
fn chain(list: &BooleanList) -> Vec<(Option<BooleanListOperator>, &Sequence)> {
    let mut all = vec![(None, &list.current)];
    let mut list = list;
    loop {
        match &list.next {
            Sequence::BooleanList(next) => {
                all.push((Some(list.op), &next.current));
                list = next;
            }
            last => {
                all.push((Some(list.op), last));
                return all;
            }
        }
    }
}

/// Whether it does nothing and succeeds.
fn succeeds(sequence: &Sequence) -> bool {
    words_of(sequence).is_ok_and(|words| matches!(words.all.first().map(String::as_str), Some("true" | ":" | "echo")))
}

/// The one command of a sequence that is one.
fn command(sequence: &Sequence) -> Result<&Command, String> {
    match sequence {
        Sequence::ShellVar(_) => Err("it sets a variable".into()),
        Sequence::BooleanList(_) => Err("its `&&` and `||` are mixed".into()),
        Sequence::Pipeline(pipeline) if pipeline.negated => Err("it is negated (`!`)".into()),
        Sequence::Pipeline(pipeline) => match &pipeline.inner {
            PipelineInner::PipeSequence(_) => Err("it is a pipe".into()),
            PipelineInner::Command(command) if is_harmless(command.redirect.as_ref()) => Ok(command),
            PipelineInner::Command(_) => Err("its input or output is redirected".into()),
        },
    }
}

fn words_of(sequence: &Sequence) -> Result<Words, String> {
    command(sequence).and_then(words)
}

fn words(command: &Command) -> Result<Words, String> {
    match &command.inner {
        CommandInner::Subshell(_) => Err("it has a condition with a subshell".into()),
        CommandInner::Simple(simple) if !simple.env_vars.is_empty() => Err("it sets a variable for a command".into()),
        CommandInner::Simple(simple) => {
            let mut words = Words::default();
            for word in &simple.args {
                let (text, is_pattern) = literal(word)?;
                if is_pattern {
                    words.patterns.push(text.clone());
                }
                words.all.push(text);
            }
            Ok(words)
        }
    }
}

/// Whether output only goes nowhere, or to where the other output goes.
fn is_harmless(redirect: Option<&Redirect>) -> bool {
    match redirect.map(|redirect| &redirect.io_file) {
        None | Some(IoFile::Fd(1 | 2)) => true,
        Some(IoFile::Word(word)) => literal(word).is_ok_and(|(file, _)| file == "/dev/null"),
        Some(IoFile::Fd(_)) => false,
    }
}

/// A word's text, and whether it contains wildcards.
fn literal(word: &Word) -> Result<(String, bool), String> {
    let mut literal = (String::new(), false);
    word.parts().iter().try_for_each(|part| push(part, false, &mut literal))?;
    Ok(literal)
}

fn push(part: &WordPart, quoted: bool, literal: &mut (String, bool)) -> Result<(), String> {
    match part {
        WordPart::Text(text) => {
            literal.1 |= !quoted && text.contains(['*', '?', '[']);
            literal.0.push_str(text);
            Ok(())
        }
        WordPart::Quoted(parts) => parts.iter().try_for_each(|part| push(part, true, literal)),
        WordPart::Variable(name) => Err(format!("it has a variable (`${name}`)")),
        WordPart::Command(_) => Err("it has a command substitution".into()),
        WordPart::Tilde => Err("it has a home directory (`~`)".into()),
        WordPart::Brace(_) => Err("it has alternatives in braces".into()),
    }
}

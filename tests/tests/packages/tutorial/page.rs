//! The tutorial as steps: what is typed, what is answered, and what is printed.
//!
//! Answers: what does the document tell a reader to do? A fence `sh` has commands, one for each line that does not continue
//! the one before (by `\`, `|` or a here-document); a table `it asks` has the answers to the last of them, and a fence `text`
//! what it prints. Invariant: nothing else is done, and a fence of another kind is an error.

use std::iter::Peekable;

/// A command.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// As it is typed, with its here-document.
    pub(crate) command: String,
    /// Prompts, and what is typed at them.
    pub(crate) answers: Vec<(String, Answer)>,
    /// What it prints, if the document says so.
    pub(crate) prints: Option<String>,
}

/// What a person types at a prompt.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// This, or nothing.
    Line(String),
    /// What is not in the document.
    Secret,
}

/// The whole document.
#[derive(Debug, Default)]
pub(crate) struct Page {
    pub(crate) steps: Vec<Step>,
    /// What is in the service's configuration.
    pub(crate) configuration: Vec<String>,
}

impl Page {
    pub(crate) fn parse(text: &str) -> Self {
        let mut page = Self::default();
        let mut lines = text.lines().peekable();
        while let Some(line) = lines.next() {
            if let Some(kind) = line.strip_prefix("```") {
                let body: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
                match kind {
                    "sh" => page.steps.extend(commands(&body)),
                    "text" => {
                        let last = page.steps.last_mut().expect("a command comes before what it prints");
                        assert!(last.prints.replace(body.join("\n")).is_none(), "printed twice: {body:?}");
                    }
                    "nginx" => page.configuration.extend(body.iter().map(|line| (*line).to_owned())),
                    other => panic!("a fence of kind {other:?}"),
                }
            } else if line.starts_with("| it asks |") {
                page.steps.last_mut().expect("a command comes before its answers").answers = answers(&mut lines);
            }
        }
        page
    }
}

fn commands(body: &[&str]) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut lines = body.iter();
    while let Some(first) = lines.next() {
        let mut command = (*first).to_owned();
        let end = first.split_once("<<'").and_then(|(_, rest)| rest.split_once('\'')).map(|(end, _)| end);
        let goes_on = |line: &str| line.ends_with('\\') || line.ends_with('|');
        let mut last = *first;
        while end.map_or(goes_on(last), |end| last != end) {
            last = lines.next().expect("a command has an end");
            command = command + "\n" + last;
        }
        steps.push(Step { command, answers: Vec::new(), prints: None });
    }
    steps
}

fn answers<'l>(lines: &mut Peekable<impl Iterator<Item = &'l str>>) -> Vec<(String, Answer)> {
    let mut answers = Vec::new();
    while let Some(row) = lines.next_if(|line| line.starts_with('|')) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [asked, answered] = cells.as_slice() else { panic!("a row of two cells: {row}") };
        if asked.chars().all(|letter| letter == '-') {
            continue;
        }
        let answer = match answered.strip_prefix('`').and_then(|rest| rest.split_once('`')) {
            Some((line, _)) => Answer::Line(line.to_owned()),
            None if answered.starts_with("Enter") => Answer::Line(String::new()),
            None => Answer::Secret,
        };
        answers.push(((*asked).to_owned(), answer));
    }
    answers
}

/// Whether this was printed: `…` alone in a line stands for any lines, and in a line for any text.
pub(crate) fn is_printed(document: &str, printed: &str) -> bool {
    let trimmed = |text: &str| text.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>();
    let (wanted, seen) = (trimmed(document), trimmed(printed.trim_end()));
    fits(
        &wanted,
        &seen,
        |wanted| wanted == "…",
        |wanted, seen| {
            let of = |text: &str| text.chars().collect::<Vec<_>>();
            fits(&of(wanted), &of(seen), |letter| *letter == '…', |wanted, seen| wanted == seen)
        },
    )
}

/// Whether a sequence is as wanted, where some of what is wanted stands for any number of others.
fn fits<T>(
    wanted: &[T],
    seen: &[T],
    is_any: impl Fn(&T) -> bool + Copy,
    is_same: impl Fn(&T, &T) -> bool + Copy,
) -> bool {
    match wanted.split_first() {
        None => seen.is_empty(),
        Some((first, rest)) if is_any(first) => {
            (0..=seen.len()).any(|skipped| fits(rest, &seen[skipped..], is_any, is_same))
        }
        Some((first, rest)) => {
            seen.split_first().is_some_and(|(one, others)| is_same(first, one) && fits(rest, others, is_any, is_same))
        }
    }
}

#[test]
fn a_document_becomes_steps() {
    let page = Page::parse(
        "Text\n\n```sh\ncat >a <<'END'\nx\n\ny\nEND\nb \\\n  c\n```\n\n| it asks | you answer |\n|---|---|\n| Where? | Enter |\n\
         | Who | `me`, or you |\n| Password | it |\n\nprints\n\n```text\n1\n```\n```nginx\nlisten 443;\n```\n",
    );
    assert_eq!(page.configuration, ["listen 443;"]);
    let [first, second] = page.steps.as_slice() else { panic!("{:?}", page.steps) };
    assert_eq!(first, &Step { command: "cat >a <<'END'\nx\n\ny\nEND".into(), answers: vec![], prints: None });
    let line = |text: &str| Answer::Line(text.into());
    let answers = [("Where?", line("")), ("Who", line("me")), ("Password", Answer::Secret)]
        .map(|(asked, told)| (asked.into(), told));
    assert_eq!(second, &Step { command: "b \\\n  c".into(), answers: answers.into(), prints: Some("1".into()) });
}

#[test]
fn what_differs_from_the_document_is_noticed() {
    assert!(is_printed("a …\n…\nz", "a 1 2\nb\nc\nz  \n") && is_printed("…\na", "a"));
    assert!(!is_printed("a …\nz", "a 1\nb\nz") && !is_printed("a", "a\nb") && !is_printed("a\nb", "a"));
}

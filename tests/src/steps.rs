//! The commands and files of a document, taken out of it as they are written there.
//!
//! Answers: what does a reader type, where, and in which order; and which files does the reader write? Invariant: a command is changed only where the document
//! says that the reader replaces something: in the words in capitals, each of which has to have its value.
//!
//! A section is what stands below a heading, up to the next one. In it, a paragraph that says at its end where to type
//! (`On the host:`) and the indented lines below it are a block. Every indented line is a command, and has such a paragraph
//! above it.

use std::{fs, path::Path};

use anyhow::{Context, Result, bail, ensure};

/// Where something is typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The host, or the old one of two.
    Host,
    /// The host that takes the place of another.
    NewHost,
    /// A guest.
    Guest,
}

/// What is typed at one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Where.
    pub place: Place,
    /// Each a command of its own.
    pub lines: Vec<String>,
}

/// The blocks below a heading of a document in `docs`.
///
/// # Errors
/// There is no such document or heading, or nothing to type below it.
pub fn section(document: &str, heading: &str) -> Result<Vec<Block>> {
    let blocks = blocks(&read(document)?, heading).with_context(|| format!("read {document}"))?;
    ensure!(!blocks.is_empty(), "{document} has no commands below `{heading}`");
    Ok(blocks)
}

/// The commands below a heading, where the whole section is of one place. One that goes on in the next line is one.
///
/// # Errors
/// There is no such document or heading, or nothing to type below it.
pub fn commands(document: &str, heading: &str) -> Result<Vec<String>> {
    let text = read(document)?;
    let lines = below(&text, heading).with_context(|| format!("read {document}"))?;
    let typed = lines.iter().filter(|line| !line.is_file).filter_map(|line| line.text.strip_prefix("    "));
    let commands: Vec<String> =
        typed.collect::<Vec<_>>().join("\n").replace("\\\n", "").lines().map(str::to_owned).collect();
    ensure!(!commands.is_empty(), "{document} has no commands below `{heading}`");
    Ok(commands)
}

/// The files below a heading that are shown between fences, in this language: `yaml`.
///
/// # Errors
/// There is no such document or heading, or no such file below it.
pub fn files(document: &str, heading: &str, language: &str) -> Result<Vec<String>> {
    let text = read(document)?;
    let begin = format!("{FENCE}{language}");
    let mut files: Vec<String> = Vec::new();
    // That of another language is begun with its fence, too, and left out.
    let mut is_wanted = false;
    for line in below(&text, heading).with_context(|| format!("read {document}"))?.iter().filter(|line| line.is_file) {
        if line.text.starts_with(FENCE) {
            is_wanted = line.text == begin;
            files.extend(is_wanted.then(String::new));
        } else if let Some(file) = files.last_mut().filter(|_| is_wanted) {
            *file += &format!("{}\n", line.text);
        }
    }
    ensure!(!files.is_empty(), "{document} has no {language} below `{heading}`");
    Ok(files)
}

fn read(document: &str) -> Result<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(document);
    fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
}

/// Before and after a file.
const FENCE: &str = "```";

/// A line of a document.
struct Line<'t> {
    text: &'t str,
    /// Whether it is in a file that is shown, or the fence before it.
    is_file: bool,
}

/// The lines between this heading and the next one.
fn below<'t>(text: &'t str, heading: &str) -> Result<Vec<Line<'t>>> {
    let (mut found, mut lines) = (false, Vec::new());
    let mut is_file = false;
    for line in text.lines() {
        is_file ^= line.starts_with(FENCE);
        // A file may have comments.
        if line.starts_with('#') && !is_file {
            if found {
                break;
            }
            found = line.trim_start_matches('#').trim() == heading;
        } else if found {
            lines.push(Line { text: line, is_file });
        }
    }
    ensure!(found, "there is no heading `{heading}`");
    Ok(lines)
}

fn blocks(text: &str, heading: &str) -> Result<Vec<Block>> {
    let (mut blocks, mut paragraph): (Vec<Block>, _) = (Vec::new(), String::new());
    let mut is_over = true;
    for line in below(text, heading)?.iter().filter(|line| !line.is_file) {
        let said = line.text.trim_end();
        match said.strip_prefix("    ") {
            // Between a place and its commands, between two commands, and between two paragraphs.
            None if said.is_empty() => is_over = true,
            Some(command) => {
                let place = where_to_type(&paragraph);
                let place = place.with_context(|| format!("nobody says where to type `{command}`"))?;
                match blocks.last_mut() {
                    Some(Block { place: last, lines }) if *last == place => lines.push(command.into()),
                    _ => blocks.push(Block { place, lines: vec![command.into()] }),
                }
                is_over = true;
            }
            None => {
                if std::mem::take(&mut is_over) {
                    paragraph.clear();
                }
                paragraph = format!("{paragraph} {said}");
            }
        }
    }
    Ok(blocks)
}

/// Where the lines below this paragraph are typed, if it says so at its end.
fn where_to_type(paragraph: &str) -> Option<Place> {
    let words = paragraph.strip_suffix(':')?.to_lowercase();
    let ends = |end: &str| words.ends_with(end);
    if ends("on the new host") {
        Some(Place::NewHost)
    } else if ends("on the host") || ends("on the old host") {
        Some(Place::Host)
    } else if ends("in the guest") {
        Some(Place::Guest)
    } else {
        None
    }
}

/// A command with its words in capitals replaced, and without its comment.
///
/// # Errors
/// One of them has no value.
pub fn filled(command: &str, values: &[(&str, &str)]) -> Result<String> {
    let command = command.split("  #").next().unwrap_or(command).trim_end();
    let mut filled = String::new();
    let mut rest = command;
    while let Some(at) = rest.find(|c: char| c.is_ascii_uppercase()) {
        let (before, from) = rest.split_at(at);
        let end = from.find(|c: char| !c.is_ascii_uppercase() && c != '-').unwrap_or(from.len());
        let (word, after) = from.split_at(end);
        filled += before;
        // `FILE` and `NEW-ADDRESS` are replaced; one capital alone is an option or a letter.
        filled += match values.iter().find(|(name, _)| *name == word) {
            Some((_, value)) => value,
            None if word.len() == 1 => word,
            None => bail!("nobody says what {word} is in `{command}`"),
        };
        rest = after;
    }
    Ok(filled + rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# A\n\nOn the host:\n\n    one FILE\n\n## B\n\nText.\n\nStop it. On\nthe old host:\n\n    two\n    \
                        three  # why\n\nIn the guest:\n\n    four\n\nOn the new host:\n\n    five\n\nText\n\n## C\n\nText\n\n## D\n\n\
                        In a field:\n\n    six\n";

    #[test]
    fn a_section_has_what_is_typed_where_and_no_more() {
        let found = blocks(TEXT, "B").expect("a section");
        let expected =
            [(Place::Host, &["two", "three  # why"][..]), (Place::Guest, &["four"]), (Place::NewHost, &["five"])];
        let expected: Vec<_> = expected
            .into_iter()
            .map(|(place, lines)| Block { place, lines: lines.iter().map(ToString::to_string).collect() })
            .collect();
        assert_eq!(found, expected);
        assert_eq!(blocks(TEXT, "C").expect("a section"), Vec::new());
        for (what, heading) in [("nobody says where", "D"), ("no section", "E")] {
            blocks(TEXT, heading).expect_err(what);
        }
    }

    #[test]
    fn only_words_in_capitals_are_replaced_and_all_of_them() {
        let values = [("FILE", "/root/x"), ("NEW-ADDRESS", "10.0.0.14")];
        let command = "cp -a FILE /etc  # a copy";
        assert_eq!(filled(command, &values).expect("filled"), "cp -a /root/x /etc");
        let command = "sed -i 's/^advertise = .*/advertise = [\"NEW-ADDRESS:7443\"]/' /etc/x";
        let expected = "sed -i 's/^advertise = .*/advertise = [\"10.0.0.14:7443\"]/' /etc/x";
        assert_eq!(filled(command, &values).expect("filled"), expected);
        let unknown = filled("cp OTHER-FILE FILE", &values).expect_err("no value");
        assert!(unknown.to_string().contains("OTHER-FILE"), "{unknown}");
    }
}

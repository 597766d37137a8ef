//! The command lines that documents show.
//!
//! `xtask` compiles this file, too, for its own commands.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A command line, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shown {
    /// As `docs/proxmox.md:12`.
    pub(crate) place: String,
    /// Its words, the program's name first (for `cargo xtask`, two of them).
    pub(crate) words: Vec<String>,
}

/// A line for each command in the documents that `refusal` has something against, and how many commands there are.
pub(crate) fn refused(programs: &[&str], refusal: impl Fn(&Shown) -> Option<String>) -> (Vec<String>, usize) {
    let (mut refused, mut count) = (Vec::new(), 0);
    for path in documents() {
        let text = fs::read_to_string(&path).expect("a document");
        let name = path.display().to_string();
        let name = name.rsplit_once("/../").map_or(name.as_str(), |(_, name)| name);
        for one in shown(programs, name, &text) {
            count += 1;
            if let Some(why) = refusal(&one) {
                refused.push(format!("{}: {}: {}", one.place, one.words.join(" "), why.lines().next().unwrap_or("")));
            }
        }
    }
    (refused, count)
}

/// Every document: those at the top, docs and packaging.
fn documents() -> Vec<PathBuf> {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let mut found = vec![root.join("README.md"), root.join("CONTRIBUTING.md"), root.join("SECURITY.md")];
    list(&root.join("docs"), &mut found);
    list(&root.join("packaging"), &mut found);
    found
}

fn list(directory: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> =
        fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("it").path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            list(&path, found);
        } else if path.extension().is_some_and(|end| end == "md") {
            found.push(path);
        }
    }
}

/// The commands of these programs in a document.
fn shown(programs: &[&str], name: &str, text: &str) -> Vec<Shown> {
    let (mut found, mut is_fenced, mut is_output) = (Vec::new(), false, false);
    let mut prose = String::new();
    let mut lines = text.lines().enumerate().peekable();
    while let Some((index, line)) = lines.next() {
        if let Some(language) = line.trim_start().strip_prefix("```") {
            is_fenced = !is_fenced;
            // What a program prints, and how it is used.
            is_output = is_fenced && language == "text";
            prose.push('\n');
            continue;
        }
        if !is_fenced && !line.starts_with("    ") {
            prose.push_str(line);
            prose.push('\n');
            continue;
        }
        prose.push('\n');
        if is_output {
            continue;
        }
        let mut whole = line.trim().to_owned();
        while let Some(begun) = whole.strip_suffix('\\') {
            let Some((_, next)) = lines.next() else { break };
            prose.push('\n');
            whole = format!("{begun}{}", next.trim());
        }
        found.extend(command(programs, &whole).map(|words| Shown { place: format!("{name}:{}", index + 1), words }));
    }
    found.extend(inline(programs, name, &prose));
    found
}

/// The commands between single backticks, which may go on in the next line.
fn inline(programs: &[&str], name: &str, prose: &str) -> Vec<Shown> {
    let (mut found, mut line) = (Vec::new(), 1);
    for (index, part) in prose.split('`').enumerate() {
        if index % 2 == 1
            && let Some(words) = command(programs, part)
        {
            found.push(Shown { place: format!("{name}:{line}"), words });
        }
        line += part.matches('\n').count();
    }
    found
}

/// The words of a line that is a command of one of these programs, alone or in a pipe.
fn command(programs: &[&str], line: &str) -> Option<Vec<String>> {
    let line = line.trim().trim_start_matches("$ ").trim_start_matches("# ");
    // In a table a bar is escaped; between words without spaces it is a choice, and no pipe.
    let line = line.replace("\\|", "|").replace("; ", " | ");
    line.split(" | ").find_map(|part| {
        let part = part.split(" #").next().unwrap_or(part);
        let part = part.split("   (").next().unwrap_or(part);
        let mut words: Vec<String> = shell_words(part)?;
        if words.first().is_some_and(|word| word == "sudo") {
            words.remove(0);
        }
        // What a shell does with the output.
        if let Some(at) = words.iter().position(|word| [">", "<", "2>", ">>", "&&", "&"].contains(&word.as_str())) {
            words.truncate(at);
        }
        let starts = |program: &&str| {
            let name: Vec<_> = program.split(' ').collect();
            words.len() >= name.len() && words.iter().zip(&name).all(|(word, part)| word == part)
        };
        programs.iter().any(starts).then_some(words)
    })
}

/// The words as a shell has them; none where quotes are open.
fn shell_words(text: &str) -> Option<Vec<String>> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in text.chars() {
        match (quote, c) {
            (Some(end), c) if c == end => quote = None,
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

#[test]
fn commands_are_found_wherever_they_are_shown() {
    let text = "# A\n\nRun `pinion guest\nlist`, not `pinion.service`.\n\n    $ pinion status   # all\n    sudo pinion plan \\\n      new.json\n\n\
        ```sh\npinion token create --guest 1001 | ssh root@guest pinion-agent join\n```\n";
    let found = shown(&["pinion"], "a.md", text);
    let lines: Vec<_> = found.iter().map(|one| format!("{} {}", one.place, one.words.join(" "))).collect();
    assert_eq!(
        lines,
        [
            "a.md:6 pinion status",
            "a.md:7 pinion plan new.json",
            "a.md:11 pinion token create --guest 1001",
            "a.md:3 pinion guest list",
        ]
    );
}

//! From a line to its [`Step`]s: where each command ran, and what it did.
//!
//! Invariant: every command of a line is a step; one that is not known is [`What::Left`], with the reason.

use pinion_proto::{id::Guest, printable::is_printable, spec::Unit};

use super::{
    docker, files,
    options::Arguments,
    service,
    shell::{self, Statement, Words, is_plain},
    sources::Sources,
    step::{Left, Step, Verb, What},
};

/// Shells within shells, as in `pct exec 101 -- bash -c '…'`.
const MAX_DEPTH: usize = 4;

/// Each `*` of a pattern multiplies what there is to try.
const MAX_STARS: usize = 3;

/// A line as its steps.
#[derive(Debug, Default)]
pub(super) struct Line {
    pub(super) steps: Vec<Step>,
    /// Every command ran only if those before it succeeded.
    pub(super) chained: bool,
}

/// Reads a line that ran on the host.
pub(super) fn read(line: &str, sources: Sources<'_>) -> Line {
    let mut reader = Reader { sources, line: Line { steps: Vec::new(), chained: true } };
    reader.script(line, Guest::Host, 0);
    reader.line
}

struct Reader<'e> {
    sources: Sources<'e>,
    line: Line,
}

impl Reader<'_> {
    fn script(&mut self, line: &str, guest: Guest, depth: usize) {
        let script = shell::read(line);
        self.line.chained &= script.chained;
        for statement in script.statements {
            match statement {
                Statement::Command(words) => self.words(&words, guest, depth),
                Statement::Choice(meant, rest) => self.choice(&meant, &rest, guest, depth),
                Statement::Other(why) => self.left(guest, why, None, line.trim().to_owned()),
            }
        }
    }

    /// `mv … && reload || restart`: known where everything but the files is about one unit.
    fn choice(&mut self, meant: &[Words], rest: &[Words], guest: Guest, depth: usize) {
        let shown = |all: &[Words]| all.iter().map(|words| show(&words.all)).collect::<Vec<_>>().join(" && ");
        let shown = format!("{} || {}", shown(meant), shown(rest));
        let (meant, rest) = (self.apart(meant, guest, depth), self.apart(rest, guest, depth));
        let about = |steps: &[Step]| -> Vec<(Guest, Unit, Verb)> {
            let service = |step: &Step| match &step.what {
                What::Service(unit, verb) => Some((step.guest, unit.clone(), *verb)),
                _ => None,
            };
            steps.iter().filter_map(service).collect()
        };
        let is_idle = |what: &What| matches!(what, What::Service(..) | What::Check | What::Nothing);
        let known =
            meant.iter().all(|step| !matches!(step.what, What::Left(_))) && rest.iter().all(|step| is_idle(&step.what));
        let all = [about(&meant), about(&rest)].concat();
        let strongest = all.iter().map(|(_, _, verb)| *verb).max();
        match (all.first(), strongest) {
            (Some((at, unit, _)), Some(verb))
                if known && !about(&meant).is_empty() && all.iter().all(|one| (&one.0, &one.1) == (at, unit)) =>
            {
                for step in meant.into_iter().filter(|step| !is_idle(&step.what)) {
                    self.push(step.guest, step.what, step.shown);
                }
                self.push(*at, What::Service(unit.clone(), verb), shown);
            }
            _ => {
                let at = meant.first().map_or(guest, |step| step.guest);
                self.left(at, "some of its commands run only if others fail or succeed (`||`)".into(), None, shown);
            }
        }
    }

    /// The steps of commands, which do not belong to the line yet.
    fn apart(&mut self, commands: &[Words], guest: Guest, depth: usize) -> Vec<Step> {
        let before = self.line.steps.len();
        for words in commands {
            self.words(words, guest, depth);
        }
        self.line.steps.split_off(before)
    }

    /// File patterns are known where files get owners and permissions, which other files had, too.
    fn words(&mut self, words: &Words, guest: Guest, depth: usize) {
        let takes = matches!(program(&words.all), "chown" | "chgrp" | "chmod");
        let is_simple = |pattern: &String| !pattern.contains('[') && pattern.matches('*').count() <= MAX_STARS;
        match words.patterns.iter().find(|pattern| !takes || !is_simple(pattern)) {
            Some(pattern) => {
                let why = format!("it has a file pattern (`{pattern}`)");
                self.left(guest, why, None, words.all.join(" "));
            }
            None => self.command(&words.all, guest, depth),
        }
    }

    fn command(&mut self, words: &[String], guest: Guest, depth: usize) {
        let shown = show(words);
        let words = if program(words) == "sudo" { words.get(1..).unwrap_or_default() } else { words };
        let name = program(words);
        let rest = words.get(1..).unwrap_or_default();
        if guest == Guest::Host {
            match into_guest(name, rest) {
                Some(Ok((inside, command))) => return self.command(command, inside, depth),
                Some(Err(why)) => return self.left(guest, why.into(), None, shown),
                None => {}
            }
        }
        if matches!(name, "bash" | "sh" | "dash" | "ash") {
            return self.inner_shell(rest, guest, depth, shown);
        }
        if let Some(word) = words.iter().find(|word| !is_plain(word)) {
            let why = format!("`{word}` means something else to a shell");
            return self.left(guest, why, None, shown);
        }
        let found = match name {
            "pct" if guest == Guest::Host => files::push(rest, &self.sources),
            "mv" | "cp" | "install" => files::put(name, rest, guest, &self.sources),
            "chown" | "chgrp" | "chmod" | "rm" | "mkdir" => files::change(name, rest, guest, &self.sources),
            "systemctl" | "service" | "rc-service" | "nginx" | "invoke-rc.d" => service::what(name, rest),
            "docker" => docker::what(rest, guest, &self.sources),
            "true" | ":" | "echo" | "sleep" | "set" | "sync" => Ok(vec![(guest, What::Nothing)]),
            _ => Err(unknown(name)),
        };
        match found {
            Ok(all) => {
                for (at, what) in all {
                    // What is done in the place of the command itself is in its guest; a push says its own.
                    let at = if at == Guest::Host { guest } else { at };
                    self.push(at, what, shown.clone());
                }
            }
            Err(why) => self.left(guest, why, again(words), shown),
        }
    }

    fn inner_shell(&mut self, rest: &[String], guest: Guest, depth: usize, shown: String) {
        let flag = rest.iter().position(|word| word.starts_with('-') && !word.starts_with("--") && word.contains('c'));
        match flag.and_then(|flag| rest.get(flag + 1)) {
            Some(script) if depth < MAX_DEPTH => self.script(script, guest, depth + 1),
            Some(_) => self.left(guest, "it is a shell in a shell in a shell".into(), None, shown),
            None => self.left(guest, "it runs a script".into(), again_shell(rest), shown),
        }
    }

    fn push(&mut self, guest: Guest, what: What, shown: String) {
        let step = Step { guest, what, shown };
        self.sources.note(&step);
        self.line.steps.push(step);
    }

    fn left(&mut self, guest: Guest, why: String, command: Option<String>, shown: String) {
        self.push(guest, What::Left(Left { why, command }), shown);
    }
}

/// The program's name without its directory.
fn program(words: &[String]) -> &str {
    let name = words.first().map(String::as_str).unwrap_or_default();
    name.rsplit('/').next().unwrap_or(name)
}

/// The guest into which a command of the hypervisor's goes, and what runs there.
fn into_guest<'w>(name: &str, rest: &'w [String]) -> Option<Result<(Guest, &'w [String]), &'static str>> {
    const UNREADABLE: &str = "its guest or command cannot be read";
    let (rest, id_option) = match (name, rest.first().map(String::as_str), rest.get(1).map(String::as_str)) {
        ("pct", Some("exec"), _) => (rest.get(1..)?, None),
        ("qm", Some("guest"), Some("exec")) => (rest.get(2..)?, None),
        ("lxc-attach", _, _) => (rest, Some(["-n", "--name"])),
        _ => return None,
    };
    // Without `--`, the command begins after the guest's number.
    let dashes = rest.iter().position(|word| word == "--");
    let (before, command) = match (dashes, id_option) {
        (Some(at), _) => (rest.get(..at).unwrap_or_default(), rest.get(at + 1..).unwrap_or_default()),
        (None, None) => (rest.get(..1).unwrap_or_default(), rest.get(1..).unwrap_or_default()),
        (None, Some(_)) => return Some(Err(UNREADABLE)),
    };
    let valued = ["--timeout", "--pass-stdin", "--synchronous", "--user", "-n", "--name"];
    let Some(arguments) = Arguments::read(before, &valued) else { return Some(Err(UNREADABLE)) };
    let id = match id_option {
        Some(names) => arguments.value(&names),
        None => arguments.operands.first().map(String::as_str),
    };
    let guest = id.filter(|id| *id != "host").and_then(|id| id.parse::<Guest>().ok());
    match guest {
        Some(guest) if !command.is_empty() && !command.iter().any(|word| word == "--") => Some(Ok((guest, command))),
        _ => Some(Err(UNREADABLE)),
    }
}

fn unknown(name: &str) -> String {
    match name {
        "ssh" | "scp" | "rsync" => {
            format!("`{name}` goes to another machine, in which Pinion needs an agent of its own")
        }
        "update-ca-certificates" | "update-ca-trust" => {
            "an entry with \"trust\": true installs roots, see docs/manifest.md".to_owned()
        }
        _ => format!("Pinion does not know `{name}`"),
    }
}

/// A command as a person reads it: control characters are escaped where it is printed.
pub(super) fn show(words: &[String]) -> String {
    words.iter().map(|word| quoted(word).unwrap_or_else(|| word.clone())).collect::<Vec<_>>().join(" ")
}

/// A command as a shell reads it; none if nobody could see what that is.
fn again(words: &[String]) -> Option<String> {
    // What was one redirection for the parser may have been two.
    let is_seen = |word: &String| word.chars().all(is_printable) && !word.contains("/dev/null");
    if !words.iter().all(is_seen) {
        return None;
    }
    words.iter().map(|word| quoted(word)).collect::<Option<Vec<_>>>().map(|words| words.join(" "))
}

fn again_shell(rest: &[String]) -> Option<String> {
    let words: Vec<_> = std::iter::once("sh".to_owned()).chain(rest.iter().cloned()).collect();
    again(&words)
}

fn quoted(word: &str) -> Option<String> {
    shlex::try_quote(word).ok().map(|quoted| quoted.into_owned())
}

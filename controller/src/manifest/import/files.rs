//! Commands that put files into their places, and give them owners and permissions.

use pinion_proto::{
    id::Guest,
    spec::{FileMode, GuestPath},
};

use super::{
    options::Arguments,
    sources::{Sources, is_temporary},
    step::{Owners, Paths, What},
};

type Found = Result<Vec<(Guest, What)>, String>;

/// `mv`, `cp` and `install`.
pub(super) fn put(program: &str, rest: &[String], guest: Guest, sources: &Sources<'_>) -> Found {
    let valued = ["-m", "--mode", "-o", "--owner", "-g", "--group"];
    let valued = if program == "install" { &valued[..] } else { &[] };
    let arguments = Arguments::read(rest, valued).ok_or("an option has no value")?;
    if program == "install" && arguments.has(&["-d", "--directory"]) {
        return Ok(vec![(guest, What::Nothing)]);
    }
    const KNOWN: &[&str] = &[
        "-f",
        "--force",
        "-v",
        "--verbose",
        "-p",
        "-a",
        "-L",
        "-T",
        "-D",
        "-C",
        "-u",
        "--remove-destination",
        "-m",
        "--mode",
        "-o",
        "--owner",
        "-g",
        "--group",
    ];
    if !arguments.only(KNOWN) {
        return Err(format!("Pinion does not know these options of `{program}`"));
    }
    let mode = mode_of(arguments.value(&["-m", "--mode"]))?;
    let account = Owners {
        user: account(arguments.value(&["-o", "--owner"]))?,
        group: account(arguments.value(&["-g", "--group"]))?,
    };
    let [from @ .., to] = arguments.operands.as_slice() else { return Err("it names no files".into()) };
    if from.is_empty() {
        return Err("it names one file only".into());
    }
    let mut all = Vec::new();
    for source in from {
        let Some(part) = sources.part(guest, source) else {
            return Err(format!("`{source}` is no file of this certificate"));
        };
        let to = destination(source, to, from.len() > 1)?;
        all.push((guest, What::Put { part, from: source.clone(), to, account: account.clone(), mode }));
    }
    Ok(all)
}

/// `pct push ID SOURCE DESTINATION`, of the certificate's own pair.
pub(super) fn push(rest: &[String], sources: &Sources<'_>) -> Found {
    let [verb, rest @ ..] = rest else { return Err("Pinion does not know `pct`".into()) };
    if verb != "push" {
        return Err(format!("Pinion does not know `pct {verb}`"));
    }
    let valued = ["--user", "--group", "--perms", "-user", "-group", "-perms"];
    let arguments = Arguments::read(rest, &valued).ok_or("an option has no value")?;
    let [id, from, to] = arguments.operands.as_slice() else { return Err("its files cannot be read".into()) };
    let guest: Guest = id.parse().map_err(|_| format!("`{id}` is not a VMID"))?;
    if guest == Guest::Host || !arguments.only(&valued) {
        return Err("its guest or options cannot be read".into());
    }
    let Some(part) = sources.part(Guest::Host, from) else {
        return Err(format!("`{from}` is no file of this certificate"));
    };
    let to = destination(from, to, false)?;
    let account = Owners {
        user: account(arguments.value(&["--user", "-user"]))?,
        group: account(arguments.value(&["--group", "-group"]))?,
    };
    let mode = mode_of(arguments.value(&["--perms", "-perms"]))?;
    Ok(vec![(guest, What::Put { part, from: from.clone(), to, account, mode })])
}

/// `chown`, `chgrp`, `chmod`, `mkdir`, and `rm` of what is put aside.
pub(super) fn change(program: &str, rest: &[String], guest: Guest, sources: &Sources<'_>) -> Found {
    let valued: &[&str] = if program == "mkdir" { &["-m", "--mode"] } else { &[] };
    let arguments = Arguments::read(rest, valued).ok_or("an option has no value")?;
    let one = |what| Ok(vec![(guest, what)]);
    if program == "mkdir" {
        // The agent makes directories itself.
        return one(What::Nothing);
    }
    if program == "rm" {
        let ours = arguments.operands.iter().all(|path| sources.part(guest, path).is_some() && is_temporary(path));
        return if ours { one(What::Nothing) } else { Err("it removes files that are not this certificate's".into()) };
    }
    let recursive = arguments.has(&["-R", "--recursive"]);
    if !arguments.only(&["-R", "--recursive", "-f", "-v", "-h", "-c", "--verbose", "--silent", "--quiet"]) {
        return Err(format!("Pinion does not know these options of `{program}`"));
    }
    let [said, paths @ ..] = arguments.operands.as_slice() else { return Err("it names no files".into()) };
    if paths.is_empty() {
        return Err("it names no files".into());
    }
    let paths = Paths { all: paths.to_vec(), recursive };
    let unknown = || format!("Pinion does not know `{program} {said}`");
    one(match program {
        "chmod" => What::Mode { mode: mode_of(Some(said))?.ok_or_else(unknown)?, paths },
        "chgrp" => {
            What::Own { account: Owners { user: None, group: Some(said.parse().map_err(|_| unknown())?) }, paths }
        }
        _ => What::Own { account: Owners::parse(said).ok_or_else(unknown)?, paths },
    })
}

/// The file that a source becomes, where the destination may be a directory.
fn destination(source: &str, to: &str, many: bool) -> Result<GuestPath, String> {
    let name = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
    let file = if many || to.ends_with('/') {
        format!("{}/{}", to.trim_end_matches('/'), name(source))
    } else if name(to).contains('.') {
        to.to_owned()
    } else {
        return Err(format!("`{to}` may be a file or a directory"));
    };
    file.parse().map_err(|_| format!("`{to}` is not an absolute path without `.` and `..`"))
}

fn account(text: Option<&str>) -> Result<Option<pinion_proto::spec::Account>, String> {
    text.map(|text| text.parse().map_err(|_| format!("`{text}` is not a user or group"))).transpose()
}

/// Octal digits; no setuid, setgid or sticky bit.
fn mode_of(text: Option<&str>) -> Result<Option<FileMode>, String> {
    text.map(|text| text.parse().map_err(|_| format!("`{text}` are not permissions in octal digits"))).transpose()
}

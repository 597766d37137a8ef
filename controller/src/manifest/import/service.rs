//! Commands that notify a unit.

use pinion_proto::{id::Guest, spec::Unit};

use super::{
    options::Arguments,
    step::{Verb, What},
};

type Found = Result<Vec<(Guest, What)>, String>;

/// `systemctl`, `service`, `rc-service`, and nginx's own ways.
pub(super) fn what(program: &str, rest: &[String]) -> Found {
    // Whatever the guest is, it is that of the command.
    let one = |what| Ok(vec![(Guest::Host, what)]);
    let words: Vec<&str> = rest.iter().map(String::as_str).collect();
    match (program, words.as_slice()) {
        ("nginx", ["-t" | "-T" | "-tq" | "-qt"] | ["-t", "-q"] | ["-q", "-t"]) => one(What::Check),
        ("nginx", ["-s", "reload"]) => one(What::Service(unit("nginx")?, Verb::Reload)),
        ("nginx", _) => Err("Pinion does not know these options of `nginx`".into()),
        ("systemctl", _) => systemctl(rest),
        (_, [name, verb]) => one(What::Service(unit(name)?, known(verb)?)),
        _ => Err(format!("Pinion does not know this use of `{program}`")),
    }
}

fn systemctl(rest: &[String]) -> Found {
    let arguments = Arguments::read(rest, &[]).ok_or("an option has no value")?;
    if !arguments.only(&["-q", "--quiet", "--no-block", "--no-pager", "--no-ask-password", "-f", "--force"]) {
        return Err("Pinion does not know these options of `systemctl`".into());
    }
    match arguments.operands.as_slice() {
        [verb, names @ ..] if !names.is_empty() => {
            let verb = known(verb)?;
            names.iter().map(|name| Ok((Guest::Host, What::Service(unit(name)?, verb)))).collect()
        }
        _ => Err("Pinion does not know this use of `systemctl`".into()),
    }
}

fn known(verb: &str) -> Result<Verb, String> {
    Ok(match verb {
        "reload" | "reload-or-restart" | "try-reload-or-restart" | "force-reload" => Verb::Reload,
        "restart" | "try-restart" | "condrestart" => Verb::Restart,
        "start" => Verb::Start,
        "stop" => Verb::Stop,
        "is-active" | "status" => Verb::Ask,
        _ => return Err(format!("Pinion does not {verb} units")),
    })
}

fn unit(name: &str) -> Result<Unit, String> {
    let suffixes = [".socket", ".timer", ".target", ".path", ".mount", ".slice"];
    if suffixes.iter().any(|suffix| name.ends_with(suffix)) {
        return Err(format!("`{name}` is not a service"));
    }
    let full = if name.ends_with(".service") { name.to_owned() } else { format!("{name}.service") };
    full.parse().map_err(|_| format!("`{name}` is not the name of a unit"))
}

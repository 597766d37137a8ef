//! docker's commands: containers, secrets, and Swarm services.

use pinion_proto::{
    containers::{ContainerSignal, SecretName, ServiceName},
    id::Guest,
};

use super::{options::Arguments, sources::Sources, step::What};

type Found = Result<Vec<(Guest, What)>, String>;

/// What follows `docker`.
pub(super) fn what(rest: &[String], guest: Guest, sources: &Sources<'_>) -> Found {
    let words: Vec<&str> = rest.iter().map(String::as_str).collect();
    let after = |count: usize| rest.get(count..).unwrap_or_default();
    match words.as_slice() {
        ["restart", ..] => restart(after(1)),
        ["container", "restart", ..] => restart(after(2)),
        ["kill", ..] => kill(after(1)),
        ["container", "kill", ..] => kill(after(2)),
        ["secret", "rm" | "remove", ..] => Ok(vec![(Guest::Host, What::SecretRemoved)]),
        ["secret", "create", ..] => create(after(2), guest, sources),
        ["service", "update", ..] => update(after(2)),
        ["exec", ..] => Err("Pinion runs nothing in a container; if the program reads its files after a signal, \
                             \"reload\": {\"signal\": …} sends it"
            .into()),
        ["compose" | "stack" | "context", verb, ..] => {
            Err(format!("Pinion does not run `docker {} {verb}`", words.first().unwrap_or(&"")))
        }
        [verb, ..] => Err(format!("Pinion does not run `docker {verb}`")),
        [] => Err("it names no command of docker's".into()),
    }
}

fn restart(rest: &[String]) -> Found {
    let arguments =
        Arguments::read(rest, &["-t", "--time", "--timeout", "-s", "--signal"]).ok_or("an option has no value")?;
    if arguments.operands.is_empty() {
        return Err("it names no container".into());
    }
    let container = |name: &String| {
        let name = name.parse().map_err(|error| format!("{error}"))?;
        Ok((Guest::Host, What::Container(name)))
    };
    arguments.operands.iter().map(container).collect()
}

fn kill(rest: &[String]) -> Found {
    let arguments = Arguments::read(rest, &["-s", "--signal"]).ok_or("an option has no value")?;
    let signal = arguments.value(&["-s", "--signal"]).ok_or("it ends the container")?;
    let signal = signal.trim_start_matches("SIG");
    let signal = signal.parse().map_err(|error| format!("{error}"))?;
    let container = |name: &String| {
        let container = name.parse().map_err(|error| format!("{error}"))?;
        Ok((Guest::Host, What::Signal(ContainerSignal { container, signal })))
    };
    arguments.operands.iter().map(container).collect()
}

fn create(rest: &[String], guest: Guest, sources: &Sources<'_>) -> Found {
    let arguments = Arguments::read(rest, &["-l", "--label"]).ok_or("an option has no value")?;
    let [name, file] = arguments.operands.as_slice() else { return Err("its secret or file cannot be read".into()) };
    let part = sources.part(guest, file).ok_or_else(|| format!("`{file}` is no file of this certificate"))?;
    let name = name.parse().map_err(|error| format!("{error}"))?;
    Ok(vec![(Guest::Host, What::SecretCreated(name, part))])
}

fn update(rest: &[String]) -> Found {
    let arguments = Arguments::read(rest, &["--secret-rm", "--secret-add"]).ok_or("an option has no value")?;
    if !arguments.only(&["--force", "-d", "--detach", "-q", "--quiet", "--secret-rm", "--secret-add"]) {
        return Err("Pinion does not know these options of `docker service update`".into());
    }
    let [name] = arguments.operands.as_slice() else { return Err("its service cannot be read".into()) };
    let service: ServiceName = name.parse().map_err(|error| format!("{error}"))?;
    let added =
        arguments.options.iter().filter(|(name, _)| name == "--secret-add").filter_map(|(_, value)| value.as_deref());
    let seen = added.map(seen).collect::<Option<Vec<_>>>().ok_or("its secrets cannot be read")?;
    Ok(vec![(Guest::Host, What::SwarmUpdated(service, seen))])
}

/// `source=NAME,target=AS` or `NAME`: as what the service sees it, and which secret it is.
fn seen(text: &str) -> Option<(String, SecretName)> {
    let fields = || text.split(',').filter_map(|field| field.split_once('='));
    let value = |names: [&str; 2]| fields().find(|(name, _)| names.contains(name)).map(|(_, value)| value);
    let source = value(["source", "src"]).unwrap_or(text);
    let target = value(["target", "dst"]).unwrap_or(source);
    Some((target.to_owned(), source.parse().ok()?))
}

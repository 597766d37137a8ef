//! What is not given is asked, where somebody can be asked.
//!
//! Invariant: without a terminal, or with `--yes`, nothing is asked: all flags that are missing are named at once. A root that
//! a CA shows is taken only when a person says that it is the right one.

use std::{fmt::Display, sync::Arc};

use pinion_proto::{
    bundle::{Fingerprint, RootCertificate},
    clock::SystemClock,
    exit::Exit,
    keyboard,
    printable::Shown,
};

use super::{
    args::{Kind, SetupArgs},
    report::Report,
};
use crate::{
    config::Advertised,
    issuer::{CaUrl, IssuerError, shown_roots},
    setup::{
        Signer, Wanted,
        addresses::{self, Found},
        wanted::{PROVISIONER, advertised, shown},
    },
};

/// Why setup ends before its end.
#[derive(Debug)]
pub(super) struct Stopped {
    pub(super) exit: Exit,
    /// Empty where it has been said already.
    pub(super) why: String,
}

impl Stopped {
    pub(super) fn usage(why: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, why: why.into() }
    }

    pub(super) fn blocked(why: impl Into<String>) -> Self {
        Self { exit: Exit::Blocked, why: why.into() }
    }

    pub(super) fn internal(why: impl Into<String>) -> Self {
        Self { exit: Exit::Internal, why: why.into() }
    }
}

/// So often a question is asked again after an answer that makes no sense.
const MAX_TRIES: usize = 5;

/// Everything that is wanted.
pub(super) async fn answers(args: SetupArgs, report: &Report) -> Result<Wanted, Stopped> {
    if args.issuer == Some(Kind::Embedded) && args.names_a_ca() {
        return Err(Stopped::usage("`--url`, `--fingerprint` and `--provisioner` belong to `--issuer step-ca`"));
    }
    let proposal = match args.advertise.is_empty() {
        true => addresses::proposed(&addresses::found().await, addresses::is_bridge),
        false => Vec::new(),
    };
    let may_ask = keyboard::is_there() && !args.yes;
    if !may_ask {
        return given(args, &proposal, report).await;
    }
    let advertise = match args.advertise.is_empty() {
        true => ask_addresses(&proposal).await?,
        false => args.advertise,
    };
    let is_step_ca = args.url.is_some() || args.fingerprint.is_some() || args.provisioner.is_some();
    let kind = match args.issuer {
        Some(kind) => kind,
        None if is_step_ca => Kind::StepCa,
        None => ask("Who signs your certificates: `step-ca`, or `embedded` (a CA inside Pinion)? ", None, kind).await?,
    };
    if kind == Kind::Embedded {
        return Ok(Wanted { advertise, signer: Signer::Embedded });
    }
    let url = match args.url {
        Some(url) => url,
        None => ask("URL of your step-ca (an address, for example https://10.0.0.10:9000): ", None, url).await?,
    };
    let fingerprint = match args.fingerprint {
        Some(fingerprint) => fingerprint,
        None => compared(&url).await?,
    };
    let provisioner = match args.provisioner {
        Some(provisioner) => provisioner,
        None => {
            let question = format!("JWK provisioner that signs for Pinion [{PROVISIONER}]: ");
            ask(&question, Some(PROVISIONER), |text| Ok::<_, String>(text.to_owned())).await?
        }
    };
    Ok(Wanted { advertise, signer: Signer::StepCa { url, fingerprint, provisioner } })
}

/// What is given, where nobody can be asked.
async fn given(args: SetupArgs, proposal: &[Found], report: &Report) -> Result<Wanted, Stopped> {
    let mut missing = Vec::new();
    let mut advertise = args.advertise;
    if advertise.is_empty() && args.yes {
        advertise = dialled(proposal);
        if !advertise.is_empty() {
            report.line(&format!("guests dial this host at {}", list(&advertise)));
        }
    }
    if advertise.is_empty() {
        missing.push("--advertise ADDR:PORT");
    }
    let is_step_ca = args.issuer == Some(Kind::StepCa) || args.url.is_some() || args.fingerprint.is_some();
    if args.issuer.is_none() && !is_step_ca {
        missing.push("--issuer embedded or --issuer step-ca");
    }
    let mut hint = String::new();
    if is_step_ca {
        if args.url.is_none() {
            missing.push("--url https://HOST:PORT");
        }
        if args.fingerprint.is_none() {
            missing.push("--fingerprint SHA256");
            hint = hinted(args.url.as_ref()).await;
        }
        if args.provisioner.is_none() && !args.yes {
            missing.push("--provisioner NAME");
        }
    }
    let signer = match (args.url, args.fingerprint) {
        _ if !missing.is_empty() => {
            let ask = if args.yes { "" } else { ", or run this command on a terminal, where it asks" };
            return Err(Stopped::usage(format!("give {}{ask}{hint}", missing.join(", "))));
        }
        (Some(url), Some(fingerprint)) => {
            let provisioner = args.provisioner.unwrap_or_else(|| PROVISIONER.to_owned());
            Signer::StepCa { url, fingerprint, provisioner }
        }
        _ => Signer::Embedded,
    };
    Ok(Wanted { advertise, signer })
}

/// Which root the CA shows, for a person to compare: that is for reading, and used for nothing.
async fn hinted(url: Option<&CaUrl>) -> String {
    let Some(url) = url else { return String::new() };
    match shown_roots(url, Arc::new(SystemClock)).await {
        Ok(roots) => {
            let prints: Vec<_> = roots.iter().map(|root| root.fingerprint().to_string()).collect();
            format!(
                "; the CA at {} shows the root {}: compare it with what `step certificate fingerprint root_ca.crt` prints \
                 on the CA before you give it",
                url.as_str(),
                prints.join(" and ")
            )
        }
        Err(error) => format!("; {error}"),
    }
}

async fn ask_addresses(proposal: &[Found]) -> Result<Vec<Advertised>, Stopped> {
    let entries = dialled(proposal);
    let mut question = String::new();
    for (found, entry) in proposal.iter().zip(&entries) {
        question += &format!("  {}  {}\n", shown(entry), Shown(&found.interface));
    }
    if entries.is_empty() {
        question += "Addresses of this host as guests see them, with port 7443: ";
    } else {
        question = format!("This host has these addresses:\n{question}");
        question += "At which of them do guests reach it? One for each network with guests; Enter takes all: ";
    }
    let proposed = (!entries.is_empty()).then(|| list(&entries));
    let read = |text: &str| -> Result<Vec<Advertised>, String> {
        let words = text.split([' ', ',']).filter(|word| !word.is_empty());
        words.map(advertised).collect()
    };
    ask(&question, proposed.as_deref(), read).await
}

/// The addresses with the usual port.
fn dialled(found: &[Found]) -> Vec<Advertised> {
    found.iter().filter_map(|found| advertised(&found.address.to_string()).ok()).collect()
}

fn list(entries: &[Advertised]) -> String {
    entries.iter().map(shown).collect::<Vec<_>>().join(" ")
}

/// Fetches the CA's root, and asks whether it is the right one.
async fn compared(url: &CaUrl) -> Result<Fingerprint, Stopped> {
    let roots = shown_roots(url, Arc::new(SystemClock)).await.map_err(|error| {
        let exit = if matches!(error, IssuerError::Misconfigured { .. }) { Exit::Blocked } else { Exit::TimedOut };
        Stopped { exit, why: format!("{error}\nnothing was written: correct that, and run `pinion setup` again") }
    })?;
    for root in &roots {
        let question = format!("{}Is it the same?", presented(url, root));
        if keyboard::is_yes(&question).await {
            return Ok(root.fingerprint());
        }
    }
    Err(Stopped::usage("nothing was written: without the fingerprint of its root, Pinion trusts no CA"))
}

fn presented(url: &CaUrl, root: &RootCertificate) -> String {
    format!(
        "What answers at {} shows this root:\n  subject      {}\n  valid until  {}\n  SHA-256      {}\nCompare the SHA-256 \
         with what this command prints on the CA:\n  step certificate fingerprint $(step path)/certs/root_ca.crt\n",
        url.as_str(),
        Shown(&root.subject()),
        root.not_after(),
        root.fingerprint()
    )
}

fn kind(text: &str) -> Result<Kind, String> {
    match text {
        "step-ca" => Ok(Kind::StepCa),
        "embedded" => Ok(Kind::Embedded),
        _ => Err("answer `step-ca` or `embedded`".into()),
    }
}

fn url(text: &str) -> Result<CaUrl, String> {
    if text.contains("://") { text.parse() } else { format!("https://{text}").parse() }
}

/// Asks until the answer makes sense. An empty answer means `otherwise`.
async fn ask<T, E: Display>(
    question: &str,
    otherwise: Option<&str>,
    read: impl Fn(&str) -> Result<T, E>,
) -> Result<T, Stopped> {
    for _ in 0..MAX_TRIES {
        let line = keyboard::line(question).await;
        let line = line.map_err(|error| Stopped::usage(format!("cannot read the answer: {error}")))?;
        let Some(line) = line else { break };
        let answer = match otherwise {
            Some(otherwise) if line.is_empty() => otherwise,
            _ => &line,
        };
        if answer.is_empty() {
            continue;
        }
        match read(answer) {
            Ok(read) => return Ok(read),
            Err(error) => pinion_proto::errln!("{error}"),
        }
    }
    Err(Stopped::usage("nothing was written: there was no answer"))
}

//! What an agent saw, between the generated messages and the checked ones.
//!
//! Invariant: a text is short and printable, whoever wrote it, and there are few of them.

use super::{
    error::{WireError, at_most, parse, wrong},
    pb,
};
use crate::{
    clock::Timestamp,
    examination::{
        Examined, FileCertificate, GuestFinding, Listener, MAX_CERTIFICATES, MAX_FINDINGS, MAX_LISTENERS,
        MAX_SHOWN_NAMES, SeenCertificate, Subject,
    },
    id::shown,
    printable::line,
};

/// The longest sentence (characters).
const MAX_SENTENCE: usize = 1000;

pub(super) fn read_subject(word: &str) -> Result<Subject, WireError> {
    let all = [Subject::Discover, Subject::Doctor];
    all.into_iter().find(|subject| subject.as_str() == word).ok_or_else(|| wrong("examine.subject", shown(word)))
}

pub(super) fn read_examined(examined: pb::Examined) -> Result<Examined, WireError> {
    at_most("examined.left_out", examined.left_out.len(), MAX_FINDINGS)?;
    at_most("examined.findings", examined.findings.len(), MAX_FINDINGS)?;
    at_most("examined.listeners", examined.listeners.len(), MAX_LISTENERS)?;
    at_most("examined.certificates", examined.certificates.len(), MAX_CERTIFICATES)?;
    Ok(Examined {
        number: examined.number,
        now: Timestamp::from_unix(examined.now),
        left_out: examined.left_out.iter().map(|text| sentence(text)).collect(),
        findings: examined.findings.iter().map(read_finding).collect(),
        listeners: examined.listeners.iter().map(read_listener).collect::<Result<_, _>>()?,
        certificates: examined.certificates.iter().map(read_file).collect::<Result<_, _>>()?,
    })
}

pub(super) fn write_examined(examined: Examined) -> pb::Examined {
    let Examined { number, now, left_out, findings, listeners, certificates } = examined;
    pb::Examined {
        number,
        now: now.unix(),
        left_out: left_out.into_iter().take(MAX_FINDINGS).collect(),
        findings: findings.into_iter().take(MAX_FINDINGS).map(write_finding).collect(),
        listeners: listeners.into_iter().take(MAX_LISTENERS).map(write_listener).collect(),
        certificates: certificates.into_iter().take(MAX_CERTIFICATES).map(write_file).collect(),
    }
}

fn sentence(text: &str) -> String {
    line(text, MAX_SENTENCE)
}

fn read_finding(finding: &pb::GuestFinding) -> GuestFinding {
    let (message, remedy) = (sentence(&finding.message), sentence(&finding.remedy));
    GuestFinding { is_problem: finding.is_problem, message, remedy }
}

fn write_finding(finding: GuestFinding) -> pb::GuestFinding {
    let GuestFinding { is_problem, message, remedy } = finding;
    pb::GuestFinding { is_problem, message, remedy }
}

fn read_listener(listener: &pb::Listener) -> Result<Listener, WireError> {
    let starttls = listener.starttls.as_deref().map(|word| parse("listener.starttls", word)).transpose()?;
    Ok(Listener {
        address: parse("listener.address", &listener.address)?,
        program: shown(&listener.program),
        starttls,
        shows: listener.shows.as_ref().map(read_certificate).transpose()?,
        why_not: sentence(&listener.why_not),
    })
}

fn write_listener(listener: Listener) -> pb::Listener {
    let Listener { address, program, starttls, shows, why_not } = listener;
    pb::Listener {
        address: address.to_string(),
        program,
        starttls: starttls.map(|protocol| protocol.as_str().to_owned()),
        shows: shows.map(write_certificate),
        why_not,
    }
}

fn read_file(file: &pb::FileCertificate) -> Result<FileCertificate, WireError> {
    let holds = file.holds.as_ref().ok_or_else(|| super::error::missing("file_certificate.holds"))?;
    Ok(FileCertificate { path: parse("file_certificate.path", &file.path)?, holds: read_certificate(holds)? })
}

fn write_file(file: FileCertificate) -> pb::FileCertificate {
    pb::FileCertificate { path: file.path.to_string(), holds: Some(write_certificate(file.holds)) }
}

fn read_certificate(seen: &pb::SeenCertificate) -> Result<SeenCertificate, WireError> {
    at_most("seen_certificate.names", seen.names.len(), MAX_SHOWN_NAMES)?;
    let managed = Some(seen.managed.as_str()).filter(|name| !name.is_empty());
    Ok(SeenCertificate {
        names: seen.names.iter().map(|name| line(name, 255)).collect(),
        issuer: line(&seen.issuer, 255),
        serial: shown(&seen.serial),
        not_after: Timestamp::from_unix(seen.not_after),
        managed: managed.map(|name| parse("seen_certificate.managed", name)).transpose()?,
    })
}

fn write_certificate(seen: SeenCertificate) -> pb::SeenCertificate {
    let SeenCertificate { names, issuer, serial, not_after, managed } = seen;
    pb::SeenCertificate {
        names: names.into_iter().take(MAX_SHOWN_NAMES).collect(),
        issuer,
        serial,
        not_after: not_after.unix(),
        managed: managed.map(|name| name.to_string()).unwrap_or_default(),
    }
}

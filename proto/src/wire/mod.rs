//! Between the generated messages and the checked ones: the only module that touches generated code.
//!
//! Invariant: what comes out of [`read_to_controller`] and its siblings has passed the parsers of the
//! types it is made of; what comes off the wire malformed is a [`WireError`] that names the field.

mod adoption;
mod codec;
mod controllers;
mod count;
mod details;
mod error;
mod examination;
mod fingerprint;
mod limits;
mod purged;
mod spec;
mod trouble;
mod timing;
mod watched;

use prost::Message as _;
use zeroize::Zeroizing;

use crate::{
    bundle::{Chain, EndorsedRoot, Fingerprint, Leaf, MAX_DER, RootCertificate},
    clock::Timestamp,
    hwaddr::HwAddr,
    id::shown,
    message::{
        Delivery, Hello, IssuedIdentity, JoinRequest, JoinSecret, MAX_MANIFEST_PROBLEM, Purge, ToAgent, ToController,
    },
    printable::line,
    report::{GuestFacts, Held, Incoming, Notified, PlacementReport, Progress},
    spec::MAX_ROOTS,
};
pub use codec::{Codec, CountingDecoder};
pub use error::WireError;
use error::{at_most, missing, parse, wrong};
use fingerprint::read_fingerprint;
use limits::MAX_LEFT_BEHIND;
pub use limits::{Bounded, MAX_HWADDRS, MAX_NAMED, MAX_ORIGINALS, MAX_PLACEMENTS, MAX_TRUSTED};
use spec::{read_spec, write_spec};
use trouble::{printable, read_trouble, write_trouble};

#[rustfmt::skip]
#[path = "../gen/pinion.v1.rs"]
#[expect(missing_docs, unused_qualifications, reason = "generated; the .proto files are its documentation")]
#[allow(clippy::all, clippy::unwrap_used, rustdoc::all, reason = "generated")]
pub mod pb;

/// The largest message either side reads (bytes): a guest with a hundred placements of many names fits.
pub const MAX_MESSAGE: usize = 4 * 1024 * 1024;

/// The largest message that a caller without an identity may send (bytes): a join request is under 2 KiB.
pub const MAX_JOIN: usize = 16 * 1024;

/// Reads a message from an agent.
///
/// # Errors
/// The first malformed field.
pub fn read_to_controller(message: pb::ToController) -> Result<ToController, WireError> {
    use pb::to_controller::Message;
    Ok(match message.message.ok_or_else(|| missing("message"))? {
        Message::Hello(hello) => {
            at_most("hello.reports", hello.reports.len(), MAX_PLACEMENTS)?;
            ToController::Hello(Hello {
                facts: read_facts(hello.facts),
                identity_generation: hello.identity_generation,
                link_count: hello.link_count,
                reports: hello.reports.into_iter().map(read_report).collect::<Result<_, _>>()?,
                roots: read_trusted(&hello.roots)?,
            })
        }
        Message::Report(report) => ToController::Report(Box::new(read_report(report)?)),
        Message::Purged(purged) => ToController::Purged(purged::read_purged(&purged)?),
        Message::Examined(examined) => ToController::Examined(Box::new(examination::read_examined(examined)?)),
        Message::IdentityCsrDer(der) => {
            at_most("identity_csr_der", der.len(), MAX_DER)?;
            ToController::RenewIdentity(der)
        }
    })
}

/// What a hello says of its guest alone, out of the beginning of its bytes: a message as short as that.
/// None where the bytes begin with something else.
#[must_use]
pub fn facts_alone(beginning: &[u8]) -> Option<Vec<u8>> {
    count::facts_alone(beginning)
}

/// A message to the controller as bytes.
#[must_use]
pub fn encoded(message: ToController) -> Vec<u8> {
    write_to_controller(message).encode_to_vec()
}

/// Reads the bytes of a message from an agent, as [`Codec`] and [`read_to_controller`] do.
///
/// # Errors
/// It is too much, or malformed.
pub fn decoded(bytes: &[u8]) -> Result<ToController, WireError> {
    count::check(bytes, pb::ToController::SHAPE).map_err(|why| wrong("message", why))?;
    read_to_controller(pb::ToController::decode(bytes).map_err(|why| wrong("message", why))?)
}

/// Writes a message to the controller.
#[must_use]
pub fn write_to_controller(message: ToController) -> pb::ToController {
    use pb::to_controller::Message;
    let message = match message {
        ToController::Hello(hello) => Message::Hello(pb::Hello {
            facts: Some(write_facts(hello.facts)),
            identity_generation: hello.identity_generation,
            link_count: hello.link_count,
            reports: hello.reports.into_iter().map(write_report).collect(),
            roots: hello.roots.iter().map(|root| root.as_bytes().to_vec()).collect(),
        }),
        ToController::Report(report) => Message::Report(write_report(*report)),
        ToController::Purged(purged) => Message::Purged(purged::write_purged(&purged)),
        ToController::Examined(examined) => Message::Examined(examination::write_examined(*examined)),
        ToController::RenewIdentity(der) => Message::IdentityCsrDer(der),
    };
    pb::ToController { message: Some(message) }
}

/// Reads a message from the controller.
///
/// # Errors
/// The first malformed field.
pub fn read_to_agent(message: pb::ToAgent) -> Result<ToAgent, WireError> {
    use pb::to_agent::Message;
    Ok(match message.message.ok_or_else(|| missing("message"))? {
        Message::Desired(desired) => {
            at_most("desired.placements", desired.placements.len(), MAX_PLACEMENTS)?;
            ToAgent::Desired(desired.placements.into_iter().map(read_spec).collect::<Result<_, _>>()?)
        }
        Message::Delivery(delivery) => ToAgent::Delivery(Box::new(read_delivery(delivery)?)),
        Message::Purge(name) => ToAgent::Purge(Purge { force: true, ..Purge::all(parse("purge", &name)?) }),
        Message::PurgeFiles(purge) => ToAgent::Purge(purged::read_purge(&purge)?),
        Message::Retry(name) => ToAgent::Retry(parse("retry", &name)?),
        Message::Look(look) => ToAgent::Look(parse("look.certificate", &look.certificate)?, look.number),
        Message::Examine(examine) => ToAgent::Examine(examine.number, examination::read_subject(&examine.subject)?),
        Message::Controllers(controllers) => ToAgent::Controllers(controllers::read_controllers(controllers)?),
        Message::Root(root) => ToAgent::Root(Box::new(EndorsedRoot {
            root: RootCertificate::parse(&root.root_der).map_err(|e| wrong("root.root_der", e))?,
            endorsement: root.endorsement_der,
        })),
        Message::ManifestProblem(problem) => {
            ToAgent::ManifestProblem((!problem.is_empty()).then(|| line(&problem, MAX_MANIFEST_PROBLEM)))
        }
        Message::Identity(identity) => {
            ToAgent::Identity(IssuedIdentity { chain: identity.chain_der, generation: identity.identity_generation })
        }
    })
}

/// Writes a message to an agent.
#[must_use]
pub fn write_to_agent(message: ToAgent) -> pb::ToAgent {
    use pb::to_agent::Message;
    let message = match message {
        ToAgent::Desired(specs) => {
            Message::Desired(pb::Desired { placements: specs.into_iter().map(write_spec).collect() })
        }
        ToAgent::Delivery(delivery) => Message::Delivery(write_delivery(*delivery)),
        ToAgent::Purge(purge) => Message::PurgeFiles(purged::write_purge(&purge)),
        ToAgent::Retry(name) => Message::Retry(name.to_string()),
        ToAgent::Look(name, number) => Message::Look(pb::Look { certificate: name.to_string(), number }),
        ToAgent::Examine(number, subject) => {
            Message::Examine(pb::Examine { number, subject: subject.as_str().to_owned() })
        }
        ToAgent::Controllers(controllers) => Message::Controllers(controllers::write_controllers(controllers)),
        ToAgent::Root(endorsed) => Message::Root(pb::EndorsedRoot {
            root_der: endorsed.root.der().to_vec(),
            endorsement_der: endorsed.endorsement,
        }),
        ToAgent::ManifestProblem(problem) => {
            Message::ManifestProblem(problem.map(|problem| line(&problem, MAX_MANIFEST_PROBLEM)).unwrap_or_default())
        }
        ToAgent::Identity(identity) => {
            Message::Identity(pb::Identity { chain_der: identity.chain, identity_generation: identity.generation })
        }
    };
    pb::ToAgent { message: Some(message) }
}

/// Reads a request to join.
///
/// # Errors
/// The first malformed field. The caller is a stranger, and gets no reason.
pub fn read_join_request(request: pb::JoinRequest) -> Result<JoinRequest, WireError> {
    let secret = Zeroizing::new(request.secret);
    let secret: [u8; 32] =
        secret.as_slice().try_into().map_err(|_| wrong("secret", format!("{} bytes instead of 32", secret.len())))?;
    Ok(JoinRequest {
        guest: parse("guest", &request.guest)?,
        secret: JoinSecret(Zeroizing::new(secret)),
        csr: request.csr_der,
        facts: read_facts(request.facts),
    })
}

/// Writes a request to join.
#[must_use]
pub fn write_join_request(request: &JoinRequest) -> pb::JoinRequest {
    pb::JoinRequest {
        guest: request.guest.to_string(),
        secret: request.secret.0.to_vec(),
        csr_der: request.csr.clone(),
        facts: Some(write_facts(request.facts.clone())),
    }
}

/// Reads the answer to a request to join.
#[must_use]
pub fn read_join_response(response: pb::JoinResponse) -> IssuedIdentity {
    IssuedIdentity { chain: response.chain_der, generation: response.identity_generation }
}

/// Writes the answer to a request to join.
#[must_use]
pub fn write_join_response(identity: IssuedIdentity) -> pb::JoinResponse {
    pb::JoinResponse { chain_der: identity.chain, identity_generation: identity.generation }
}

fn read_facts(facts: Option<pb::GuestFacts>) -> GuestFacts {
    let facts = facts.unwrap_or_default();
    // A guest's words about itself are shown to people and nothing else: short and printable.
    GuestFacts {
        agent_version: shown(&facts.agent_version),
        hostname: shown(&facts.hostname),
        machine_id: shown(&facts.machine_id),
        boot_id: shown(&facts.boot_id),
        hwaddrs: facts.hwaddrs.iter().take(MAX_HWADDRS).filter_map(|text| HwAddr::parse(text)).collect(),
        spec_level: facts.spec_level,
        looks: facts.looks,
        examines: facts.examines,
    }
}

fn write_facts(facts: GuestFacts) -> pb::GuestFacts {
    pb::GuestFacts {
        agent_version: facts.agent_version,
        hostname: facts.hostname,
        machine_id: facts.machine_id,
        boot_id: facts.boot_id,
        hwaddrs: facts.hwaddrs.iter().take(MAX_HWADDRS).map(ToString::to_string).collect(),
        spec_level: facts.spec_level,
        looks: facts.looks,
        examines: facts.examines,
    }
}

fn read_report(report: pb::PlacementReport) -> Result<PlacementReport, WireError> {
    at_most("report.left_behind", report.left_behind.len(), MAX_LEFT_BEHIND)?;
    at_most("report.roots", report.roots.len(), MAX_ROOTS)?;
    at_most("report.originals", report.originals.len(), MAX_ORIGINALS)?;
    Ok(PlacementReport {
        certificate: parse("report.certificate", &report.certificate)?,
        last_generation: report.last_generation,
        stage: parse("report.stage", &report.stage)?,
        goal: parse("report.goal", &report.goal)?,
        revision: report.revision,
        held: report.held.map(read_held).transpose()?,
        incoming: report.incoming.map(read_incoming).transpose()?,
        trouble: report.trouble.map(read_trouble),
        warning: report.warning.as_deref().map(printable),
        retired: report.retired,
        left_behind: report
            .left_behind
            .iter()
            .map(|path| parse("report.left_behind", path))
            .collect::<Result<_, _>>()?,
        roots: report.roots.iter().map(|root| read_fingerprint("report.roots", root)).collect::<Result<_, _>>()?,
        originals: report.originals.iter().map(purged::read_original).collect::<Result<_, _>>()?,
        disruptive: report.disruptive,
        usage: report.usage.as_deref().map(|usage| parse("report.usage", usage)).transpose()?,
        looked: report.looked,
        details: report.details.map(details::read_details).transpose()?.map(Box::new),
        found: report.found.map(adoption::read_found).transpose()?.map(Box::new),
        notified: Notified { reloads: report.reloads, restarts: report.restarts },
        watched: report.watched.map(watched::read_watched).transpose()?.map(Box::new),
        timing: report.timing.map(|timing| Box::new(timing::read_timing(timing))),
    })
}

fn write_report(report: PlacementReport) -> pb::PlacementReport {
    pb::PlacementReport {
        certificate: report.certificate.to_string(),
        last_generation: report.last_generation,
        stage: report.stage.to_string(),
        goal: report.goal.to_string(),
        revision: report.revision,
        held: report.held.map(|held| pb::Held {
            generation: held.generation,
            leaf_der: held.leaf.der().to_vec(),
            issuer: held.issuer.to_string(),
            common_name: held.common_name.map(|name| name.to_string()).unwrap_or_default(),
            root: held.root.map(|root| root.as_bytes().to_vec()).unwrap_or_default(),
            chain_end: held.chain_ends.map_or(0, Timestamp::unix),
            adopted: held.adopted,
        }),
        incoming: report.incoming.map(|incoming| {
            let (csr_der, delivered) = match incoming.progress {
                Progress::Requested(csr) => (csr, false),
                Progress::Delivered => (Vec::new(), true),
            };
            pb::Incoming { generation: incoming.generation, csr_der, delivered }
        }),
        trouble: report.trouble.map(write_trouble),
        warning: report.warning,
        retired: report.retired,
        left_behind: report.left_behind.iter().take(MAX_LEFT_BEHIND).map(ToString::to_string).collect(),
        roots: report.roots.iter().take(MAX_ROOTS).map(|root| root.as_bytes().to_vec()).collect(),
        originals: report.originals.into_iter().take(MAX_ORIGINALS).map(purged::write_original).collect(),
        disruptive: report.disruptive,
        usage: report.usage.map(|usage| usage.to_string()),
        looked: report.looked,
        details: report.details.map(|details| details::write_details(*details)),
        found: report.found.map(|found| adoption::write_found(*found)),
        reloads: report.notified.reloads,
        restarts: report.notified.restarts,
        watched: report.watched.map(|watched| watched::write_watched(*watched)),
        timing: report.timing.map(|timing| timing::write_timing(*timing)),
    }
}

fn read_trusted(roots: &[Vec<u8>]) -> Result<Vec<Fingerprint>, WireError> {
    at_most("hello.roots", roots.len(), MAX_TRUSTED)?;
    roots.iter().map(|root| read_fingerprint("hello.roots", root)).collect()
}

fn read_held(held: pb::Held) -> Result<Held, WireError> {
    Ok(Held {
        generation: held.generation,
        leaf: Leaf::parse(&held.leaf_der).map_err(|e| wrong("held.leaf_der", e))?,
        issuer: parse("held.issuer", &held.issuer)?,
        common_name: Some(held.common_name.as_str())
            .filter(|name| !name.is_empty())
            .map(|name| parse("held.common_name", name))
            .transpose()?,
        root: (!held.root.is_empty()).then(|| read_fingerprint("held.root", &held.root)).transpose()?,
        chain_ends: (held.chain_end != 0).then(|| Timestamp::from_unix(held.chain_end)),
        adopted: held.adopted,
    })
}

fn read_incoming(incoming: pb::Incoming) -> Result<Incoming, WireError> {
    at_most("incoming.csr_der", incoming.csr_der.len(), MAX_DER)?;
    let progress = if incoming.delivered { Progress::Delivered } else { Progress::Requested(incoming.csr_der) };
    Ok(Incoming { generation: incoming.generation, progress })
}

fn read_delivery(delivery: pb::Delivery) -> Result<Delivery, WireError> {
    Ok(Delivery {
        certificate: parse("delivery.certificate", &delivery.certificate)?,
        generation: delivery.generation,
        chain: Chain::from_der(&delivery.chain_der).map_err(|e| wrong("delivery.chain_der", e))?,
        root: RootCertificate::parse(&delivery.root_der).map_err(|e| wrong("delivery.root_der", e))?,
        issuer: parse("delivery.issuer", &delivery.issuer)?,
        shared_key: (!delivery.shared_key_der.is_empty()).then(|| Zeroizing::new(delivery.shared_key_der)),
    })
}

fn write_delivery(delivery: Delivery) -> pb::Delivery {
    pb::Delivery {
        certificate: delivery.certificate.to_string(),
        generation: delivery.generation,
        chain_der: delivery.chain.certificates().map(<[u8]>::to_vec).collect(),
        root_der: delivery.root.der().to_vec(),
        issuer: delivery.issuer.to_string(),
        shared_key_der: delivery.shared_key.map(|key| key.to_vec()).unwrap_or_default(),
    }
}

//! Between the generated messages and the checked ones: the only module that touches generated code.
//!
//! Invariant: what comes out of [`read_to_controller`] and its siblings has passed the parsers of the
//! types it is made of; what comes off the wire malformed is a [`WireError`] that names the field.

use std::marker::PhantomData;

use thiserror::Error;
use tonic::codec::BufferSettings;
use zeroize::Zeroizing;

use crate::{
    bundle::{Chain, Leaf, MOST_DER, RootCertificate},
    clock::Timestamp,
    containers::{ContainerSignal, SwarmSecrets},
    hwaddr::HwAddr,
    id::shown,
    key::{KeyPolicy, Rotation},
    message::{Delivery, Hello, IssuedIdentity, JoinRequest, JoinSecret, Purged, ToAgent, ToController},
    names::SubjectName,
    report::{GuestFacts, Held, Incoming, PlacementReport, Progress},
    spec::{FileMode, FileSpec, Part, PlacementSpec, Probe, Reload, Validate},
    stage::{Halt, Trouble},
};

#[rustfmt::skip]
#[path = "gen/pinion.v1.rs"]
#[expect(missing_docs, unused_qualifications, reason = "generated; the .proto files are its documentation")]
#[allow(clippy::all, clippy::unwrap_used, rustdoc::all, reason = "generated")]
pub mod pb;

/// The largest message either side reads (bytes): a guest with a hundred placements of many names fits.
pub const MOST_MESSAGE: usize = 4 * 1024 * 1024;

/// The largest message that a caller without an identity may send (bytes): a join request is under 2 KiB.
pub const MOST_JOIN: usize = 16 * 1024;

/// No guest holds more placements.
pub const MOST_PLACEMENTS: usize = 1000;

/// Files of earlier specs that a report names; where there are more, the first ones show what is to be done.
const MOST_LEFT_BEHIND: usize = 100;

/// Proxmox gives a guest at most 32 network cards; bridges and tunnels in it come on top.
pub const MOST_HWADDRS: usize = 64;

/// How messages become bytes: as prost does it, with buffers that start small. There are two buffers a
/// stream, streams are idle most of the time, and the controller has one for each guest.
#[derive(Debug)]
pub struct Codec<Out, In>(PhantomData<(Out, In)>);

impl<Out, In> Default for Codec<Out, In> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<Out, In> tonic::codec::Codec for Codec<Out, In>
where
    Out: prost::Message + Send + 'static,
    In: prost::Message + Default + Send + 'static,
{
    type Encode = Out;
    type Decode = In;
    type Encoder = tonic_prost::ProstEncoder<Out>;
    type Decoder = tonic_prost::ProstDecoder<In>;

    fn encoder(&mut self) -> Self::Encoder {
        tonic_prost::ProstEncoder::new(buffers())
    }

    fn decoder(&mut self) -> Self::Decoder {
        tonic_prost::ProstDecoder::new(buffers())
    }
}

/// An ordinary message is under 2 KiB; larger ones grow the buffer. What waits to be sent is passed on from
/// 16 KiB on.
fn buffers() -> BufferSettings {
    BufferSettings::new(512, 16 * 1024)
}

/// A message that is not what the contract says.
#[derive(Debug, Error)]
#[error("malformed `{field}`: {why}")]
pub struct WireError {
    /// The field, as the `.proto` files name it.
    pub field: &'static str,
    /// The parser's reason.
    pub why: String,
}

/// Reads a message from an agent.
///
/// # Errors
/// The first malformed field.
pub fn read_to_controller(message: pb::ToController) -> Result<ToController, WireError> {
    use pb::to_controller::Message;
    Ok(match message.message.ok_or_else(|| missing("message"))? {
        Message::Hello(hello) => {
            at_most("hello.reports", hello.reports.len(), MOST_PLACEMENTS)?;
            ToController::Hello(Hello {
                facts: read_facts(hello.facts),
                identity_generation: hello.identity_generation,
                reports: hello.reports.into_iter().map(read_report).collect::<Result<_, _>>()?,
            })
        }
        Message::Report(report) => ToController::Report(Box::new(read_report(report)?)),
        Message::Purged(purged) => {
            at_most("purged.left", purged.left.len(), MOST_PLACEMENTS)?;
            ToController::Purged(Purged {
                certificate: parse("purged.certificate", &purged.certificate)?,
                left: purged.left.iter().map(|path| parse("purged.left", path)).collect::<Result<_, _>>()?,
            })
        }
        Message::IdentityCsrDer(der) => {
            at_most("identity_csr_der", der.len(), MOST_DER)?;
            ToController::RenewIdentity(der)
        }
    })
}

/// Writes a message to the controller.
#[must_use]
pub fn write_to_controller(message: ToController) -> pb::ToController {
    use pb::to_controller::Message;
    let message = match message {
        ToController::Hello(hello) => Message::Hello(pb::Hello {
            facts: Some(write_facts(hello.facts)),
            identity_generation: hello.identity_generation,
            reports: hello.reports.into_iter().map(write_report).collect(),
        }),
        ToController::Report(report) => Message::Report(write_report(*report)),
        ToController::Purged(purged) => Message::Purged(pb::Purged {
            certificate: purged.certificate.to_string(),
            left: purged.left.iter().map(ToString::to_string).collect(),
        }),
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
            at_most("desired.placements", desired.placements.len(), MOST_PLACEMENTS)?;
            ToAgent::Desired(desired.placements.into_iter().map(read_spec).collect::<Result<_, _>>()?)
        }
        Message::Delivery(delivery) => ToAgent::Delivery(Box::new(read_delivery(delivery)?)),
        Message::Purge(name) => ToAgent::Purge(parse("purge", &name)?),
        Message::Retry(name) => ToAgent::Retry(parse("retry", &name)?),
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
        ToAgent::Purge(name) => Message::Purge(name.to_string()),
        ToAgent::Retry(name) => Message::Retry(name.to_string()),
        ToAgent::Identity(identity) => {
            Message::Identity(pb::Identity { chain_der: identity.chain, identity_generation: identity.generation })
        }
    };
    pb::ToAgent { message: Some(message) }
}

/// Reads a request to join.
///
/// # Errors
/// The first malformed field. The caller is a stranger: it is told nothing of this.
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
        hwaddrs: facts.hwaddrs.iter().take(MOST_HWADDRS).filter_map(|text| HwAddr::parse(text)).collect(),
    }
}

fn write_facts(facts: GuestFacts) -> pb::GuestFacts {
    pb::GuestFacts {
        agent_version: facts.agent_version,
        hostname: facts.hostname,
        machine_id: facts.machine_id,
        boot_id: facts.boot_id,
        hwaddrs: facts.hwaddrs.iter().take(MOST_HWADDRS).map(ToString::to_string).collect(),
    }
}

fn read_report(report: pb::PlacementReport) -> Result<PlacementReport, WireError> {
    at_most("report.left_behind", report.left_behind.len(), MOST_LEFT_BEHIND)?;
    Ok(PlacementReport {
        certificate: parse("report.certificate", &report.certificate)?,
        last_generation: report.last_generation,
        stage: parse("report.stage", &report.stage)?,
        goal: parse("report.goal", &report.goal)?,
        revision: report.revision,
        held: report.held.map(read_held).transpose()?,
        incoming: report.incoming.map(read_incoming).transpose()?,
        trouble: report.trouble.map(read_trouble),
        retired: report.retired,
        left_behind: report
            .left_behind
            .iter()
            .map(|path| parse("report.left_behind", path))
            .collect::<Result<_, _>>()?,
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
        }),
        incoming: report.incoming.map(|incoming| {
            let (csr_der, delivered) = match incoming.progress {
                Progress::Requested(csr) => (csr, false),
                Progress::Delivered => (Vec::new(), true),
            };
            pb::Incoming { generation: incoming.generation, csr_der, delivered }
        }),
        trouble: report.trouble.map(write_trouble),
        retired: report.retired,
        left_behind: report.left_behind.iter().take(MOST_LEFT_BEHIND).map(ToString::to_string).collect(),
    }
}

fn read_held(held: pb::Held) -> Result<Held, WireError> {
    Ok(Held {
        generation: held.generation,
        leaf: Leaf::parse(&held.leaf_der).map_err(|e| wrong("held.leaf_der", e))?,
        issuer: parse("held.issuer", &held.issuer)?,
    })
}

fn read_incoming(incoming: pb::Incoming) -> Result<Incoming, WireError> {
    at_most("incoming.csr_der", incoming.csr_der.len(), MOST_DER)?;
    let progress = if incoming.delivered { Progress::Delivered } else { Progress::Requested(incoming.csr_der) };
    Ok(Incoming { generation: incoming.generation, progress })
}

fn read_trouble(trouble: pb::Trouble) -> Trouble {
    Trouble {
        halt: if trouble.blocked { Halt::Blocked } else { Halt::Waiting },
        attempt: printable(&trouble.attempt),
        cause: printable(&trouble.cause),
        remedy: printable(&trouble.remedy),
        retry_at: (trouble.retry_at != 0).then(|| Timestamp::from_unix(trouble.retry_at)),
    }
}

fn write_trouble(trouble: Trouble) -> pb::Trouble {
    pb::Trouble {
        blocked: trouble.halt == Halt::Blocked,
        attempt: trouble.attempt,
        cause: trouble.cause,
        remedy: trouble.remedy,
        retry_at: trouble.retry_at.map_or(0, Timestamp::unix),
    }
}

fn read_spec(spec: pb::PlacementSpec) -> Result<PlacementSpec, WireError> {
    let names: Vec<SubjectName> = spec.names.iter().map(|n| parse("spec.names", n)).collect::<Result<_, _>>()?;
    Ok(PlacementSpec {
        certificate: parse("spec.certificate", &spec.certificate)?,
        common_name: parse("spec.common_name", &spec.common_name)?,
        names: names.try_into().map_err(|e| wrong("spec.names", e))?,
        key: KeyPolicy {
            algorithm: parse("spec.key_algorithm", &spec.key_algorithm)?,
            rotation: if spec.rotate_key { Rotation::Always } else { Rotation::Never },
        },
        shared: spec.shared,
        recipe: spec.recipe.map(|name| parse("spec.recipe", &name)).transpose()?,
        files: spec
            .files
            .into_iter()
            .map(|file| Ok((parse("file.part", &file.part)?, read_file(&file)?)))
            .collect::<Result<_, WireError>>()?,
        validate: spec.validate.map(read_validate).transpose()?,
        reload: spec.reload.map(read_reload).transpose()?,
        probe: spec.probe.map(read_probe).transpose()?,
        purge: spec.purge,
        ordered: (spec.ordered_generation != 0).then_some(spec.ordered_generation),
        trouble: spec.trouble.map(read_trouble),
    })
}

fn write_spec(spec: PlacementSpec) -> pb::PlacementSpec {
    pb::PlacementSpec {
        certificate: spec.certificate.to_string(),
        common_name: spec.common_name.to_string(),
        names: spec.names.iter().map(ToString::to_string).collect(),
        key_algorithm: spec.key.algorithm.to_string(),
        rotate_key: spec.key.rotation == Rotation::Always,
        shared: spec.shared,
        recipe: spec.recipe.map(|name| name.to_string()),
        files: spec
            .files
            .into_iter()
            .map(|(part, file)| pb::FileSpec {
                part: part.to_string(),
                path: file.path.map(|path| path.to_string()),
                mode: file.mode.map(FileMode::bits),
                owner: file.owner.map(|owner| owner.to_string()),
                group: file.group.map(|group| group.to_string()),
            })
            .collect(),
        validate: spec.validate.map(write_validate),
        reload: spec.reload.map(write_reload),
        probe: spec.probe.map(write_probe),
        purge: spec.purge,
        ordered_generation: spec.ordered.unwrap_or(0),
        trouble: spec.trouble.map(write_trouble),
    }
}

fn read_file(file: &pb::FileSpec) -> Result<FileSpec, WireError> {
    Ok(FileSpec {
        path: file.path.as_deref().map(|path| parse("file.path", path)).transpose()?,
        mode: file.mode.map(FileMode::from_bits).transpose().map_err(|e| wrong("file.mode", e))?,
        owner: file.owner.as_deref().map(|owner| parse("file.owner", owner)).transpose()?,
        group: file.group.as_deref().map(|group| parse("file.group", group)).transpose()?,
    })
}

fn read_validate(validate: pb::Validate) -> Result<Validate, WireError> {
    use pb::validate::How;
    match validate.how.ok_or_else(|| missing("validate.how"))? {
        How::Nothing(_) => Ok(Validate::Nothing),
        How::Hook(name) => Ok(Validate::Hook(parse("validate.hook", &name)?)),
    }
}

fn write_validate(validate: Validate) -> pb::Validate {
    use pb::validate::How;
    let how = match validate {
        Validate::Nothing => How::Nothing(true),
        Validate::Hook(name) => How::Hook(name.to_string()),
    };
    pb::Validate { how: Some(how) }
}

fn read_reload(reload: pb::Reload) -> Result<Reload, WireError> {
    use pb::reload::How;
    match reload.how.ok_or_else(|| missing("reload.how"))? {
        How::Nothing(_) => Ok(Reload::Nothing),
        How::ReloadUnit(unit) => Ok(Reload::Reload(parse("reload.reload_unit", &unit)?)),
        How::RestartUnit(unit) => Ok(Reload::Restart(parse("reload.restart_unit", &unit)?)),
        How::Hook(name) => Ok(Reload::Hook(parse("reload.hook", &name)?)),
        How::Container(name) => Ok(Reload::Container(parse("reload.container", &name)?)),
        How::Signal(told) => Ok(Reload::Signal(ContainerSignal {
            container: parse("reload.signal.container", &told.container)?,
            signal: parse("reload.signal.signal", &told.signal)?,
        })),
        How::Touch(path) => Ok(Reload::Touch(parse("reload.touch", &path)?)),
        How::Swarm(swarm) => {
            at_most("reload.swarm.secrets", swarm.secrets.len(), Part::ALL.len())?;
            let secret = |secret: pb::SwarmSecret| {
                Ok((parse("reload.swarm.part", &secret.part)?, parse("reload.swarm.name", &secret.name)?))
            };
            Ok(Reload::Swarm(SwarmSecrets {
                service: parse("reload.swarm.service", &swarm.service)?,
                secrets: swarm.secrets.into_iter().map(secret).collect::<Result<_, WireError>>()?,
            }))
        }
    }
}

fn write_reload(reload: Reload) -> pb::Reload {
    use pb::reload::How;
    let how = match reload {
        Reload::Nothing => How::Nothing(true),
        Reload::Reload(unit) => How::ReloadUnit(unit.to_string()),
        Reload::Restart(unit) => How::RestartUnit(unit.to_string()),
        Reload::Hook(name) => How::Hook(name.to_string()),
        Reload::Container(name) => How::Container(name.to_string()),
        Reload::Signal(told) => {
            How::Signal(pb::ContainerSignal { container: told.container.to_string(), signal: told.signal.to_string() })
        }
        Reload::Touch(path) => How::Touch(path.to_string()),
        Reload::Swarm(swarm) => How::Swarm(pb::SwarmSecrets {
            service: swarm.service.to_string(),
            secrets: swarm
                .secrets
                .into_iter()
                .map(|(part, name)| pb::SwarmSecret { part: part.to_string(), name: name.to_string() })
                .collect(),
        }),
    };
    pb::Reload { how: Some(how) }
}

fn read_probe(probe: pb::Probe) -> Result<Probe, WireError> {
    use pb::probe::How;
    match probe.how.ok_or_else(|| missing("probe.how"))? {
        How::Nothing(_) => Ok(Probe::Nothing),
        How::Tls(tls) => Ok(Probe::Tls {
            connect: parse("probe.connect", &tls.connect)?,
            server_name: tls.server_name.map(|name| parse("probe.server_name", &name)).transpose()?,
            starttls: tls.starttls.map(|protocol| parse("probe.starttls", &protocol)).transpose()?,
        }),
    }
}

fn write_probe(probe: Probe) -> pb::Probe {
    use pb::probe::How;
    let how = match probe {
        Probe::Nothing => How::Nothing(true),
        Probe::Tls { connect, server_name, starttls } => How::Tls(pb::TlsProbe {
            connect: connect.to_string(),
            server_name: server_name.map(|name| name.to_string()),
            starttls: starttls.map(|protocol| protocol.as_str().into()),
        }),
    };
    pb::Probe { how: Some(how) }
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

/// Words from the other side, for people: printable, and of a length that a screen takes.
fn printable(text: &str) -> String {
    const MOST: usize = 4000;
    let mut out: String = text.chars().take(MOST).map(|c| if c.is_control() && c != '\n' { ' ' } else { c }).collect();
    if text.chars().nth(MOST).is_some() {
        out.push('…');
    }
    out
}

fn parse<T: std::str::FromStr>(field: &'static str, text: &str) -> Result<T, WireError>
where
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|why| wrong(field, why))
}

fn wrong(field: &'static str, why: impl std::fmt::Display) -> WireError {
    WireError { field, why: why.to_string() }
}

fn missing(field: &'static str) -> WireError {
    wrong(field, "it is missing")
}

fn at_most(field: &'static str, count: usize, most: usize) -> Result<(), WireError> {
    if count <= most { Ok(()) } else { Err(wrong(field, format!("{count} is more than {most}"))) }
}

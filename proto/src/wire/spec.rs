//! What a guest is asked to hold, between the generated messages and the checked ones.

use super::{
    adoption::{read_adoption, write_adoption},
    error::{WireError, at_most, missing, parse, wrong},
    pb,
    trouble::{read_trouble, write_trouble},
};
use crate::{
    bundle::RootCertificate,
    clock::Timestamp,
    containers::{ContainerSignal, SwarmSecrets},
    content::FlatContent,
    key::{KeyPolicy, Rotation},
    names::SubjectName,
    spec::{
        FileMode, FileSpec, MAX_ROOTS, MAX_SERVICES, Opening, Part, PlacementSpec, Probe, Reload, Settle, TlsProbe,
        Validate,
    },
};

/// Reads a placement as it is ordered.
pub(super) fn read_spec(spec: pb::PlacementSpec) -> Result<PlacementSpec, WireError> {
    let names: Vec<SubjectName> = spec.names.iter().map(|n| parse("spec.names", n)).collect::<Result<_, _>>()?;
    at_most("spec.roots_der", spec.roots_der.len(), MAX_ROOTS)?;
    at_most("spec.more_reloads", spec.more_reloads.len(), MAX_SERVICES)?;
    at_most("spec.more_probes", spec.more_probes.len(), MAX_SERVICES)?;
    let content = FlatContent {
        common_name: parse("spec.common_name", &spec.common_name)?,
        names: names.try_into().map_err(|e| wrong("spec.names", e))?,
        key: KeyPolicy {
            algorithm: parse("spec.key_algorithm", &spec.key_algorithm)?,
            rotation: if spec.rotate_key { Rotation::Always } else { Rotation::Never },
        },
        shared: spec.shared,
        trust: spec.trust,
        watch: spec.watch,
    };
    Ok(PlacementSpec {
        certificate: parse("spec.certificate", &spec.certificate)?,
        content: content.into(),
        roots: spec
            .roots_der
            .iter()
            .map(|der| RootCertificate::parse(der).map_err(|e| wrong("spec.roots_der", e)))
            .collect::<Result<_, _>>()?,
        recipe: spec.recipe.map(|name| parse("spec.recipe", &name)).transpose()?,
        files: (spec.files.into_iter().chain(spec.more_files))
            .map(|file| Ok((parse("file.part", &file.part)?, read_file(&file)?)))
            .collect::<Result<_, WireError>>()?,
        layout: spec.layout.map(|layout| parse("spec.layout", &layout)).transpose()?,
        validate: spec.validate.map(read_validate).transpose()?,
        reload: spec.reload.map(read_reload).transpose()?,
        probe: spec.probe.map(read_probe).transpose()?,
        more_reloads: spec.more_reloads.into_iter().map(read_reload).collect::<Result<_, _>>()?,
        more_probes: spec.more_probes.into_iter().map(read_probe).collect::<Result<_, _>>()?,
        window: spec.window.map(read_window).transpose()?,
        requires_mount: spec.requires_mount.map(|point| parse("spec.requires_mount", &point)).transpose()?,
        usage: spec.usage.map(|usage| parse("spec.usage", &usage)).transpose()?,
        purge: spec.purge,
        ordered: (spec.ordered_generation != 0).then_some(spec.ordered_generation),
        trouble: spec.trouble.map(read_trouble),
        adoption: spec.adoption.as_ref().map(read_adoption).transpose()?,
    })
}

/// Writes a placement as it is ordered.
pub(super) fn write_spec(spec: PlacementSpec) -> pb::PlacementSpec {
    let (newer, first): (Vec<_>, Vec<_>) = spec.files.into_iter().partition(|(part, _)| part.is_newer());
    let FlatContent { common_name, names, key, shared, trust, watch } = spec.content.into();
    pb::PlacementSpec {
        certificate: spec.certificate.to_string(),
        common_name: common_name.to_string(),
        names: names.iter().map(ToString::to_string).collect(),
        key_algorithm: key.algorithm.to_string(),
        rotate_key: key.rotation == Rotation::Always,
        shared,
        trust,
        watch,
        roots_der: spec.roots.iter().take(MAX_ROOTS).map(|root| root.der().to_vec()).collect(),
        recipe: spec.recipe.map(|name| name.to_string()),
        files: first.into_iter().map(write_file).collect(),
        more_files: newer.into_iter().map(write_file).collect(),
        layout: spec.layout.map(|layout| layout.to_string()),
        validate: spec.validate.map(write_validate),
        reload: spec.reload.map(write_reload),
        probe: spec.probe.map(write_probe),
        more_reloads: spec.more_reloads.into_iter().map(write_reload).collect(),
        more_probes: spec.more_probes.into_iter().map(write_probe).collect(),
        window: spec.window.map(write_window),
        requires_mount: spec.requires_mount.map(|point| point.to_string()),
        usage: spec.usage.map(|usage| usage.to_string()),
        purge: spec.purge,
        ordered_generation: spec.ordered.unwrap_or(0),
        trouble: spec.trouble.map(write_trouble),
        adoption: spec.adoption.as_ref().map(write_adoption),
    }
}

fn write_file((part, file): (Part, FileSpec)) -> pb::FileSpec {
    pb::FileSpec {
        part: part.to_string(),
        path: file.path.map(|path| path.to_string()),
        mode: file.mode.map(FileMode::bits),
        owner: file.owner.map(|owner| owner.to_string()),
        group: file.group.map(|group| group.to_string()),
        password_file: file.password_file.map(|path| path.to_string()),
        legacy: file.legacy,
    }
}

fn read_file(file: &pb::FileSpec) -> Result<FileSpec, WireError> {
    Ok(FileSpec {
        path: file.path.as_deref().map(|path| parse("file.path", path)).transpose()?,
        mode: file.mode.map(FileMode::from_bits).transpose().map_err(|e| wrong("file.mode", e))?,
        owner: file.owner.as_deref().map(|owner| parse("file.owner", owner)).transpose()?,
        group: file.group.as_deref().map(|group| parse("file.group", group)).transpose()?,
        password_file: file.password_file.as_deref().map(|path| parse("file.password_file", path)).transpose()?,
        legacy: file.legacy,
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
        How::Signal(signal) => Ok(Reload::Signal(ContainerSignal {
            container: parse("reload.signal.container", &signal.container)?,
            signal: parse("reload.signal.signal", &signal.signal)?,
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
        Reload::Signal(signal) => How::Signal(pb::ContainerSignal {
            container: signal.container.to_string(),
            signal: signal.signal.to_string(),
        }),
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
        How::Tls(tls) => Ok(Probe::Tls(TlsProbe {
            connect: parse("probe.connect", &tls.connect)?,
            server_name: tls.server_name.map(|name| parse("probe.server_name", &name)).transpose()?,
            starttls: (tls.starttls.or(tls.newer_starttls))
                .map(|protocol| parse("probe.starttls", &protocol))
                .transpose()?,
            proxy_protocol: tls.proxy_protocol.map(|version| parse("probe.proxy_protocol", &version)).transpose()?,
            settle: tls.settle_seconds.map(Settle::try_from).transpose().map_err(|e| wrong("probe.settle", e))?,
            unit: tls.unit.map(|unit| parse("probe.unit", &unit)).transpose()?,
        })),
    }
}

fn write_probe(probe: Probe) -> pb::Probe {
    use pb::probe::How;
    let how = match probe {
        Probe::Nothing => How::Nothing(true),
        Probe::Tls(tls) => {
            let starttls =
                |newer| tls.starttls.filter(|one| one.is_newer() == newer).map(|one| one.as_str().to_owned());
            How::Tls(pb::TlsProbe {
                connect: tls.connect.to_string(),
                starttls: starttls(false),
                newer_starttls: starttls(true),
                server_name: tls.server_name.map(|name| name.to_string()),
                settle_seconds: tls.settle.map(u64::from),
                proxy_protocol: tls.proxy_protocol.map(|version| version.as_str().into()),
                unit: tls.unit.map(|unit| unit.to_string()),
            })
        }
    };
    pb::Probe { how: Some(how) }
}

fn read_window(window: pb::Window) -> Result<Vec<Opening>, WireError> {
    at_most("window.openings", window.openings.len(), MAX_OPENINGS)?;
    let one = |opening: pb::Opening| Opening {
        opens: Timestamp::from_unix(opening.opens),
        closes: Timestamp::from_unix(opening.closes),
    };
    Ok(window.openings.into_iter().map(one).collect())
}

fn write_window(window: Vec<Opening>) -> pb::Window {
    let one = |opening: Opening| pb::Opening { opens: opening.opens.unix(), closes: opening.closes.unix() };
    pb::Window { openings: window.into_iter().map(one).collect() }
}

/// Enough for months without a controller.
pub(super) const MAX_OPENINGS: usize = 64;

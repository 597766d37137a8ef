//! What a placement comes to in this guest, in lines for people: `pinion show` has them.

use pinion_proto::report::Details;

use crate::{
    bundle::Bundle,
    recipe::{Job, ProbeTarget},
};

/// The files, services and probes of a job.
pub(super) fn of(job: &Job) -> Details {
    let file = |file: &crate::recipe::JobFile| {
        format!("{} {} ({}, {}:{})", file.part, file.path, file.mode, file.owner, file.group)
    };
    Details {
        files: job.files.iter().map(file).collect(),
        services: job.services.iter().map(|levels| levels.mildest().to_string()).collect(),
        probes: job.probes.iter().map(probe).collect(),
        chain: Vec::new(),
    }
}

fn probe(target: &ProbeTarget) -> String {
    let name = target.server_name.as_ref().map(|name| format!(" as {name}")).unwrap_or_default();
    let before = target.starttls.map(|starttls| format!(", after {}", starttls.as_str())).unwrap_or_default();
    format!("{}{name}{before}", target.connect)
}

/// The authorities above an installed leaf.
pub(super) fn chain(bundle: &Bundle) -> Vec<String> {
    let Some(credential) = bundle.credential() else { return Vec::new() };
    let authorities = credential.chain.authorities(&credential.root);
    authorities.map(|(subject, end)| format!("{subject}, until {end}")).collect()
}

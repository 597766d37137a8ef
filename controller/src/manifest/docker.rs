//! What is notified through docker: a container, or a Swarm service by its secrets.

use std::collections::BTreeMap;

use pinion_proto::{
    containers::{ContainerName, ContainerSignal, SecretName, SwarmSecrets},
    spec::Part,
};

use super::{fields::Fields, node::Node};

/// `"portainer"`.
pub(super) fn container(node: Node<'_>) -> Option<ContainerName> {
    node.parsed("the name of a container")
}

/// `{"container": …, "signal": "HUP"}`.
pub(super) fn signal(node: Node<'_>) -> Option<ContainerSignal> {
    let fields = Fields::of(node, "an object with \"container\" and \"signal\"", &["container", "signal"])?;
    let name = fields.required("container", container);
    let signal = fields.required("signal", |n| n.parsed("\"HUP\", \"USR1\" or \"USR2\""));
    Some(ContainerSignal { container: name?, signal: signal? })
}

/// `{"service": …, "secrets": {"key": …}}`.
pub(super) fn swarm(node: Node<'_>) -> Option<SwarmSecrets> {
    let fields = Fields::of(node, "an object with \"service\" and \"secrets\"", &["service", "secrets"])?;
    let service = fields.required("service", |n| n.parsed("the name of a Swarm service"));
    let secrets = fields.required("secrets", secrets);
    Some(SwarmSecrets { service: service?, secrets: secrets? })
}

fn secrets(node: Node<'_>) -> Option<BTreeMap<Part, SecretName>> {
    let parts = Part::FIRST.map(Part::as_str);
    let fields = Fields::of(node, "an object of file parts such as {\"key\": \"tls_key.pem\"}", &parts)?;
    let mut secrets: BTreeMap<Part, SecretName> = BTreeMap::new();
    let mut whole = true;
    for part in Part::FIRST {
        match fields.optional(part.as_str(), |n| n.parsed::<SecretName>("the name of a secret in quotes")) {
            Some(Some(name)) if secrets.values().any(|other| *other == name) => {
                fields.problem_with(
                    part.as_str(),
                    format_args!("the secret `{name}` appears already: each part needs its own"),
                );
                whole = false;
            }
            Some(Some(name)) => drop(secrets.insert(part, name)),
            Some(None) => {}
            None => whole = false,
        }
    }
    if whole && secrets.is_empty() && !fields.has_only_unknown(&parts) {
        fields.problem("add at least one part, for example {\"key\": \"tls_key.pem\"}");
    }
    (whole && !secrets.is_empty()).then_some(secrets)
}

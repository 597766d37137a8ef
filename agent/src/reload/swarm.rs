//! A Swarm service gets new versions of its secrets.
//!
//! A secret can neither be changed nor removed while a service uses it. So each generation makes secrets called
//! `NAME-GENERATION`, one update of the service exchanges all of them, and the service goes on seeing them under
//! their names; then versions that nobody uses are removed.
//! Invariants: a pair changes in one update; a secret that Pinion did not make is not removed; doing it twice is as
//! doing it once; a secret is made from what was verified, and no file is opened for it, which its owner could have
//! exchanged for a link to another's.

use std::collections::BTreeMap;

use pinion_proto::{
    bundle::{Fingerprint, Leaf},
    containers::{SecretName, SwarmSecrets},
    id::shown,
    spec::Part,
};
use serde::Deserialize;
use tokio::time::{Duration, Instant, sleep};

use super::{About, ReloadError, command::appended, docker::Docker};
use crate::config::Config;

/// Which certificate a secret was made for, and which content it has.
const CERTIFICATE: &str = "pinion.certificate";
const FINGERPRINT: &str = "pinion.fingerprint";

/// Between two looks at an update, which takes five seconds at least: so long Swarm watches a new task.
const PAUSE: Duration = Duration::from_millis(500);

/// A service's use of a secret (Docker Engine API, `SecretReference`).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Used {
    secret_name: String,
    #[serde(default)]
    file: Option<Target>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Target {
    #[serde(rename = "Name")]
    name: String,
    #[serde(rename = "UID")]
    uid: String,
    #[serde(rename = "GID")]
    gid: String,
    #[serde(rename = "Mode")]
    mode: u32,
}

/// Brings a service to this generation's secrets.
pub(super) async fn update(config: &Config, swarm: &SwarmSecrets, about: &About) -> Result<(), ReloadError> {
    let docker = Docker::find(config, about).await?;
    let used = used(&docker, swarm).await?;
    let wanted = wanted(swarm, about);
    for (part, name) in &swarm.secrets {
        if let Some(version) = wanted.get(name) {
            make(&docker, *part, version, about).await?;
        }
    }
    let exchange = exchange(&used, &wanted);
    if !exchange.is_empty() {
        let mut arguments = vec!["service", "update", "--quiet", "--detach"];
        arguments.extend(exchange.iter().map(String::as_str));
        arguments.push(swarm.service.as_str());
        docker.run(&arguments).await?;
        settle(config, &docker, swarm).await?;
    }
    prune(&docker, &wanted, about).await;
    Ok(())
}

/// Whether a service has other secrets than this generation's.
///
/// # Errors
/// There is no such service, or this node does not manage the Swarm.
pub(super) async fn is_behind(config: &Config, swarm: &SwarmSecrets, about: &About) -> Result<bool, ReloadError> {
    let docker = Docker::find(config, about).await?;
    let used = used(&docker, swarm).await?;
    Ok(!exchange(&used, &wanted(swarm, about)).is_empty())
}

/// The versions of the secrets that a service should have.
fn wanted<'s>(swarm: &'s SwarmSecrets, about: &About) -> BTreeMap<&'s SecretName, String> {
    swarm.secrets.values().map(|name| (name, format!("{name}-{}", about.generation))).collect()
}

/// How an update of a service goes (Docker Engine API, `ServiceUpdateStatus`).
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Progress {
    state: String,
    #[serde(default)]
    message: String,
}

/// Waits until every task has the new secrets. One that takes longer than a hook may is not given up: what it serves in
/// the end is for the probe to say.
async fn settle(config: &Config, docker: &Docker<'_>, swarm: &SwarmSecrets) -> Result<(), ReloadError> {
    let service = swarm.service.as_str();
    let deadline = Instant::now() + config.hook_timeout;
    while Instant::now() < deadline {
        let said = docker.run(&["service", "inspect", "--format", "{{json .UpdateStatus}}", service]).await?;
        // None until the update has begun.
        let progress: Option<Progress> = serde_json::from_str(said.trim()).unwrap_or_default();
        match progress {
            Some(progress) if progress.state == "completed" => return Ok(()),
            Some(Progress { state, message }) if state != "updating" => {
                let what = format!("docker service update {service}");
                return Err(ReloadError::Failed { what, status: state, output: appended(&message) });
            }
            _ => sleep(PAUSE).await,
        }
    }
    tracing::warn!(service, "A Swarm service is still being updated; look at `docker service ps {service}`");
    Ok(())
}

async fn used(docker: &Docker<'_>, swarm: &SwarmSecrets) -> Result<Vec<Used>, ReloadError> {
    // One a line, and of each only what is needed here.
    const FORMAT: &str = "{{range .Spec.TaskTemplate.ContainerSpec.Secrets}}\
                          {\"SecretName\":{{json .SecretName}},\"File\":{{json .File}}}\n{{end}}";
    let service = swarm.service.as_str();
    let said = match docker.list(&["service", "inspect", "--format", FORMAT, service]).await {
        Ok(said) => said,
        // dockerd answers: there is no such service, or this node does not manage the Swarm (any more, or yet).
        Err(ReloadError::Failed { output, .. }) => {
            let what = format!("the Swarm service {service}");
            return Err(ReloadError::NotThere { what, why: format!("cannot be found{output}") });
        }
        Err(error) => return Err(error),
    };
    let one = |line: &str| {
        serde_json::from_str::<Used>(line)
            .map_err(|_| ReloadError::Answer { what: format!("docker service inspect {service}"), output: shown(line) })
    };
    said.lines().map(str::trim).filter(|line| !line.is_empty()).map(one).collect()
}

/// Makes a version of a secret, unless it is there from a try before.
async fn make(docker: &Docker<'_>, part: Part, version: &str, about: &About) -> Result<(), ReloadError> {
    let installed = about.files.iter().any(|(there, _)| *there == part);
    let Some(bundle) = about.bundle.as_ref().filter(|_| installed) else {
        return Err(ReloadError::NotThere { what: format!("the file part {part}"), why: "is not installed".into() });
    };
    let content = bundle.content(part, &about.roots);
    // All parts of a certificate are known by it; roots alone by themselves.
    let fingerprint = Fingerprint::of(bundle.leaf().map_or(&content, Leaf::der));
    let labels = format!("{{{{index .Spec.Labels \"{CERTIFICATE}\"}}}} {{{{index .Spec.Labels \"{FINGERPRINT}\"}}}}");
    let own = format!("{} {fingerprint}", about.certificate);
    match docker.run(&["secret", "inspect", "--format", &labels, version]).await {
        Ok(said) if said.trim() == own => Ok(()),
        Ok(_) => Err(ReloadError::Taken { secret: version.to_owned() }),
        Err(ReloadError::Failed { .. }) => {
            let certificate = format!("{CERTIFICATE}={}", about.certificate);
            let fingerprint = format!("{FINGERPRINT}={fingerprint}");
            let labels = ["--label", &certificate, "--label", &fingerprint];
            let arguments = [&["secret", "create"], labels.as_slice(), &[version, "-"]].concat();
            docker.give(&arguments, &content).await
        }
        Err(error) => Err(error),
    }
}

/// The options of `docker service update` that bring a service from the secrets it uses to the wanted ones.
fn exchange(used: &[Used], wanted: &BTreeMap<&SecretName, String>) -> Vec<String> {
    let mut options = Vec::new();
    for (name, version) in wanted {
        let seen_as = |used: &&Used| match &used.file {
            Some(file) => file.name == name.as_str(),
            None => used.secret_name == name.as_str(),
        };
        let now = used.iter().find(seen_as);
        if now.is_some_and(|now| now.secret_name == *version) {
            continue;
        }
        let mut add = format!("source={version},target={name}");
        if let Some(now) = now {
            options.extend(["--secret-rm".to_owned(), now.secret_name.clone()]);
            if let Some(file) = &now.file {
                add += &format!(",uid={},gid={},mode=0{:o}", file.uid, file.gid, file.mode);
            }
        }
        options.extend(["--secret-add".to_owned(), add]);
    }
    options
}

/// Removes versions of this certificate's secrets that nobody uses any more. What cannot be removed stays for next time.
async fn prune(docker: &Docker<'_>, wanted: &BTreeMap<&SecretName, String>, about: &About) {
    let filter = format!("label={CERTIFICATE}={}", about.certificate);
    let Ok(said) = docker.list(&["secret", "ls", "--filter", &filter, "--format", "{{.Name}}"]).await else { return };
    for name in said.lines().map(str::trim).filter(|name| is_version(name, wanted)) {
        match docker.run(&["secret", "rm", name]).await {
            Ok(_) => {
                tracing::info!(certificate = %about.certificate, secret = name, "Removed a secret that nobody uses")
            }
            // Some service, or an old task of this one, still has it.
            Err(error) => tracing::debug!(secret = name, %error, "Could not remove a secret yet"),
        }
    }
}

/// Whether it is another version of a wanted secret.
fn is_version(name: &str, wanted: &BTreeMap<&SecretName, String>) -> bool {
    let version = name.rsplit_once('-');
    version.is_some_and(|(stem, number)| {
        number.parse::<u64>().is_ok() && wanted.iter().any(|(own, now)| own.as_str() == stem && now != name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_update_exchanges_what_differs_and_keeps_how_it_is_seen() {
        let (key, cert): (SecretName, SecretName) = ("key.pem".parse().expect("a"), "cert.pem".parse().expect("b"));
        let wanted = BTreeMap::from([(&key, "key.pem-7".to_owned()), (&cert, "cert.pem-7".to_owned())]);
        let used: Vec<Used> = serde_json::from_str(
            r#"[{"File":{"Name":"key.pem","UID":"1","GID":"0","Mode":256},"SecretID":"x","SecretName":"key.pem"},
                {"File":{"Name":"other","UID":"0","GID":"0","Mode":292},"SecretID":"y","SecretName":"other"}]"#,
        )
        .expect("docker's own form");
        assert_eq!(
            exchange(&used, &wanted),
            [
                "--secret-add",
                "source=cert.pem-7,target=cert.pem",
                "--secret-rm",
                "key.pem",
                "--secret-add",
                "source=key.pem-7,target=key.pem,uid=1,gid=0,mode=0400",
            ]
        );
        let done: Vec<Used> = wanted
            .iter()
            .map(|(name, version)| Used {
                secret_name: version.clone(),
                file: Some(Target { name: name.to_string(), uid: "0".into(), gid: "0".into(), mode: 0o444 }),
            })
            .collect();
        assert!(exchange(&done, &wanted).is_empty());
    }

    #[test]
    fn only_other_versions_of_the_same_secret_are_removed() {
        let key: SecretName = "key.pem".parse().expect("a name");
        let wanted = BTreeMap::from([(&key, "key.pem-7".to_owned())]);
        for (name, other) in [
            ("key.pem-6", true),
            ("key.pem-7", false),
            ("key.pem", false),
            ("key.pem-x", false),
            ("my-key.pem-6", false),
        ] {
            assert_eq!(is_version(name, &wanted), other, "{name}");
        }
    }

    #[tokio::test]
    async fn a_service_with_many_secrets_is_read_wholly() {
        let kept = tempfile::tempdir().expect("a temporary directory");
        let config = Config::shipped(kept.path().canonicalize().expect("a real path"));
        for directory in ["usr/bin", "run"] {
            std::fs::create_dir_all(config.root.join(directory)).expect("directory");
        }
        let listening = std::os::unix::net::UnixListener::bind(&config.docker).expect("a socket");
        let script = "#!/bin/sh\ni=0\nwhile [ $i -lt 500 ]; do i=$((i+1))\n\
                      printf '{\"SecretName\":\"a-name-of-64-characters-as-long-as-docker-lets-a-name-be-%08d\",\
                      \"File\":{\"Name\":\"/run/secrets/somewhere/%08d\",\"UID\":\"0\",\"GID\":\"0\",\"Mode\":292}}\\n' $i $i\ndone\n";
        let docker = config.root.join("usr/bin/docker");
        std::fs::write(&docker, script).expect("written");
        std::fs::set_permissions(&docker, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("executable");
        let about = About::for_test("ui");
        let swarm = SwarmSecrets { service: "web".parse().expect("a name"), secrets: BTreeMap::new() };
        let docker = Docker::find(&config, &about).await.expect("it is there");
        let used = used(&docker, &swarm).await.expect("read");
        assert_eq!(used.len(), 500);
        assert!(used.last().expect("many").secret_name.ends_with("00000500"));
        drop(listening);
    }
}

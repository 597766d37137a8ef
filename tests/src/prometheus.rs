//! The real Prometheus on a loopback port, which scrapes one controller and evaluates rules.
//!
//! Invariant: it asks for metrics as an installation does: with a token that `pinion web token create` made.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use reqwest::{Client, Url};
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    host::Host,
    port::{self, Port},
    process::Process,
    program,
    wait::{self, PATIENCE},
};

/// How often it scrapes and evaluates.
const EVERY: &str = "500ms";

/// A running Prometheus; it ends with this value.
#[derive(Debug)]
pub struct Prometheus {
    /// Before its directory, because fields are dropped in this order and it writes to the last.
    process: Process,
    client: Client,
    _directory: TempDir,
    port: Port,
}

impl Prometheus {
    /// Starts it with these rules; returns when it is ready.
    ///
    /// # Errors
    /// It is not installed, the token is refused, or it does not come up: with its log.
    pub fn start(host: &Host, rules: &str) -> Result<Self> {
        let directory =
            tempfile::Builder::new().prefix("pinion-prometheus-").tempdir().context("make its directory")?;
        let (port, path) = (Port::reserve()?, |name: &str| directory.path().join(name));
        let token = host.pinion(&["web", "token", "create", "prometheus"])?.succeeded()?;
        fs::write(path("token"), token.stdout.trim()).context("write its token")?;
        fs::write(path("pinion.rules.yml"), rules).context("write its rules")?;
        let target = host.web().context("the host has a page")?;
        let config = format!(
            "global: {{ scrape_interval: {EVERY}, scrape_timeout: {EVERY}, evaluation_interval: {EVERY} }}\n\
             rule_files: [pinion.rules.yml]\n\
             scrape_configs:\n  - job_name: pinion\n    authorization: {{ credentials_file: token }}\n    \
             static_configs: [{{ targets: [\"{target}\"] }}]\n"
        );
        fs::write(path("prometheus.yml"), config).context("write its configuration")?;
        let mut command = Command::new(program::found("prometheus")?);
        command.arg("--config.file").arg(path("prometheus.yml")).arg("--storage.tsdb.path").arg(path("data"));
        command.arg("--web.listen-address").arg(port.address().to_string()).arg("--log.level=warn");
        let mut process = Process::spawn("prometheus", &mut command, &path("log"))?;
        let up = wait::until("Prometheus to listen", PATIENCE, || match process.check_running() {
            Err(ended) => Ok(Err(ended)),
            Ok(()) if port::is_listening(process.id(), port.address()) => Ok(Ok(())),
            Ok(()) => Err("it does not listen yet"),
        });
        up.with_context(|| process.log_tail())??;
        // The client wants one, although nothing here is encrypted; another test may have been first.
        rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
        let client = Client::builder().build().context("make a client")?;
        Ok(Self { process, client, _directory: directory, port })
    }

    /// The data that it answers a question of its API with, such as `query` with `("query", "up")`.
    ///
    /// # Errors
    /// It does not answer, or says that the question is wrong.
    pub async fn ask(&self, what: &str, words: &[(&str, &str)]) -> Result<Value> {
        let url = Url::parse_with_params(&format!("http://{}/api/v1/{what}", self.port.address()), words)?;
        let answer: Value = self.client.get(url).send().await?.json().await.context("read its answer")?;
        if answer["status"] != "success" {
            bail!("Prometheus does not take {what} {words:?}: {answer}");
        }
        Ok(answer["data"].clone())
    }

    /// What an expression gives now.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub async fn query(&self, expression: &str) -> Result<Vec<Value>> {
        let data = self.ask("query", &[("query", expression)]).await?;
        Ok(data["result"].as_array().cloned().unwrap_or_default())
    }

    /// Waits until it has scraped the controller.
    ///
    /// # Errors
    /// It cannot within [`PATIENCE`]: with what it says about its target.
    pub async fn wait_up(&self) -> Result<()> {
        wait::until_async("the controller to be scraped", PATIENCE, || async {
            let targets = self.ask("targets", &[]).await.map_err(|error| format!("{error:#}"))?;
            let health = targets["activeTargets"].as_array().map(|all| all.iter().map(|it| it["health"].clone()));
            let is_up = health.is_some_and(|health| health.collect::<Vec<_>>() == ["up"]);
            if is_up { Ok(()) } else { Err(targets.to_string()) }
        })
        .await
    }

    /// The alerts that fire.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub async fn firing(&self) -> Result<Vec<Value>> {
        let data = self.ask("alerts", &[]).await?;
        let alerts = data["alerts"].as_array().cloned().unwrap_or_default();
        Ok(alerts.into_iter().filter(|alert| alert["state"] == "firing").collect())
    }

    /// Waits until an alert fires that has this label, and returns it; an empty one means any.
    ///
    /// # Errors
    /// It does not in time: with those that do.
    pub async fn wait_fired(&self, alert: &str, (label, value): (&str, &str), max: Duration) -> Result<Value> {
        let is_it =
            |it: &Value| it["labels"]["alertname"] == alert && (label.is_empty() || it["labels"][label] == value);
        wait::until_async(&format!("the alert {alert}"), max, || async {
            let firing = self.firing().await.map_err(|error| format!("{error:#}"))?;
            firing.iter().find(|it| is_it(it)).cloned().ok_or_else(|| format!("{firing:?}"))
        })
        .await
    }

    /// Waits until none of these alerts fires.
    ///
    /// # Errors
    /// One still does after this time.
    pub async fn wait_resolved(&self, alerts: &[&str], max: Duration) -> Result<()> {
        wait::until_async(&format!("the end of {}", alerts.join(", ")), max, || async {
            let firing = self.firing().await.map_err(|error| format!("{error:#}"))?;
            let lasts = |it: &&Value| alerts.iter().any(|alert| it["labels"]["alertname"] == **alert);
            firing.iter().find(lasts).map_or(Ok(()), |it| Err(it.to_string()))
        })
        .await
    }

    /// The last lines that it logged.
    #[must_use]
    pub fn log_tail(&self) -> String {
        self.process.log_tail()
    }
}

/// The directory with the rules and the dashboard.
#[must_use]
pub fn files() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/monitoring")
}

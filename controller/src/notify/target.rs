//! One target: sending it a message, in its time.
//!
//! Invariant: a message takes no longer than the target's own limit and a little, whatever the target does.

use std::time::Duration;

use super::{
    config::{TargetConfig, place},
    failure::SendError,
    files::Files,
    hook, mail,
    message::Message,
    webhook,
};

/// What a target is given beyond its own limit, so that its own words about being late are heard.
const GRACE: Duration = Duration::from_secs(1);

/// One target.
#[derive(Debug, Clone)]
pub(super) struct Target {
    config: TargetConfig,
    files: Files,
    /// This host's name, as messages have it.
    host: String,
}

impl Target {
    pub(super) fn new(config: TargetConfig, files: Files, host: String) -> Self {
        Self { config, files, host }
    }

    /// Its kind, in the word of the configuration.
    pub(super) fn kind(&self) -> &'static str {
        self.config.kind()
    }

    /// Where messages go, without what may be secret.
    pub(super) fn place(&self) -> String {
        place(&self.config)
    }

    /// Sends a message.
    pub(super) async fn send(&self, message: &Message) -> Result<(), SendError> {
        let (files, host) = (&self.files, self.host.as_str());
        let limit = match &self.config {
            TargetConfig::Webhook(config) => config.timeout,
            TargetConfig::Mail(config) => config.timeout,
            TargetConfig::Hook(config) => config.timeout,
        };
        let sending = async {
            match &self.config {
                TargetConfig::Webhook(config) => webhook::send(config, files, host, message).await,
                TargetConfig::Mail(config) => mail::send(config, files, host, message).await,
                TargetConfig::Hook(config) => hook::send(config, files, host, message).await,
            }
        };
        tokio::time::timeout(limit + GRACE, sending).await.unwrap_or_else(|_| Err(SendError::too_slow(limit)))
    }
}

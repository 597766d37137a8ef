//! A placement whose files a person wants removed, all of them or those of earlier specs.
//!
//! Invariants: what a service's configuration still names is removed only if a person has been warned and insists; the
//! controller hears what came of it, and a removal that a crash interrupted is finished.

use pinion_proto::{
    id::CertificateName,
    message::{Purge, Purged},
    stage::Halt,
};
use tokio::time::Instant;

use super::{
    failure::{Failure, Stopped},
    root_store,
    task::Task,
};

impl Task<'_> {
    /// Takes up a purge.
    pub(super) fn take_purge(&mut self, purge: Purge) {
        let ledger = &self.parts.switch.ledger;
        let spec = ledger.spec.as_ref().filter(|_| !ledger.retired);
        match spec {
            Some(spec) if !spec.purge && !purge.left_behind => {
                tracing::warn!(certificate = %self.parts.switch.name, "Refused to purge a placement that is desired");
            }
            // What is being removed is not what was left behind.
            Some(spec) if spec.purge && purge.left_behind => {}
            None if ledger.purging => {}
            Some(_) | None => {
                self.purging = Some(purge);
                self.parts.newer.try_at(Instant::now());
            }
        }
    }

    /// Removes what earlier specs put elsewhere.
    pub(super) async fn purge_left_behind(&mut self) -> Result<(), Stopped> {
        let Some(purge) = self.purging.take() else { return Ok(()) };
        let named = if purge.force { Vec::new() } else { self.parts.switch.named(true).await? };
        if !named.is_empty() {
            self.keep(named);
            return Ok(());
        }
        match self.parts.switch.purge_left_behind().await? {
            Ok(purged) => self.parts.switch.shared.answer(purged),
            Err(error) => {
                self.fail(&Failure::exchange(&error, self.parts.newer.failures()));
                self.purging = Some(purge);
            }
        }
        Ok(())
    }

    /// Removes the placement's files and its ledger; false when something is in the way, or they are to stay.
    pub(super) async fn purge(&mut self) -> Result<bool, Stopped> {
        let (store, failures) = (root_store::store_of_roots(&self.parts.switch), self.parts.newer.failures());
        if let Err(error) = self.parts.switch.learn_mounts(None).await? {
            self.fail(&Failure::install(&error, failures));
            return Ok(false);
        }
        let asked = self.purging.clone();
        let purge = asked.clone().unwrap_or_else(|| Purge::all(self.parts.switch.name.clone()));
        if !purge.force && !self.parts.switch.ledger.purging {
            let named = self.parts.switch.named(false).await?;
            if !named.is_empty() {
                match asked {
                    Some(_) => self.keep(named),
                    None => self.fail(&named_by(&self.parts.switch.name, &named)),
                }
                return Ok(false);
            }
        }
        match self.parts.switch.purge(purge.restore).await? {
            Ok(purged) => {
                if let Some(job) = store {
                    root_store::make_store_anew(&self.parts.switch, &job).await?;
                }
                self.parts.switch.shared.purged(purged);
                tracing::info!(certificate = %self.parts.switch.name, "Purged");
                Ok(true)
            }
            Err(error) => {
                self.fail(&Failure::exchange(&error, failures));
                Ok(false)
            }
        }
    }

    /// The files stay, because a configuration names them.
    fn keep(&mut self, named: Vec<String>) {
        self.purging = None;
        let name = self.parts.switch.name.clone();
        tracing::warn!(certificate = %name, named = named.join(", "), "The files stay: a configuration names them");
        self.parts.switch.shared.answer(Purged { remains: true, named, ..Purged::all(name) });
    }
}

/// A configuration names files that the manifest wants removed.
fn named_by(name: &CertificateName, named: &[String]) -> Failure {
    Failure::new(
        Halt::Blocked,
        "remove the files",
        named.join(", "),
        format!(
            "take it out there; Pinion then continues by itself. To remove the files all the same, run `pinion purge \
             --force {name}` on the host"
        ),
    )
}

//! The metrics of this moment, and whether the controller works.

use super::{ask::Unanswered, site::Web};
use crate::{admin::protocol::Selection, metrics::exposition::Gathered};

impl Web {
    /// What the metrics are made from.
    ///
    /// # Errors
    /// The loop does not answer.
    pub(super) async fn gather(&self) -> Result<Gathered, Unanswered> {
        let status = self.everything().await?;
        let (identities, events) = (self.identities.clone(), self.events.clone());
        // Files are read, beside the tasks that answer.
        let read = tokio::task::spawn_blocking(move || (identities.guests().unwrap_or_default(), events.counts()));
        let (records, counts) = read.await.unwrap_or_default();
        let locked = records.into_iter().filter(|(_, record)| record.locked.is_some()).map(|(guest, _)| guest);
        let waiting = |capacity: usize, max: usize| max.saturating_sub(capacity);
        let links = self.links.upgrade().map_or(0, |links| waiting(links.capacity(), links.max_capacity()));
        let questions = waiting(self.requests.capacity(), self.requests.max_capacity());
        Ok(Gathered {
            now: self.clock.now(),
            started: self.started,
            status,
            locked: locked.collect(),
            issuers: self.issuers.calls(),
            counts,
            passes: self.passes.clone(),
            queues: vec![("links", links), ("questions", questions)],
        })
    }

    /// Whether the loop answers.
    pub(super) async fn is_ready(&self) -> bool {
        self.status(Selection::new(Vec::new(), vec!["host".to_owned()])).await != Err(Unanswered::Silent)
    }
}

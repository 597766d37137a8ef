//! One agent as the controller sees it: real TLS, real keys and requests, real frames, and no files.
//!
//! Invariant: it dials as the agent does, with the agent's own code and pauses, so that what is seen of ten thousand of them is
//! what ten thousand agents would do.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use pinion_agent::{
    identity::Identity,
    link::{
        self, dial,
        redial::{self, Lost},
    },
};
use pinion_proto::{
    clock::{Clock as _, SystemClock},
    id::CertificateName,
    key::KeyAlgorithm,
    message::{Delivery, Hello, ToAgent, ToController},
    private_key::PrivateKey,
    report::{GuestFacts, Held, Incoming, PlacementReport, Progress},
    spec::{PlacementSpec, SPEC_LEVEL},
    stage::Stage,
    tls::{self, IdentityCell},
    wire::{self, pb},
};
use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};
use tokio_stream::{StreamExt, wrappers::ReceiverStream};

use super::counts::Counts;

/// As the agent has it: a controller that says nothing for so long is dialled anew.
const OPEN_TIME: Duration = Duration::from_secs(30);

/// An agent, and what it holds.
pub(super) struct SimulatedAgent {
    identity: Identity,
    cell: IdentityCell,
    counts: Arc<Counts>,
    placements: BTreeMap<CertificateName, PlacementReport>,
    links: u64,
    /// Whether it reports what is new, or waits until it may.
    reports: watch::Receiver<bool>,
}

impl SimulatedAgent {
    pub(super) fn new(identity: Identity, counts: Arc<Counts>, reports: watch::Receiver<bool>) -> Result<Self> {
        let cell = identity.cell()?;
        Ok(Self { identity, cell, counts, placements: BTreeMap::new(), links: 0, reports })
    }

    /// Keeps its link up until it is switched off.
    pub(super) async fn run(mut self, mut power: watch::Receiver<()>) -> Self {
        tokio::select! {
            _ = power.changed() => {}
            () = self.keep() => {}
        }
        self
    }

    async fn keep(&mut self) {
        let mut failures = 0;
        loop {
            let started = Instant::now();
            match self.session().await {
                // So that the controller hears of it.
                Ok(next) => {
                    self.identity = next;
                    self.counts.trusting.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
                Err(why) => self.counts.lost(&why),
            }
            failures = if started.elapsed() >= link::GOOD_LINK { 1 } else { failures + 1 };
            let is_urgent = redial::is_urgent(self.placements.values(), SystemClock.now());
            tokio::time::sleep(redial::pause(self.identity.guest, failures, Lost::Away, is_urgent)).await;
        }
    }

    /// Until the link is lost, or the controller has told of another root; then the identity that trusts it too.
    async fn session(&mut self) -> Result<Identity> {
        let config = tls::client_config_for(Some(self.cell.clone()), &self.identity.roots(), Arc::new(SystemClock))?;
        self.counts.dialled.fetch_add(1, Ordering::Relaxed);
        let (connection, _) = dial::dial(&self.identity.controllers, Arc::new(config)).await?;
        let mut client = pb::link_client::LinkClient::with_origin(connection, dial::origin());
        let (say, queue) = mpsc::channel(4);
        self.links += 1;
        let hello = Hello {
            facts: GuestFacts {
                agent_version: env!("CARGO_PKG_VERSION").into(),
                spec_level: SPEC_LEVEL,
                ..GuestFacts::default()
            },
            identity_generation: self.identity.generation,
            link_count: self.links,
            reports: self.placements.values().cloned().collect(),
            roots: self.identity.roots().iter().map(|root| root.fingerprint()).collect(),
        };
        say.send(ToController::Hello(hello)).await.context("say hello")?;
        let outgoing = ReceiverStream::new(queue).map(wire::write_to_controller);
        let mut inbound = timeout(OPEN_TIME, client.open(outgoing)).await.context("open a link")??.into_inner();
        let counts = self.counts.clone();
        let _linked = counts.linked();
        let mut unsaid = Vec::new();
        loop {
            tokio::select! {
                message = inbound.message() => {
                    let message = message?.context("the controller closed the link")?;
                    let message = wire::read_to_agent(message)?;
                    if let ToAgent::Root(endorsed) = &message
                        && let Some(next) = self.identity.trusting(endorsed)?
                    {
                        return Ok(next);
                    }
                    unsaid.extend(self.hear(message)?);
                }
                // Who says so is there as long as the agents are.
                Ok(()) = self.reports.changed() => {}
            }
            if *self.reports.borrow() {
                for report in unsaid.drain(..) {
                    say.send(ToController::Report(Box::new(report))).await.context("report")?;
                }
            }
        }
    }

    /// What it reports when it has heard this.
    fn hear(&mut self, message: ToAgent) -> Result<Vec<PlacementReport>> {
        match message {
            ToAgent::Desired(specs) => {
                self.counts.wanted();
                self.desired(&specs)
            }
            ToAgent::Delivery(delivery) => Ok(self.delivered(*delivery).into_iter().collect()),
            ToAgent::Look(name, number) => {
                let report = self.placements.get_mut(&name);
                Ok(report.map(|report| (report.looked = number, report.clone()).1).into_iter().collect())
            }
            _ => Ok(Vec::new()),
        }
    }

    fn desired(&mut self, specs: &[PlacementSpec]) -> Result<Vec<PlacementReport>> {
        let mut reports = Vec::new();
        for spec in specs {
            let name = &spec.certificate;
            let report = self
                .placements
                .entry(name.clone())
                .or_insert_with(|| PlacementReport { goal: Stage::Reloaded, ..PlacementReport::nothing(name.clone()) });
            let before = report.clone();
            report.revision = spec.revision();
            report.roots = spec.roots.iter().map(|root| root.fingerprint()).collect();
            if let (Some(generation), Some(leaf)) = (spec.ordered, spec.content.leaf())
                && generation > report.last_generation
            {
                let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256)?;
                let csr = key.request(&leaf.common_name, &leaf.names)?;
                report.last_generation = generation;
                report.incoming = Some(Incoming { generation, progress: Progress::Requested(csr) });
            }
            if *report != before {
                reports.push(report.clone());
            }
        }
        Ok(reports)
    }

    fn delivered(&mut self, delivery: Delivery) -> Option<PlacementReport> {
        let report = self.placements.get_mut(&delivery.certificate)?;
        report.incoming.take_if(|incoming| incoming.generation == delivery.generation)?;
        report.held = Some(Held {
            generation: delivery.generation,
            leaf: delivery.chain.leaf().clone(),
            issuer: delivery.issuer,
            common_name: report.held.take().and_then(|held| held.common_name),
            root: Some(delivery.root.fingerprint()),
            chain_ends: Some(delivery.chain.expires()),
            adopted: false,
        });
        report.stage = Stage::Reloaded;
        self.counts.installed();
        Some(report.clone())
    }
}

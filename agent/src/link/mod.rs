//! The agent's end of the link: dials, says what is held, hears what should be.
//!
//! Invariant: after every connect the whole state goes out first, so nothing that was lost in between matters.

pub mod addresses;
pub mod count;
pub mod dial;
mod heard;
pub mod join;
pub mod redial;

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use pinion_proto::{
    bundle::{EndorsedRoot, RootCertificate},
    causes::chain,
    clock::{Clock, Timestamp},
    examination::Subject,
    id::{CertificateName, shown},
    length::Length,
    message::{Hello, Purged, ToAgent, ToController},
    report::PlacementReport,
    tls::{self, IdentityCell},
    wire::{self, pb},
};
use serde::{Deserialize, Serialize};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, timeout},
};
use tokio_stream::{StreamExt, wrappers::ReceiverStream};
use tracing::{info, warn};

use addresses::Addresses;
use redial::Lost;

use crate::{
    apply::Placements,
    config::Config,
    examine::Examiner,
    facts,
    identity::{self, Identity, IdentityRequest},
    install::files::RealFiles,
};

/// A link that lasted this long was a good one: the next dial starts the backoff anew. Short, so that a controller
/// which is restarted some times in a row has its guests back within seconds each time; one that falls over as soon
/// as they link is still dialled ever more rarely.
pub const GOOD_LINK: Duration = Duration::from_secs(5);

/// A controller that shook hands and then says nothing for so long is dialled anew.
const OPEN_TIME: Duration = Duration::from_secs(30);

/// When the renewal of the identity was asked for and no answer came, it is asked for again after this long.
const RENEWAL_PATIENCE: Duration = Duration::from_secs(300);

/// How the link is, for those who ask in the guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LinkStatus {
    /// Whether the controller is there.
    pub linked: bool,
    /// Since when that is so.
    pub since: Timestamp,
    /// The controller's address, while linked.
    pub controller: Option<SocketAddr>,
    /// Why there is no link.
    pub error: Option<String>,
    /// Whether the controller has said what this guest should hold, since the agent started.
    pub informed: bool,
    /// What is wrong with the manifest on the host's disk, as the controller says while it is linked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest_problem: Option<String>,
}

/// What the link works with.
pub struct Link {
    /// The agent's config: where the identity is kept.
    pub config: Arc<Config>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// What is held, and what learns what should be.
    pub placements: Placements,
    /// Where [`LinkStatus`] is published.
    pub status: watch::Sender<LinkStatus>,
}

/// Why a session ended.
enum End {
    /// The identity was renewed: dial again with the new one, at once.
    Renewed(Box<Identity>),
    /// Anything else.
    Lost(Lost, String),
}

impl Link {
    /// Keeps the link up until the future is dropped.
    ///
    /// # Errors
    /// The identity cannot be used at all.
    pub async fn keep(self, mut identity: Identity) -> Result<(), tls::TlsError> {
        let mut addresses = Addresses::load(&self.config, &RealFiles);
        let mut failures = 0;
        loop {
            let started = Instant::now();
            let (lost, why) = match self.session(&identity, &mut addresses).await? {
                End::Renewed(next) => {
                    identity = *next;
                    failures = 0;
                    continue;
                }
                End::Lost(lost, why) => (lost, why),
            };
            failures = if started.elapsed() >= GOOD_LINK { 1 } else { failures + 1 };
            let is_urgent = redial::is_urgent(self.placements.reports().borrow().values(), self.clock.now());
            let pause = redial::pause(identity.guest, failures, lost, is_urgent);
            warn!(%why, pause = %Length(pause), "No link to the controller; the installed files stay, dialling again");
            self.lost(why);
            tokio::time::sleep(pause).await;
        }
    }

    fn linked(&self, address: SocketAddr) {
        info!(controller = %address, "Linked");
        let now = self.clock.now();
        self.status.send_modify(|status| {
            *status = LinkStatus {
                linked: true,
                since: now,
                controller: Some(address),
                error: None,
                informed: status.informed,
                manifest_problem: None,
            };
        });
    }

    fn lost(&self, why: String) {
        let now = self.clock.now();
        self.status.send_modify(|status| {
            if status.linked {
                status.since = now;
            }
            status.linked = false;
            status.controller = None;
            status.manifest_problem = None;
            status.error = Some(why);
        });
    }

    fn hello(&self, identity: &Identity, reports: &BTreeMap<CertificateName, PlacementReport>) -> Hello {
        Hello {
            facts: facts::facts(&self.config),
            identity_generation: identity.generation,
            link_count: count::next(&self.config, &RealFiles),
            reports: reports.values().cloned().collect(),
            roots: identity.roots().iter().map(RootCertificate::fingerprint).collect(),
        }
    }

    fn examiner(&self, identity: &Identity) -> Examiner {
        Examiner {
            config: self.config.clone(),
            clock: self.clock.clone(),
            placements: self.placements.clone(),
            joined_at: identity.controllers.clone(),
            identity_ends: identity.not_after,
        }
    }

    async fn session(&self, identity: &Identity, addresses: &mut Addresses) -> Result<End, tls::TlsError> {
        let cell: IdentityCell = identity.cell()?;
        let config = Arc::new(tls::client_config_for(Some(cell), &identity.roots(), self.clock.clone())?);
        let dialled = dial::dial_any(&addresses.candidates(&identity.controllers), config).await;
        let (connection, address) = match dialled {
            Ok(dialled) => dialled,
            Err(error) => return Ok(End::Lost(error.lost(), self.dial_failure(identity, &error))),
        };
        let mut client = pb::link_client::LinkClient::with_origin(connection, dial::origin())
            .max_decoding_message_size(wire::MAX_MESSAGE);
        let (outbound, queue) = mpsc::channel::<ToController>(4);
        let mut reports = self.placements.reports();
        let mut answers = self.placements.purge_answers();
        let (asks, mut examined) = self.examiner(identity).start();
        let mut said = Arc::clone(&reports.borrow_and_update());
        if outbound.send(ToController::Hello(self.hello(identity, &said))).await.is_err() {
            return Ok(End::Lost(Lost::Away, "the stream closed before hello".into()));
        }
        let outgoing = ReceiverStream::new(queue).map(wire::write_to_controller);
        let mut inbound = match timeout(OPEN_TIME, client.open(outgoing)).await {
            Ok(Ok(response)) => response.into_inner(),
            Ok(Err(status)) => {
                addresses.refused(address);
                return Ok(refusal(&status));
            }
            Err(_) => {
                addresses.refused(address);
                return Ok(End::Lost(Lost::Away, format!("the controller at {address} does not answer")));
            }
        };
        addresses.linked(address, &self.config, &RealFiles);
        self.linked(address);
        let (mut renewal, mut renew_at) = (None::<IdentityRequest>, identity.renew_at());
        loop {
            tokio::select! {
                message = inbound.message() => {
                    let message = match message {
                        Ok(Some(message)) => message,
                        Ok(None) => return Ok(End::Lost(Lost::Away, "the controller closed the link".into())),
                        Err(status) => return Ok(refusal(&status)),
                    };
                    match wire::read_to_agent(message) {
                        Ok(ToAgent::Identity(issued)) => match self.renewed(identity, issued, renewal.take()) {
                            Ok(next) => return Ok(End::Renewed(Box::new(next))),
                            Err(error) => warn!(%error, "The renewed identity cannot be used; keeping the current one"),
                        },
                        Ok(ToAgent::Controllers(controllers)) => {
                            addresses.announced(&controllers, &self.config, &RealFiles);
                        }
                        Ok(ToAgent::Root(endorsed)) => match self.trusting(identity, &endorsed) {
                            // Dialled anew, so that the controller hears of it.
                            Ok(Some(next)) => return Ok(End::Renewed(Box::new(next))),
                            Ok(None) => {}
                            Err(error) => warn!(%error, "Refused another root of the controller"),
                        },
                        Ok(message) => self.hear(message, &asks),
                        // A message from a newer controller, perhaps: logged, and the link goes on.
                        Err(error) => warn!(%error, "Cannot read a message of the controller"),
                    }
                }
                changed = reports.changed() => {
                    if changed.is_err() {
                        return Ok(End::Lost(Lost::Away, "the agent is shutting down".into()));
                    }
                    let current = reports.borrow_and_update().clone();
                    for message in differences(&said, &current, |name| self.placements.purged(name)) {
                        if outbound.send(message).await.is_err() {
                            return Ok(End::Lost(Lost::Away, "the controller stopped reading".into()));
                        }
                    }
                    said = current;
                }
                // One that is behind misses some: the controller asks again when the guest links the next time.
                Ok(purged) = answers.recv() => {
                    if outbound.send(ToController::Purged(purged)).await.is_err() {
                        return Ok(End::Lost(Lost::Away, "the controller stopped reading".into()));
                    }
                }
                Some(examined) = examined.recv() => {
                    if outbound.send(ToController::Examined(Box::new(examined))).await.is_err() {
                        return Ok(End::Lost(Lost::Away, "the controller stopped reading".into()));
                    }
                }
                () = self.clock.sleep_until(renew_at) => {
                    let now = self.clock.now();
                    if now >= renew_at {
                        renew_at = now + RENEWAL_PATIENCE;
                        match IdentityRequest::make() {
                            Ok(request) => {
                                let message = ToController::RenewIdentity(request.csr.clone());
                                renewal = Some(request);
                                if outbound.send(message).await.is_err() {
                                    return Ok(End::Lost(Lost::Away, "the controller stopped reading".into()));
                                }
                            }
                            Err(error) => warn!(%error, "Cannot create a key for the next identity; trying again \
                                later"),
                        }
                    }
                }
            }
        }
    }

    fn hear(&self, message: ToAgent, asks: &mpsc::Sender<(u64, Subject)>) {
        match message {
            ToAgent::Desired(specs) => {
                self.placements.desire(specs);
                self.status.send_if_modified(|status| !std::mem::replace(&mut status.informed, true));
            }
            ToAgent::Delivery(delivery) => self.placements.deliver(*delivery),
            ToAgent::Purge(purge) => self.placements.purge(purge),
            ToAgent::Retry(certificate) => self.placements.retry(&certificate),
            ToAgent::Look(certificate, number) => self.placements.look(&certificate, number),
            ToAgent::ManifestProblem(problem) => {
                self.status.send_if_modified(|status| {
                    std::mem::replace(&mut status.manifest_problem, problem) != status.manifest_problem
                });
            }
            // Whoever is not answered because too much was asked asks again.
            ToAgent::Examine(number, subject) => drop(asks.try_send((number, subject))),
            ToAgent::Identity(_) | ToAgent::Controllers(_) | ToAgent::Root(_) => {}
        }
    }

    fn renewed(
        &self,
        identity: &Identity,
        issued: pinion_proto::message::IssuedIdentity,
        request: Option<IdentityRequest>,
    ) -> Result<Identity, identity::IdentityError> {
        let request = request.ok_or_else(|| identity::IdentityError::NotOurs("nobody asked for it".into()))?;
        let next =
            Identity::accept(issued, request, identity.guest, identity.root.clone(), identity.controllers.clone())?
                .with_other_root(identity.other_root.clone())
                .checked(self.clock.now())?;
        next.save(&self.config)?;
        info!(generation = next.generation, not_after = %next.not_after, "Identity renewed");
        Ok(next)
    }

    fn trusting(
        &self,
        identity: &Identity,
        endorsed: &EndorsedRoot,
    ) -> Result<Option<Identity>, identity::IdentityError> {
        let Some(next) = identity.trusting(endorsed)? else { return Ok(None) };
        next.save(&self.config)?;
        info!(root = %endorsed.root.fingerprint(), "Now also trusting another root of the controller's identities");
        Ok(Some(next))
    }

    fn dial_failure(&self, identity: &Identity, error: &dial::DialError) -> String {
        let mut text = chain(error);
        if self.clock.now() > identity.not_after {
            text.push_str(&format!(
                "; this guest's identity expired at {}: join again with a new token",
                identity.not_after
            ));
        }
        text
    }
}

fn refusal(status: &tonic::Status) -> End {
    let words = shown(status.message());
    match status.code() {
        tonic::Code::PermissionDenied => End::Lost(Lost::Refused, format!("the controller refuses the link: {words}")),
        _ => End::Lost(Lost::Away, format!("the link broke: {words}")),
    }
}

fn differences(
    said: &BTreeMap<CertificateName, PlacementReport>,
    current: &BTreeMap<CertificateName, PlacementReport>,
    purged: impl Fn(&CertificateName) -> Purged,
) -> Vec<ToController> {
    let gone = said.keys().filter(|name| !current.contains_key(*name));
    let gone = gone.map(|name| ToController::Purged(purged(name)));
    let changed = current
        .iter()
        .filter(|(name, report)| said.get(*name) != Some(*report))
        .map(|(_, report)| ToController::Report(Box::new(report.clone())));
    gone.chain(changed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_changed_is_said() {
        let report = |name: &str| PlacementReport::nothing(name.parse().expect("a name"));
        let map =
            |names: &[&str]| names.iter().map(|n| (n.parse().expect("a name"), report(n))).collect::<BTreeMap<_, _>>();
        let (said, mut current) = (map(&["a", "b", "c"]), map(&["b", "c"]));
        current.get_mut(&"c".parse().expect("a name")).expect("c").last_generation = 7;
        let left = vec!["/etc/ssl/a.key".parse().expect("a path")];
        let messages = differences(&said, &current, |name| Purged { left: left.clone(), ..Purged::all(name.clone()) });
        assert_eq!(messages.len(), 2);
        assert!(
            matches!(&messages[0], ToController::Purged(gone) if gone.certificate.as_str() == "a" && gone.left == left)
        );
        assert!(matches!(&messages[1], ToController::Report(report) if report.last_generation == 7));
    }
}

//! What the plan has for one placement.

use std::sync::Arc;

use pinion_proto::{
    bundle::RootCertificate,
    clock::Timestamp,
    content::Content,
    id::{Guest, PlacementId},
    spec::{Adoption, AdoptionDecision, Opening, PlacementSpec},
    stage::Trouble,
};
use serde::{Serialize, Serializer, ser::SerializeStruct};

use super::{Decision, Turn, spec};
use crate::manifest::{Certificate, PlacedLeaf, Placement};

/// What is to be done for one placement.
#[derive(Debug, Clone, PartialEq)]
pub struct Planned<'m> {
    /// Which certificate.
    pub certificate: &'m Certificate,
    /// Which of its placements.
    pub placement: &'m Placement,
    /// Where that is; none when the manifest's name leads to no guest.
    pub guest: Option<Guest>,
    /// What is to be done.
    pub decision: Decision,
    /// When what is held is renewed; none when nothing is.
    pub renew_at: Option<Timestamp>,
    /// The generation that the guest is to prepare, or to keep preparing.
    pub ordered: Option<u64>,
    /// What becomes of a pair that was there before Pinion; none where that is no question.
    pub adoption: Option<AdoptionDecision>,
    /// When its service may be disturbed next; none for at any time.
    pub window: Option<Vec<Opening>>,
    /// Its issuer's roots; none while they are not known.
    pub roots: Arc<[RootCertificate]>,
    /// The issuer signs under a root that is not in every place yet: what was signed so goes to no guest either.
    pub waits_for_root: bool,
    /// Telling its service of new files disturbs it, or may.
    pub disruptive: bool,
    /// What the plan does with its turn among those that are disturbed one after the other.
    pub turn: Turn,
}

impl<'m> Planned<'m> {
    /// The placement's id; none when the manifest's name leads to no guest.
    #[must_use]
    pub fn id(&self) -> Option<PlacementId> {
        self.guest.map(|guest| PlacementId { certificate: self.certificate.name.clone(), guest })
    }

    /// What it is to hold.
    #[must_use]
    pub fn content(&self) -> Content<PlacedLeaf<'m>> {
        self.certificate.content_at(self.placement)
    }

    /// How the placement is called: its id, or with the manifest's name for the guest.
    #[must_use]
    pub fn label(&self) -> String {
        label(self.certificate, self.placement, self.guest)
    }

    /// What holds it up on the controller's side.
    #[must_use]
    pub fn trouble(&self) -> Option<&Trouble> {
        match &self.decision {
            Decision::Wait(trouble) | Decision::Block(trouble) => Some(trouble),
            Decision::Keep | Decision::Order(_) | Decision::Adopt(_) | Decision::Trust(_) | Decision::Purge => None,
        }
    }

    /// By which number the guest says that its report is about what is asked for now.
    #[must_use]
    pub fn revision(&self) -> u64 {
        spec(self.certificate, self.placement, &[], None, None, None).revision()
    }

    /// What the guest is asked to hold.
    #[must_use]
    pub fn spec(&self) -> PlacementSpec {
        let leaf = self.certificate.content.leaf();
        let adoption = leaf.zip(self.adoption);
        let adoption = adoption.map(|(leaf, decision)| Adoption { issuer: leaf.issuer.clone(), decision });
        PlacementSpec {
            adoption,
            ..spec(self.certificate, self.placement, &self.roots, self.ordered, self.trouble(), self.window.as_deref())
        }
    }
}

/// How a placement is called that is in this guest; none when the manifest's name leads to no guest.
#[must_use]
pub fn label(certificate: &Certificate, placement: &Placement, guest: Option<Guest>) -> String {
    match guest {
        Some(guest) => format!("{}@{guest}", certificate.name),
        None => format!("{}@{}", certificate.name, placement.guest),
    }
}

impl Serialize for Planned<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("Planned", 6)?;
        out.serialize_field("placement", &self.label())?;
        out.serialize_field("certificate", &self.certificate.name)?;
        out.serialize_field("guest", &self.guest)?;
        out.serialize_field("plan", &self.decision)?;
        out.serialize_field("renew_at", &self.renew_at)?;
        out.serialize_field("ordered", &self.ordered)?;
        out.end()
    }
}

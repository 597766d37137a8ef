//! What the socket answers without the loop: what issuers say, and what happened.

use std::{io, time::Instant};

use pinion_proto::{
    bundle::{RootCertificate, certificates_to_pem},
    causes::chain,
    id::shown,
    lines,
    spec::PlainName,
    stage::{Halt, Trouble},
};
use tokio::{net::unix::OwnedWriteHalf, sync::broadcast::error::RecvError};

use super::{
    Admin,
    protocol::{Answer, AskEvents, AskWeb, IssuerReport, IssuerRoot, IssuerRootsReport},
};
use crate::{
    events::{Event, HostEvent, What},
    inventory::Inventory,
    issuer::IssuerError,
    web::access::{Right, TokenError},
};

fn no_page() -> Answer {
    Answer::Refused(
        "the page is not there: `enabled = false` in `[web]`, or its port is taken (`journalctl -u pinion` says which); \
         correct it and restart the controller (systemctl restart pinion)"
            .to_owned(),
    )
}

fn no_token(error: &TokenError) -> Answer {
    match error {
        TokenError::Unknown(_) => Answer::NoSuchName(error.to_string()),
        TokenError::Exists(_) | TokenError::TooMany => Answer::Refused(error.to_string()),
        TokenError::Store(error) => Answer::Failed(chain(error)),
    }
}

impl Admin {
    /// Answers who may look at the page.
    pub(super) fn web(&self, ask: AskWeb) -> Answer {
        let access = &self.web;
        let right = |renew: bool| if renew { Right::Renew } else { Right::Look };
        match ask {
            AskWeb::Link { renew } => {
                access.link_url(right(renew)).map_or_else(no_page, |url| Answer::WebLink(url.to_string()))
            }
            AskWeb::CreateToken { name, renew } => {
                let token = access.create_token(name, right(renew));
                token.map_or_else(|error| no_token(&error), |token| Answer::WebToken(token.to_string()))
            }
            AskWeb::RevokeToken(name) => {
                access.revoke_token(&name).map_or_else(|error| no_token(&error), |()| Answer::End)
            }
            AskWeb::Tokens => access.tokens().map_or_else(|error| no_token(&error), Answer::WebTokens),
        }
    }

    pub(super) async fn issuers(&self) -> Answer {
        let mut reports = Vec::new();
        for name in self.issuers.names() {
            let started = Instant::now();
            let outcome = self.issuers.check(name).await;
            let took = started.elapsed();
            let (check, trouble) = match outcome {
                Ok(check) => (Some(check), None),
                Err(error) => {
                    let mut trouble = trouble(format!("check issuer {name}"), &error);
                    // The usual remedy for an issuer that is away is this very check.
                    if trouble.halt == Halt::Waiting {
                        trouble.remedy.clear();
                    }
                    (None, Some(trouble))
                }
            };
            reports.push(IssuerReport { name: name.to_string(), check, trouble, took });
        }
        Answer::Issuers(reports)
    }

    /// The roots of an issuer; where none is named, of those that the manifest uses.
    pub(super) async fn roots(&self, name: Option<&str>) -> Answer {
        let manifest = self.manifest.in_force().borrow().manifest.clone();
        let used = manifest.issuers();
        let is_used = |issuer: &PlainName| used.contains(issuer);
        let is_any_used = self.issuers.names().any(is_used);
        let is_meant = |issuer: &&PlainName| match name {
            Some(name) => issuer.as_str() == name,
            None => !is_any_used || is_used(issuer),
        };
        let mut reports = Vec::new();
        for issuer in self.issuers.names().filter(is_meant) {
            reports.push(self.roots_of(issuer).await);
        }
        match name {
            Some(name) if reports.is_empty() => {
                let known: Vec<_> = self.issuers.names().map(PlainName::as_str).collect();
                let known = known.join(", ");
                Answer::NoSuchName(format!("there is no issuer {}; controller.toml has: {known}", shown(name)))
            }
            _ => Answer::IssuerRoots(reports),
        }
    }

    async fn roots_of(&self, issuer: &PlainName) -> IssuerRootsReport {
        let attempt = || format!("get the roots of issuer {issuer}");
        // The roots are still right while the issuer is away.
        let known = |error| self.issuers.last_roots(issuer).map(Some).ok_or(error);
        let (roots, trouble) = match self.issuers.roots(issuer).await.or_else(known) {
            Ok(Some(roots)) => {
                (roots.current.iter().map(|root| described(root, root.fingerprint() == roots.signing)).collect(), None)
            }
            Ok(None) => {
                let cause = "it does not say which roots its certificates end at".to_owned();
                let remedy = "ask its operator for the root".to_owned();
                (Vec::new(), Some(Trouble { halt: Halt::Blocked, attempt: attempt(), cause, remedy, retry_at: None }))
            }
            Err(error) => (Vec::new(), Some(trouble(attempt(), &error))),
        };
        IssuerRootsReport { name: issuer.to_string(), roots, trouble }
    }

    /// Sends what happened, and goes on if that is asked for.
    pub(super) async fn tell_events(&self, write: &mut OwnedWriteHalf, ask: &AskEvents) -> io::Result<()> {
        let mut live = self.events.follow();
        let inventory = self.inventory.borrow().clone();
        let is_meant = |event: &Event| {
            ask.since.is_none_or(|since| event.at >= since)
                && ask.name.as_deref().is_none_or(|name| is_about(event, name, &inventory))
        };
        let recent = self.events.recent_of(ask.last, self.clock.now(), is_meant);
        if let Some(name) = ask.name.as_deref().filter(|name| recent.is_empty() && !self.is_known(name, &inventory)) {
            let text =
                format!("no certificate, placement or guest is called {}, and no event is about it", shown(name));
            return lines::write(write, &Answer::NoSuchName(text)).await;
        }
        for event in recent {
            lines::write(write, &Answer::Event(event)).await?;
        }
        if !ask.follow {
            return lines::write(write, &Answer::End).await;
        }
        loop {
            match live.recv().await {
                Ok(event) if !is_meant(&event) => {}
                Ok(event) => lines::write(write, &Answer::Event(event.as_ref().clone())).await?,
                Err(RecvError::Lagged(missed)) => {
                    let event = What::Host(HostEvent::EventsMissed(missed)).at(self.clock.now());
                    lines::write(write, &Answer::Event(event)).await?;
                }
                Err(RecvError::Closed) => return Ok(()),
            }
        }
    }

    /// Whether the manifest has a certificate or placement of this name, or Proxmox such a guest.
    fn is_known(&self, name: &str, inventory: &Inventory) -> bool {
        let manifest = self.manifest.in_force().borrow().manifest.clone();
        let is_certificate = manifest.certificates.iter().any(|certificate| {
            certificate.name.as_str() == name
                || certificate.placements.iter().any(|placement| {
                    let guest = inventory.resolve(&placement.guest).ok();
                    crate::planner::label(certificate, placement, guest) == name
                })
        });
        is_certificate || inventory.guest_of(name).is_ok()
    }
}

/// Whether an event is about a certificate, a placement or a guest.
fn is_about(event: &Event, name: &str, inventory: &Inventory) -> bool {
    let certificate = event.certificate.as_ref().map(pinion_proto::id::CertificateName::as_str);
    if let Some((of, guest)) = name.split_once('@') {
        return certificate == Some(of) && event.guest.is_some_and(|found| found.to_string() == guest);
    }
    certificate == Some(name) || (event.guest.is_some() && event.guest == inventory.guest_of(name).ok())
}

fn described(root: &RootCertificate, is_signing: bool) -> IssuerRoot {
    IssuerRoot {
        fingerprint: root.fingerprint(),
        subject: root.subject(),
        not_after: root.not_after(),
        is_signing,
        pem: certificates_to_pem([root.der()]),
    }
}

fn trouble(attempt: String, error: &IssuerError) -> Trouble {
    Trouble { halt: error.halt(), attempt, cause: error.to_string(), remedy: error.remedy(), retry_at: None }
}

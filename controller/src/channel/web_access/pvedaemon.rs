//! Proxmox's own daemon on this node, which knows who its users are and what they may do.
//!
//! Answers: is this ticket or API token good, and what may its user do on `/`?
//! Invariants: nothing is sent before the kernel has said that a process of root's listens there (`peer`). One request, `GET`,
//! which changes nothing there. An answer takes a bounded time and has a bounded size before it is decoded; a redirection is
//! not followed.
//!
//! Facts are from pve-manager's `PVE/Service/pvedaemon.pm` and `PVE/HTTPServer.pm`, pve-http-server's `PVE/APIServer/AnyEvent.pm`,
//! and pve-access-control's `PVE/API2/AccessControl.pm` (`permissions`) and `PVE/RPCEnvironment.pm`. This daemon checks tickets and
//! API tokens itself, so nothing depends on pveproxy, which is on the network and not root.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use axum::body::{self, Body};
use http::{Request, StatusCode, header};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use pinion_proto::{
    causes::chain,
    length::Length,
    peer::{self, ConnectError},
};
use rustix::process::geteuid;
use serde::{Deserialize, de::IgnoredAny};
use tokio::{task::JoinSet, time::timeout};

use super::{
    super::failure::{Cause, Failure},
    credential::Credential,
};

/// What is asked: the caller's own effective permissions on `/`.
const PATH: &str = "/api2/json/access/permissions?path=%2F";

/// The path in its answer.
const ROOT: &str = "/";

/// It refuses after 3 s, and answers all else in milliseconds.
const PATIENCE: Duration = Duration::from_secs(8);

/// An answer's head (bytes).
const MAX_HEAD: usize = 16 * 1024;

/// An answer (bytes): each of its about fifty privileges has some 25.
const MAX_ANSWER: usize = 64 * 1024;

/// What it says about a ticket or an API token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is not good.
    Refused,
    /// It is, and its user has of the privileges on `/` these.
    Privileges {
        /// `Sys.Audit`.
        audit: bool,
        /// `Sys.Modify`.
        modify: bool,
        /// `Permissions.Modify`.
        permissions: bool,
    },
}

/// Where it listens.
#[derive(Debug)]
pub(super) struct Pvedaemon {
    pub(super) address: SocketAddr,
    pub(super) patience: Duration,
}

impl Pvedaemon {
    pub(super) fn at(address: SocketAddr) -> Self {
        Self { address, patience: PATIENCE }
    }

    /// Asks it.
    pub(super) async fn ask(&self, credential: &Credential) -> Result<Verdict, Failure> {
        match timeout(self.patience, self.exchange(credential)).await {
            Ok(verdict) => verdict,
            Err(_) => Err(self.failed(
                Cause::TimedOut,
                format!("does not answer within {}: run `systemctl status pvedaemon`", Length(self.patience)),
            )),
        }
    }

    async fn exchange(&self, credential: &Credential) -> Result<Verdict, Failure> {
        // The user of this process may do what root may.
        let stream = peer::connect_tcp(self.address, &[geteuid().as_raw()]).await.map_err(|error| self.away(&error))?;
        let broke = |error: hyper::Error| self.failed(Cause::Unexpected, format!("cannot be asked: {}", chain(&error)));
        let (mut sender, connection) =
            http1::Builder::new().max_buf_size(MAX_HEAD).handshake(TokioIo::new(stream)).await.map_err(broke)?;
        // It ends with this call.
        let mut driver = JoinSet::new();
        driver.spawn(connection);
        let (name, value) = credential.header();
        let request = Request::get(PATH)
            .header(header::HOST, "localhost")
            .header(header::CONNECTION, "close")
            .header(name, value)
            .body(Body::empty())
            .expect("its parts are written here");
        let response = sender.send_request(request).await.map_err(broke)?;
        let status = response.status();
        match status {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => return Ok(Verdict::Refused),
            _ => return Err(self.failed(Cause::Unexpected, format!("answers with status {}", status.as_u16()))),
        }
        let answer = body::to_bytes(Body::new(response.into_body()), MAX_ANSWER).await;
        let answer = answer.map_err(|error| {
            let why = format!("gives no answer of at most {MAX_ANSWER} bytes: {}", chain(&error));
            self.failed(Cause::Unexpected, why)
        })?;
        verdict(&answer).ok_or_else(|| {
            self.failed(Cause::Unexpected, "answers something else than the permissions on `/`".to_owned())
        })
    }

    fn away(&self, error: &ConnectError) -> Failure {
        match error.stranger() {
            Some(uid) => {
                let why = format!(
                    "is not there: a process of another user (uid {uid}) listens, and was sent nothing; find it (`ss -tlnp`) and \
                     end it"
                );
                self.failed(Cause::Refused, why)
            }
            None if error.is_nobody() => {
                self.failed(Cause::Unexpected, "does not run: run `systemctl status pvedaemon`".to_owned())
            }
            None => self.failed(Cause::Unexpected, format!("cannot be reached: {}", chain(error))),
        }
    }

    fn failed(&self, cause: Cause, why: String) -> Failure {
        Failure::new(cause, format!("pvedaemon at {} {why}", self.address))
    }
}

#[derive(Deserialize)]
struct Permissions {
    data: BTreeMap<String, BTreeMap<String, Option<IgnoredAny>>>,
}

/// What its answer means. A privilege that is there is granted: its value only says whether it is passed on to paths below.
fn verdict(answer: &[u8]) -> Option<Verdict> {
    let Permissions { mut data } = serde_json::from_slice(answer).ok()?;
    let privileges = data.remove(ROOT).unwrap_or_default();
    let has = |name: &str| privileges.get(name).is_some_and(Option::is_some);
    Some(Verdict::Privileges {
        audit: has("Sys.Audit"),
        modify: has("Sys.Modify"),
        permissions: has("Permissions.Modify"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(answer: &str) -> Option<(bool, bool, bool)> {
        match verdict(answer.as_bytes())? {
            Verdict::Privileges { audit, modify, permissions } => Some((audit, modify, permissions)),
            Verdict::Refused => None,
        }
    }

    #[test]
    fn a_privilege_is_granted_whether_or_not_it_is_passed_on() {
        for (answer, expected) in [
            (r#"{"data":{"/":{"Sys.Audit":1,"VM.Audit":1}}}"#, (true, false, false)),
            (r#"{"data":{"/":{"Sys.Audit":0,"Sys.Modify":0}}}"#, (true, true, false)),
            (r#"{"data":{"/":{"Sys.Audit":"1","Sys.Modify":"","Permissions.Modify":1}}}"#, (true, true, true)),
            (r#"{"data":{"/":{"Sys.Modify":1}}}"#, (false, true, false)),
            (r#"{"data":{"/":{"Sys.Audit":null}}}"#, (false, false, false)),
            (r#"{"data":{"/":{}}}"#, (false, false, false)),
            (r#"{"data":{}}"#, (false, false, false)),
            (r#"{"data":{"/vms":{"Sys.Audit":1},"/nodes":{"Sys.Modify":1}}}"#, (false, false, false)),
        ] {
            assert_eq!(of(answer), Some(expected), "{answer}");
        }
    }

    #[test]
    fn what_is_no_such_answer_grants_nothing() {
        for answer in
            ["", "{}", "null", r#"{"data":null}"#, r#"{"data":{"/":["Sys.Audit"]}}"#, r#"{"data":"Sys.Audit"}"#, "[[[["]
        {
            assert_eq!(of(answer), None, "{answer}");
        }
    }
}

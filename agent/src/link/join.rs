//! Joining: a token becomes an identity.

use std::{sync::Arc, time::Duration};

use pinion_proto::{
    clock::Clock,
    message::JoinRequest,
    tls::{self, TlsError},
    token::JoinToken,
    wire::{self, pb},
};
use thiserror::Error;
use tokio::time::timeout;

use super::dial::{self, DialError};
use crate::{
    config::Config,
    facts,
    identity::{Identity, IdentityError, IdentityRequest},
};

/// The controller writes two small files and signs once.
const ANSWER_TIME: Duration = Duration::from_secs(30);

/// Asks the controller that the token names for an identity. The caller stores it.
///
/// # Errors
/// The controller cannot be reached or refuses, or what it gives is not this guest's identity.
pub async fn join(token: &JoinToken, config: &Config, clock: Arc<dyn Clock>) -> Result<Identity, JoinError> {
    let tls = Arc::new(tls::client_config(None, &token.root, clock.clone())?);
    let (connection, _) = dial::dial(&token.controllers, tls).await?;
    let request = IdentityRequest::make()?;
    let message = wire::write_join_request(&JoinRequest {
        guest: token.guest,
        secret: token.secret.clone(),
        csr: request.csr.clone(),
        facts: facts::facts(config),
    });
    let mut client =
        pb::join_client::JoinClient::with_origin(connection, dial::origin()).max_decoding_message_size(wire::MAX_JOIN);
    let response = timeout(ANSWER_TIME, client.join(message)).await;
    let response = response.map_err(|_| JoinError::Call("the controller does not answer".into()))?;
    let response = response.map_err(|status| match status.code() {
        tonic::Code::PermissionDenied => JoinError::Refused,
        _ => JoinError::Call(pinion_proto::id::shown(status.message())),
    })?;
    let issued = wire::read_join_response(response.into_inner());
    let identity = Identity::accept(issued, request, token.guest, token.root.clone(), token.controllers.clone())?;
    Ok(identity.checked(clock.now())?)
}

/// Why joining failed.
#[derive(Debug, Error)]
pub enum JoinError {
    /// The controller refuses; it does not say why.
    #[error(
        "the controller refuses this token: a token works once, within ten minutes, for one guest; `pinion events` \
         on the host says why; create a new one with `pinion token create`"
    )]
    Refused,
    /// The controller is not reached.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The call fails.
    #[error("joining failed: {0}; this may have used up the token")]
    Call(String),
    /// What came is not an identity.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

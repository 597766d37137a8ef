//! `pinion serve`.

use std::{error::Error, sync::Arc};

use pinion_proto::{clock::SystemClock, daemon, exit::Exit, failure::Failure};

use crate::{
    authority::AuthorityError, channel::protocol::Cause, config::Config, identity::IdentityError,
    manifest::source::FileError, serve, store::StoreError,
};

/// Runs the daemon.
pub(super) async fn serve(config: Config) -> Result<Exit, Failure> {
    daemon::log();
    match serve::run(config, Arc::new(SystemClock)).await {
        Ok(()) => Ok(Exit::Reached),
        Err(error) => {
            // What a person has to mend in a file is theirs; the rest is ours.
            let exit = if error.chain().any(is_for_a_person) { Exit::Usage } else { Exit::Internal };
            Err(Failure::of(exit, error.as_ref()))
        }
    }
}

/// Whether a file that a person wrote, or has to restore, is what keeps the daemon from starting.
fn is_for_a_person(cause: &(dyn Error + 'static)) -> bool {
    let authority = match cause.downcast_ref::<IdentityError>() {
        Some(IdentityError::Authority(error)) => Some(error),
        Some(IdentityError::Domain { .. } | IdentityError::Pin { .. } | IdentityError::Node(_)) => return true,
        Some(IdentityError::RootProcess(failure)) => return failure.cause == Cause::Refused,
        _ => cause.downcast_ref::<AuthorityError>(),
    };
    let authority = matches!(
        authority,
        Some(
            AuthorityError::Unusable { .. }
                | AuthorityError::Lost { .. }
                | AuthorityError::Another(_)
                | AuthorityError::RootExpired(_)
        )
    );
    authority || cause.is::<FileError>() || cause.is::<StoreError>()
}

//! `pinion-agent join`.

use std::{io::Read, path::Path, sync::Arc};

use pinion_proto::{
    causes::chain, clock::SystemClock, errln, exit::Exit, failure::Failure, keyboard, token::JoinToken,
};
use zeroize::Zeroizing;

use super::{ask::send, documents::Joined, print_json};
use crate::{
    config::Config,
    identity::{Identity, IdentityError},
    install::files::RealFiles,
    link::{
        addresses, count,
        join::{self, JoinError},
    },
    local::LocalAsk,
};

/// A token is one line; whatever is longer is not one (bytes).
const MAX_TOKEN: u64 = 16 * 1024;

/// Where tokens come from.
const CREATE: &str = "create one with `pinion token create --guest VMID` on the host";

/// Turns a token into this guest's identity, and notifies a running daemon.
pub(super) async fn join(config: &Config, file: Option<&Path>, json: bool) -> Result<Exit, Failure> {
    let read = match file {
        None if keyboard::is_there() => typed().await,
        _ => read(file),
    };
    let text = read.map_err(|why| Failure::new(Exit::Usage, why))?;
    let token = JoinToken::parse(text.trim())
        .map_err(|error| Failure::new(Exit::Usage, "this is not a join token").cause(chain(&error)).remedy(CREATE))?;
    if let Ok(Some(before)) = Identity::load(config)
        && before.guest != token.guest
        && keyboard::is_there()
        && !keyboard::is_yes(&format!(
            "This machine is guest {}, and the token is for guest {}. Join as guest {}?",
            before.guest, token.guest, token.guest
        ))
        .await
    {
        let words = format!("nothing was changed; the token can still be used, in guest {}", token.guest);
        return Err(Failure::new(Exit::Usage, words));
    }
    let identity =
        join::join(&token, config, Arc::new(SystemClock)).await.map_err(|error| Failure::of(exit(&error), &error))?;
    // Before the identity: whoever links with the new one begins to count anew, and dials where the token says.
    let stored = count::forget(config, &RealFiles)
        .map_err(|source| IdentityError::Write { path: count::path(config), source })
        .and_then(|()| {
            addresses::forget(config, &RealFiles)
                .map_err(|source| IdentityError::Write { path: addresses::path(config), source })
        });
    if let Err(error) = stored.and_then(|()| identity.save(config)) {
        return Err(Failure::new(Exit::Internal, "joined, but the identity cannot be stored")
            .cause(chain(&error))
            .remedy("correct that and join again with a new token"));
    }
    // A daemon that is not running yet reads the identity when it starts.
    if let Err(error) = send(config, &LocalAsk::Joined).await
        && !error.is_nobody()
    {
        errln!("pinion-agent: {}", error.failure(config));
        errln!("pinion-agent: the identity is stored; the daemon will use it when it starts");
    }
    if json {
        print_json(&Joined {
            guest: identity.guest,
            identity_generation: identity.generation,
            not_after: identity.not_after,
        });
    } else {
        errln!(
            "joined as guest {}; the identity is valid until {}, and the agent renews it",
            identity.guest,
            identity.not_after
        );
    }
    Ok(Exit::Reached)
}

/// A refused token needs a person, with another one.
fn exit(error: &JoinError) -> Exit {
    match error {
        JoinError::Refused => Exit::Blocked,
        JoinError::Dial(_) => Exit::Unreachable,
        JoinError::Tls(_) | JoinError::Call(_) | JoinError::Identity(_) => Exit::Internal,
    }
}

/// A token that a person types or pastes.
async fn typed() -> Result<Zeroizing<String>, String> {
    let read =
        keyboard::secret("Join token (from `pinion token create` on the host; it is not shown): ", MAX_TOKEN).await;
    let text = read.map_err(|error| format!("cannot read the token from the terminal: {error}"))?;
    if text.trim().is_empty() {
        return Err(format!("no token was typed; {CREATE}"));
    }
    Ok(text)
}

fn read(file: Option<&Path>) -> Result<Zeroizing<String>, String> {
    let mut text = Zeroizing::new(String::new());
    let outcome = match file {
        Some(path) => std::fs::File::open(path).and_then(|file| file.take(MAX_TOKEN).read_to_string(&mut text)),
        None => std::io::stdin().lock().take(MAX_TOKEN).read_to_string(&mut text),
    };
    match outcome {
        Ok(0) => Err("no token on standard input: pipe the output of `pinion token create` into this command".into()),
        Ok(_) => Ok(text),
        Err(error) => Err(match file {
            Some(path) => format!("cannot read the token from {}: {error}", path.display()),
            None => format!("cannot read the token from stdin: {error}"),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::dial::DialError;

    #[test]
    fn a_refusal_is_4_and_nobody_there_is_5() {
        assert_eq!(exit(&JoinError::Refused), Exit::Blocked);
        assert_eq!(exit(&JoinError::Dial(DialError::NoAddress)), Exit::Unreachable);
        assert_eq!(exit(&JoinError::Call("cut off".into())), Exit::Internal);
    }

    #[test]
    fn a_token_is_read_from_its_file_and_no_more_than_a_token() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("token");
        std::fs::write(&path, "pinion-join-1.abc\n").expect("written");
        assert_eq!(read(Some(&path)).expect("a line").as_str(), "pinion-join-1.abc\n");
        std::fs::write(&path, "x".repeat(100_000)).expect("written");
        assert_eq!(read(Some(&path)).expect("its beginning").len(), 16 * 1024);
        std::fs::write(&path, "").expect("written");
        assert!(read(Some(&path)).expect_err("nothing").contains("pinion token create"));
        std::fs::remove_file(&path).expect("removed");
        assert!(read(Some(&path)).expect_err("no file").contains(&path.display().to_string()));
    }
}

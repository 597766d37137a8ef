//! The provisioner's password: from a person at the keyboard, or from standard input.
//!
//! Invariant: it is in no argument, and what a person types is not shown.

use std::io::{self, IsTerminal, Read};

use pinion_proto::keyboard;
use zeroize::Zeroizing;

use super::questions::Stopped;
use crate::issuer::Password;

/// The password of this provisioner.
pub(super) async fn given(provisioner: &str) -> Result<Password, Stopped> {
    let text = if keyboard::is_there() {
        let prompt = format!("Password of the provisioner {provisioner} (it is not shown): ");
        keyboard::secret(&prompt, Password::MAX).await
    } else if io::stdin().is_terminal() {
        Ok(Zeroizing::default())
    } else {
        let mut text = Zeroizing::new(String::with_capacity(256));
        io::stdin().lock().take(Password::MAX).read_to_string(&mut text).map(|_| text)
    };
    let text = text.map_err(|error| Stopped::usage(format!("cannot read the provisioner's password: {error}")))?;
    Password::new(&text).ok_or_else(|| {
        Stopped::usage(format!(
            "there is no password on standard input: pipe that of the provisioner {provisioner} into this command, or run \
             it on a terminal"
        ))
    })
}

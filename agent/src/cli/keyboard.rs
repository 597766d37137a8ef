//! Questions to a person at the keyboard.
//!
//! Invariant: a secret that is typed is not shown, and the terminal is as it was afterwards, also when it is interrupted.

use pinion_proto::{err, errln};
use std::{
    io::{self, BufRead, IsTerminal, Read, Stdin},
    process,
};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use tokio::signal::ctrl_c;
use zeroize::Zeroizing;

/// What a shell makes of a program that SIGINT ended.
const INTERRUPTED: i32 = 130;

/// Whether somebody can be asked.
pub(super) fn is_there() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks for a secret: one line of at most so many bytes, which is not shown.
///
/// # Errors
/// The terminal cannot be read.
pub(super) async fn secret(prompt: &str, max: u64) -> io::Result<Zeroizing<String>> {
    let hidden = Hidden::begin(io::stdin())?;
    err!("{prompt}");
    let read = tokio::task::spawn_blocking(move || {
        let mut line = Zeroizing::new(String::new());
        io::stdin().lock().take(max).read_line(&mut line).map(|_| line)
    });
    tokio::select! {
        line = read => {
            drop(hidden);
            errln!();
            line.map_err(io::Error::other)?
        }
        _ = ctrl_c() => {
            drop(hidden);
            errln!();
            // The thread that reads ends with the process alone.
            process::exit(INTERRUPTED)
        }
    }
}

/// Asks a question that is answered with yes or no; anything but a yes is a no.
pub(super) fn is_yes(question: &str) -> bool {
    err!("{question} [y/N] ");
    let mut line = String::new();
    let read = io::stdin().lock().take(16).read_line(&mut line);
    read.is_ok() && matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

/// A terminal that does not show what is typed, for as long as this lives.
struct Hidden {
    terminal: Stdin,
    before: Termios,
}

impl Hidden {
    fn begin(terminal: Stdin) -> io::Result<Self> {
        let before = tcgetattr(&terminal)?;
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        // What was typed before the prompt was not meant for it.
        tcsetattr(&terminal, OptionalActions::Flush, &hidden)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        // The terminal may be gone.
        tcsetattr(&self.terminal, OptionalActions::Now, &self.before).ok();
    }
}

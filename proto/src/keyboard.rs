//! Questions to a person at the keyboard.
//!
//! Invariant: a secret that is typed is not shown, and the terminal is as it was afterwards, also when it is interrupted.

use std::{
    io::{self, BufRead, IsTerminal, Read, Stdin},
    process,
};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use tokio::signal::ctrl_c;
use zeroize::Zeroizing;

use crate::{err, errln};

/// What a shell makes of a program that SIGINT ended.
pub const INTERRUPTED: i32 = 130;

/// An answer that is shown is a line of text (bytes).
const MAX_ANSWER: u64 = 1024;

/// Whether somebody can be asked.
#[must_use]
pub fn is_there() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks for a secret: one line of at most so many bytes, which is not shown.
///
/// # Errors
/// The terminal cannot be read.
pub async fn secret(prompt: &str, max: u64) -> io::Result<Zeroizing<String>> {
    let hidden = Hidden::begin(io::stdin())?;
    err!("{prompt}");
    let read = typed(max).await;
    drop(hidden);
    errln!();
    read.unwrap_or_else(|Interrupted| process::exit(INTERRUPTED))
}

/// Asks for a line of text. None at the end of the input.
///
/// # Errors
/// The terminal cannot be read.
pub async fn line(prompt: &str) -> io::Result<Option<String>> {
    err!("{prompt}");
    let Ok(read) = typed(MAX_ANSWER).await else { interrupted() };
    read.map(|line| (!line.is_empty()).then(|| line.trim().to_owned()))
}

/// Asks a question that is answered with yes or no; anything but a yes is a no.
pub async fn is_yes(question: &str) -> bool {
    err!("{question} [y/N] ");
    let Ok(read) = typed(16).await else { interrupted() };
    read.is_ok_and(|line| matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

fn interrupted() -> ! {
    errln!();
    process::exit(INTERRUPTED)
}

/// Somebody pressed Ctrl-C. The thread that reads ends with the process alone.
struct Interrupted;

/// The next line that is typed, with its end.
async fn typed(max: u64) -> Result<io::Result<Zeroizing<String>>, Interrupted> {
    let read = tokio::task::spawn_blocking(move || {
        let mut line = Zeroizing::new(String::new());
        io::stdin().lock().take(max).read_line(&mut line).map(|_| line)
    });
    tokio::select! {
        line = read => Ok(line.map_err(io::Error::other).and_then(|line| line)),
        _ = ctrl_c() => Err(Interrupted),
    }
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

//! A command on a terminal: what a person at a keyboard sees, and how it ends.

use std::{
    fs::File,
    io::{Read, Write},
    process::Command,
    thread,
    time::Duration,
};

use anyhow::{Context, Result, anyhow};
use rustix::{
    fs::{Mode, OFlags, open},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Winsize, tcsetwinsize},
};

use crate::{process::Finished, wait};

/// Runs a command to its end with all three of its streams on a terminal of 100 columns. Both outputs come as
/// `stdout`, control sequences included.
///
/// # Errors
/// There are no terminals, it cannot be started, or it runs longer than `max` and is killed then.
pub fn run(command: &mut Command, max: Duration) -> Result<Finished> {
    converse(command, &[], max)
}

/// The same, with somebody at the keyboard who answers each of these prompts, in their order, with a line.
///
/// # Errors
/// As [`run`].
pub fn converse(command: &mut Command, answers: &[(&str, &str)], max: Duration) -> Result<Finished> {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).context("open a terminal")?;
    grantpt(&master).and_then(|()| unlockpt(&master)).context("unlock the terminal")?;
    let name = ptsname(&master, Vec::new()).context("name the terminal")?;
    let slave = open(&name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty());
    let slave = slave.context("open the terminal's other end")?;
    let size = Winsize { ws_row: 24, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&slave, size).context("size the terminal")?;

    let what = format!("{command:?}");
    let twin = || slave.try_clone().context("open the terminal's other end twice");
    command.env("TERM", "xterm").stdin(twin()?).stdout(twin()?).stderr(twin()?);
    let mut child = command.spawn().with_context(|| format!("start {what}"))?;
    // As long as anyone but the child has its end open, reading does not end: not the command's copies either.
    command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    drop(slave);
    let answers: Vec<_> = answers.iter().map(|&(prompt, line)| (prompt.to_owned(), line.to_owned())).collect();
    let reader = thread::spawn(move || {
        let (mut master, mut seen, mut buffer) = (File::from(master), Vec::new(), [0; 4096]);
        let (mut answers, mut answered) = (answers.into_iter().peekable(), 0);
        // The last end that is closed makes reading fail with EIO.
        while let Ok(count @ 1..) = master.read(&mut buffer) {
            seen.extend_from_slice(&buffer[..count]);
            let asked = String::from_utf8_lossy(seen.get(answered..).unwrap_or_default()).into_owned();
            if let Some((_, line)) = answers.next_if(|(prompt, _)| asked.contains(prompt)) {
                answered = seen.len();
                // A command that has ended reads no answer.
                master.write_all(format!("{line}\n").as_bytes()).ok();
            }
        }
        seen
    });
    let waited = wait::until(&format!("{what} to end"), max, || match child.try_wait() {
        Ok(Some(status)) => Ok(status),
        Ok(None) => Err("still running".to_owned()),
        Err(error) => Err(error.to_string()),
    });
    if waited.is_err() {
        child.kill().and_then(|()| child.wait()).with_context(|| format!("kill {what}"))?;
    }
    let seen = reader.join().map_err(|_| anyhow!("the terminal's reader panicked"))?;
    let stdout = String::from_utf8_lossy(&seen).into_owned();
    match waited {
        Ok(status) => Ok(Finished { command: what, status, stdout, stderr: String::new() }),
        Err(error) => Err(error.context(format!("its output so far: {stdout}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wait::PATIENCE;

    #[test]
    fn a_command_finds_itself_on_a_terminal() {
        let script = "[ -t 0 ] && [ -t 1 ] && [ -t 2 ] && stty size && exit 7";
        let finished = run(Command::new("sh").args(["-c", script]), PATIENCE).expect("sh runs");
        assert_eq!((finished.code(), finished.stdout.trim()), (7, "24 100"));
    }
}

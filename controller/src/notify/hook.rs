//! A message to a program on this host.
//!
//! Invariant: what runs is what was looked at: the file is opened once, judged by its descriptor, and run by it. No shell, no
//! word of an alarm among its arguments, a bounded time.

use std::{os::fd::AsRawFd, path::Path, process::Stdio};

use pinion_proto::{
    printable::Shown,
    process::{self, Ending, Keep, Output, end_group},
    trusted::{self, Opened},
};
use serde_json::json;

use super::{config::HookConfig, failure::SendError, files::Files, message::Message, template::listed};

/// So much of what it prints is kept for people (bytes); all else is read and dropped.
const MAX_OUTPUT: usize = 2048;

/// Of the text in the message (bytes).
const MAX_TEXT: usize = 16 * 1024;

/// Where programs are that a hook may start by name.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Sends a message.
pub(super) async fn send(config: &HookConfig, files: &Files, host: &str, message: &Message) -> Result<(), SendError> {
    let path = files.path(&config.path);
    let opened = {
        let path = path.clone();
        tokio::task::spawn_blocking(move || open(&path)).await
    };
    let hook = opened.map_err(|error| SendError::passing(format!("opening the hook failed: {error}")))??;
    let (state, severity) = (message.state(), message.severity());
    let title = message.title(host);
    let document = json!({
        "title": title, "text": message.text(MAX_TEXT), "state": state, "severity": severity, "host": host,
        "time": message.at(), "remaining": message.remaining(), "alarms": listed(message),
    });
    let word = |name: &str| document[name].as_str().unwrap_or_default().to_owned();
    let environment = [
        ("PATH".to_owned(), PATH.to_owned()),
        ("LC_ALL".to_owned(), "C.UTF-8".to_owned()),
        ("PINION_STATE".to_owned(), word("state")),
        ("PINION_SEVERITY".to_owned(), word("severity")),
        ("PINION_TITLE".to_owned(), title),
    ];
    // The descriptor as a path of this process, so that nothing else inherits it.
    let program = format!("/proc/{}/fd/{}", std::process::id(), hook.file.as_raw_fd());
    let child = process::spawn(Path::new(&program), &[] as &[&str], environment, Stdio::piped()).await;
    let mut child = child.map_err(|error| SendError::file(&path, error))?;
    let (mut stdout, mut stderr) = (Output::new(Keep::First(0)), Output::new(Keep::Ends(MAX_OUTPUT / 2)));
    let input = document.to_string();
    let talk = process::talk(&mut child, input.as_bytes(), [&mut stdout, &mut stderr], config.timeout, end_group);
    let ending = talk.await.map_err(|error| SendError::passing(format!("the hook cannot be waited for: {error}")))?;
    let said = String::from_utf8_lossy(&stderr.into_bytes()).replace(&program, &path.display().to_string());
    let said = said.trim();
    match ending {
        Ending::Exited(status) if status.success() => Ok(()),
        Ending::TimedOut => Err(SendError::too_slow(config.timeout)),
        Ending::Exited(status) => {
            let said = if said.is_empty() { String::new() } else { format!(": {}", Shown(said)) };
            Err(SendError::program(format!("the hook ended with {status}{said}")))
        }
        Ending::TooMuch => Err(SendError::program("the hook printed too much")),
    }
}

/// Opens a hook that only root, or this process's user, could have written.
///
/// # Errors
/// It is not there, others could have written it, or it is not executable.
pub(super) fn open(path: &Path) -> Result<Opened, SendError> {
    let parts = path.parent().zip(path.file_name().and_then(|name| name.to_str()));
    let (directory, name) = parts.ok_or_else(|| SendError::file(path, "it has no name"))?;
    match trusted::open(directory, name) {
        Ok(Some(opened)) if opened.mode & 0o111 == 0 => {
            Err(SendError::lasting(format!("{} is not executable", path.display()), "run `chmod 0755` on it"))
        }
        Ok(Some(opened)) => Ok(opened),
        Ok(None) => Err(SendError::file(path, "it is not there")),
        Err(why) => {
            let cause = format!("the hook is not run, because {}", pinion_proto::causes::chain(&why));
            Err(SendError::lasting(cause, why.remedy()))
        }
    }
}

#[cfg(test)]
mod tests;

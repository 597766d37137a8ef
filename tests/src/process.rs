//! Child processes: daemons with their output in a file, and commands that end by themselves.
//!
//! Invariant: a daemon is ended by its id when its value is dropped: SIGTERM, a bounded wait, SIGKILL.
//! Children stay in the process group of whoever runs the harness, so that one signal to the group
//! ends them even when no value gets dropped.

use std::{
    ffi::OsStr,
    fmt,
    fs::{self, OpenOptions},
    io::{Read, Seek, Write},
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::wait;

/// A running daemon.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    /// How it ended, once that is known: the id may be another's by then.
    ended: Option<ExitStatus>,
}

impl Process {
    /// Starts a command whose output is appended to the file `log`.
    ///
    /// # Errors
    /// The log cannot be opened or the program not be started.
    pub fn spawn(name: &str, command: &mut Command, log: &Path) -> Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(log);
        let file = file.with_context(|| format!("open the log of {name} at {}", log.display()))?;
        let twin = file.try_clone().with_context(|| format!("open the log of {name} twice"))?;
        let child = command.stdin(Stdio::null()).stdout(file).stderr(twin).spawn();
        let child = child.with_context(|| format!("start {name} with {}", line(command)))?;
        Ok(Self { name: name.to_owned(), child, log: log.to_owned(), ended: None })
    }

    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Everything that it has written, the runs before it included when they had the same log.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// The last lines of its log, for a message about its failure.
    #[must_use]
    pub fn log_tail(&self) -> String {
        tail(&self.log)
    }

    /// Whether it has not ended.
    pub fn is_running(&mut self) -> bool {
        self.try_wait().is_none()
    }

    /// Fails when it has ended, with the end of its log.
    ///
    /// # Errors
    /// It has ended.
    pub fn check_running(&mut self) -> Result<()> {
        match self.try_wait() {
            None => Ok(()),
            Some(status) => bail!("{} ended by itself, {status}; its log ends:\n{}", self.name, self.log_tail()),
        }
    }

    /// Sends a signal; one to a process that has ended does nothing.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        if self.try_wait().is_some() {
            return Ok(());
        }
        // Not waited for yet, so the id is still this child's.
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("a process id is positive")?;
        kill_process(pid, signal).with_context(|| format!("send {signal:?} to {}", self.name))
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// It runs longer than `max`.
    pub fn wait_end(&mut self, max: Duration) -> Result<ExitStatus> {
        let what = format!("the end of {} (process {})", self.name, self.child.id());
        let waited = wait::until(&what, max, || self.try_wait().ok_or("still running"));
        waited.map_err(|error| anyhow!("{error:#}; its log ends:\n{}", self.log_tail()))
    }

    /// SIGTERM, a bounded wait, and SIGKILL after it; the error says that it had to be killed.
    ///
    /// # Errors
    /// It did not end by itself.
    pub fn stop(&mut self) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        // Not `wait_end`, which an interrupt cuts short: whoever is interrupted still stops its children.
        for _ in 0..GRACE.as_millis() / STEP.as_millis() {
            if let Some(status) = self.try_wait() {
                return Ok(status);
            }
            std::thread::sleep(STEP);
        }
        self.kill9()?;
        bail!(
            "{} did not end within {GRACE:?} of SIGTERM and was killed; its log ends:\n{}",
            self.name,
            self.log_tail()
        )
    }

    /// SIGKILL, as a crash or a power cut would end it.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn kill9(&mut self) -> Result<ExitStatus> {
        self.signal(Signal::KILL)?;
        let status = self.child.wait().with_context(|| format!("wait for {}", self.name))?;
        self.ended = Some(status);
        Ok(status)
    }

    fn try_wait(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().ok().flatten();
        }
        self.ended
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.try_wait().is_none() && self.stop().is_err() {
            // `stop` has killed it; a test that minds calls `stop` itself.
        }
    }
}

/// Daemons close their connections and write their state in far less.
const GRACE: Duration = Duration::from_secs(10);

/// Between two looks at a process that should end.
const STEP: Duration = Duration::from_millis(10);

/// A command that has ended.
#[derive(Debug, Clone)]
pub struct Finished {
    /// What was run, for messages.
    pub command: String,
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Finished {
    /// The exit code; 128 and the signal's number when one ended it, as shells have it.
    #[must_use]
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| 128 + self.status.signal().unwrap_or(0))
    }

    /// Itself when it ended with code 0.
    ///
    /// # Errors
    /// It did not; the message has what it wrote.
    pub fn succeeded(self) -> Result<Self> {
        if self.code() == 0 { Ok(self) } else { Err(anyhow!("{self}")) }
    }
}

impl fmt::Display for Finished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` ended with code {}", self.command, self.code())?;
        for (name, text) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            if !text.trim().is_empty() {
                write!(f, "\n{name}: {}", text.trim_end())?;
            }
        }
        Ok(())
    }
}

/// Copies a program to where it is to be executed, by another process: what this one has open for writing while another of
/// its threads starts a child cannot be executed until that child is somewhere else (ETXTBSY, execve(2)).
///
/// # Errors
/// It cannot be copied.
pub fn copy_program(from: &Path, to: &Path) -> Result<()> {
    let mut copy = Command::new("cp");
    copy.arg("--").arg(from).arg(to);
    run(&mut copy, b"", wait::PATIENCE)?.succeeded().map(drop)
}

/// Runs a command to its end, giving it `input`.
///
/// # Errors
/// It cannot be started, or runs longer than `max`, and is killed then.
pub fn run(command: &mut Command, input: &[u8], max: Duration) -> Result<Finished> {
    let what = line(command);
    // Files and not pipes: nobody has to read while it runs, and a child that it leaves behind holds nothing open.
    let file = || tempfile::tempfile().context("make a file for a command's output");
    let (mut stdin, mut stdout, mut stderr) = (file()?, file()?, file()?);
    stdin.write_all(input).and_then(|()| stdin.rewind()).context("write a command's input")?;
    let mut child = command
        .stdin(stdin)
        .stdout(stdout.try_clone().context("open a command's output twice")?)
        .stderr(stderr.try_clone().context("open a command's output twice")?)
        .spawn()
        .with_context(|| format!("start `{what}`"))?;
    let waited = wait::until(&format!("`{what}` to end"), max, || match child.try_wait() {
        Ok(Some(status)) => Ok(status),
        Ok(None) => Err("still running".to_owned()),
        Err(error) => Err(error.to_string()),
    });
    if waited.is_err() {
        child.kill().and_then(|()| child.wait()).with_context(|| format!("kill `{what}`"))?;
    }
    let read = |file: &mut fs::File| -> Result<String> {
        let mut bytes = Vec::new();
        file.rewind().and_then(|()| file.read_to_end(&mut bytes)).context("read a command's output")?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let (stdout, stderr) = (read(&mut stdout)?, read(&mut stderr)?);
    match waited {
        Ok(status) => Ok(Finished { command: what, status, stdout, stderr }),
        Err(error) => Err(error.context(format!("its output so far: {stdout}{stderr}"))),
    }
}

/// A command as one line for messages; not for a shell.
fn line(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let name = program.file_name().unwrap_or(command.get_program());
    std::iter::once(name).chain(command.get_args()).map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}

fn tail(log: &Path) -> String {
    const LINES: usize = 30;
    let text = fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wait::PATIENCE;

    #[test]
    fn a_command_gets_its_input_and_its_code_is_told() {
        let finished = run(Command::new("sh").args(["-c", "cat; echo trouble >&2; exit 3"]), b"hello", PATIENCE);
        let finished = finished.expect("sh runs");
        assert_eq!((finished.code(), finished.stdout.as_str(), finished.stderr.as_str()), (3, "hello", "trouble\n"));
        let error = finished.succeeded().expect_err("code 3 is no success").to_string();
        assert!(error.contains("trouble"), "{error}");
    }

    #[test]
    fn a_command_past_its_deadline_is_killed() {
        let error = run(Command::new("sleep").arg("1000"), b"", Duration::from_millis(50)).expect_err("too long");
        assert!(format!("{error:#}").contains("`sleep 1000` to end"), "{error:#}");
    }

    #[test]
    fn a_daemon_ends_with_its_value() {
        let log = tempfile::NamedTempFile::new().expect("a log");
        let process = Process::spawn("sleeper", Command::new("sleep").arg("1000"), log.path()).expect("sleep starts");
        let directory = PathBuf::from(format!("/proc/{}", process.id()));
        assert!(directory.exists());
        drop(process);
        assert!(!directory.exists());
    }

    #[test]
    fn a_daemon_that_ends_by_itself_is_noticed_with_its_last_words() {
        let log = tempfile::NamedTempFile::new().expect("a log");
        let mut command = Command::new("sh");
        let mut process =
            Process::spawn("dying", command.args(["-c", "echo farewell; exit 7"]), log.path()).expect("sh");
        assert_eq!(process.wait_end(PATIENCE).expect("it ends").code(), Some(7));
        let error = process.check_running().expect_err("it has ended").to_string();
        assert!(error.contains("farewell") && error.contains("exit status: 7"), "{error}");
    }
}

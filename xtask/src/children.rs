//! Child processes that end when this one is asked to.
//!
//! Invariant: each child leads a process group of its own, and when it has ended or SIGINT or SIGTERM
//! came here, the whole group is ended: no daemon of a test outlives the command that ran the tests.

use std::{
    env,
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process_group};
use signal_hook::consts::{SIGINT, SIGTERM};

/// Runs children, from any thread, and knows whether someone asked to stop.
#[derive(Debug)]
pub(crate) struct Children {
    interrupted: Arc<AtomicBool>,
}

impl Children {
    /// From now on SIGINT and SIGTERM end the child that runs, and then the command.
    pub(crate) fn watched() -> Result<Self> {
        let interrupted = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            signal_hook::flag::register(signal, Arc::clone(&interrupted)).context("watch for signals")?;
        }
        Ok(Self { interrupted })
    }

    /// Runs a command to its end; its output goes where ours does.
    pub(crate) fn run(&self, command: &mut Command) -> Result<ExitStatus> {
        let what = shown(command);
        let child = command.stdin(Stdio::null()).process_group(0).spawn().with_context(|| format!("start `{what}`"))?;
        self.wait(child, &what)
    }

    /// As [`Self::run`]; an exit code other than 0 is an error.
    pub(crate) fn run_well(&self, command: &mut Command) -> Result<()> {
        let what = shown(command);
        let status = self.run(command)?;
        if !status.success() {
            bail!("`{what}` failed, {status}");
        }
        Ok(())
    }

    fn wait(&self, mut child: Child, what: &str) -> Result<ExitStatus> {
        let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw).context("a process id is positive")?;
        let mut asked: Option<Instant> = None;
        let status = loop {
            if let Some(status) = child.try_wait().with_context(|| format!("wait for `{what}`"))? {
                break status;
            }
            match asked {
                None if self.interrupted.load(Ordering::Relaxed) => {
                    signal_group(group, Signal::TERM);
                    asked = Some(Instant::now());
                }
                Some(at) if at.elapsed() > GRACE => signal_group(group, Signal::KILL),
                _ => {}
            }
            thread::sleep(LOOK);
        };
        // What the child left behind in its group.
        signal_group(group, Signal::KILL);
        if self.interrupted.load(Ordering::Relaxed) {
            bail!("interrupted during `{what}`");
        }
        Ok(status)
    }
}

/// `cargo`, the one that runs us, in the project's root.
pub(crate) fn cargo(root: &Path) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root);
    command
}

/// A command as one line, for people; not for a shell.
pub(crate) fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let name = program.file_name().unwrap_or(command.get_program());
    let words = std::iter::once(name).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

fn signal_group(group: Pid, signal: Signal) {
    if kill_process_group(group, signal).is_err() {
        // Nobody is left in it, which is what is wanted.
    }
}

/// The demo and the tests stop their daemons in order; the slowest of them, dockerd, needs a few seconds.
const GRACE: Duration = Duration::from_secs(15);

/// Between two looks at a child and at the flag.
const LOOK: Duration = Duration::from_millis(20);

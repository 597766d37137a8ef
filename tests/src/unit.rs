//! A service of a guest under a manager as small as a test needs: start, reload, restart, and faults on demand.
//!
//! Answers: what does `systemctl reload x.service` do where no systemd runs? The agent calls the hook
//! `hooks.d/x.service`; the hook hands the word to the value here and comes back with its answer.
//! Invariant: the hook is there from the unit's start to its stop, because to the agent a hook that is
//! not there is what an inactive unit is under systemd: nobody to tell yet.

use std::{
    fmt::Display,
    fs, io,
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail};
use pinion_proto::lock::lock;
use rustix::process::Signal;

use crate::{
    guest::{Guest, write_executable},
    port,
    process::{self, Process},
    wait::{self, PATIENCE},
};

/// What the unit runs.
#[derive(Debug, Clone)]
pub struct UnitSpec {
    /// The unit's full name: `nginx.service`.
    pub name: String,
    /// The program and its arguments; it stays in the foreground.
    pub command: Vec<String>,
    /// What a reload does.
    pub reload: ReloadBy,
    /// It is up when it, and nobody else, accepts connections at this address.
    pub listens: SocketAddr,
}

/// What a reload does.
#[derive(Debug, Clone)]
pub enum ReloadBy {
    /// The unit cannot be reloaded.
    Nothing,
    /// A signal to its process.
    Signal(Signal),
    /// A command that tells it.
    Command(Vec<String>),
}

/// A unit of a guest.
#[derive(Debug)]
pub struct Unit {
    state: Arc<Mutex<State>>,
    done: Arc<AtomicBool>,
    serving: Option<JoinHandle<()>>,
}

impl Unit {
    /// A unit of the guest's; nothing runs yet.
    ///
    /// # Errors
    /// Its directory cannot be made.
    pub fn install(guest: &Guest, spec: UnitSpec) -> Result<Self> {
        let directory = guest.path(&format!("/run/units/{}", spec.name));
        fs::create_dir_all(&directory).with_context(|| format!("make {}", directory.display()))?;
        let hook = Hook { path: guest.hook_path(&spec.name), script: script(&directory) };
        let log = guest.path(&format!("/var/log/{}.log", spec.name));
        let state = State { spec, hook, log, process: None, reloads: 0, restarts: 0, refusals: 0 };
        let (state, done) = (Arc::new(Mutex::new(state)), Arc::new(AtomicBool::new(false)));
        let serving = thread::spawn({
            let (state, done) = (Arc::clone(&state), Arc::clone(&done));
            move || serve_hooks(&directory, &state, &done)
        });
        Ok(Self { state, done, serving: Some(serving) })
    }

    /// Starts it, and returns when it listens.
    ///
    /// # Errors
    /// It ends at once, or does not listen.
    pub fn start(&self) -> Result<()> {
        self.state().start()
    }

    /// Ends it in order.
    ///
    /// # Errors
    /// It does not end on SIGTERM.
    pub fn stop(&self) -> Result<()> {
        self.state().stop()
    }

    /// Ends it and starts it with other words, as after somebody's change of the unit; nobody asked for a restart.
    ///
    /// # Errors
    /// It does not end, or does not come up.
    pub fn start_with(&self, change: impl Fn(&str) -> String) -> Result<()> {
        let mut state = self.state();
        state.spec.command = state.spec.command.iter().map(|word| change(word)).collect();
        state.end()?;
        state.start()
    }

    /// Its process id, when it runs.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.state().process.as_ref().map(Process::id)
    }

    /// How often it was asked to reload, refusals included.
    #[must_use]
    pub fn reloads(&self) -> usize {
        self.state().reloads
    }

    /// How often it was asked to restart, refusals included.
    #[must_use]
    pub fn restarts(&self) -> usize {
        self.state().restarts
    }

    /// From now on this many requests fail and do nothing.
    pub fn refuse_next(&self, requests: usize) {
        self.state().refusals = requests;
    }

    /// What it wrote.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(&self.state().log).unwrap_or_default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl Drop for Unit {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
        if self.serving.take().is_some_and(|serving| serving.join().is_err()) {
            // Its panic has been printed, and the process below is ended all the same.
        }
    }
}

#[derive(Debug)]
struct State {
    spec: UnitSpec,
    hook: Hook,
    log: PathBuf,
    process: Option<Process>,
    reloads: usize,
    restarts: usize,
    refusals: usize,
}

impl State {
    fn start(&mut self) -> Result<()> {
        if self.process.as_mut().is_some_and(Process::is_running) {
            return Ok(());
        }
        let mut process = Process::spawn(&self.spec.name, &mut command(&self.spec.command), &self.log)?;
        let address = self.spec.listens;
        // A process that has ended is an answer too: there is nothing to wait for any more.
        let up = wait::until(&format!("{} to listen on {address}", self.spec.name), START, || {
            match process.check_running() {
                Err(ended) => Ok(Err(ended)),
                Ok(()) if !port::is_listening(process.id(), address) => Err("it does not listen there".to_owned()),
                Ok(()) => match TcpStream::connect_timeout(&address, Duration::from_secs(1)) {
                    Ok(_) => Ok(Ok(())),
                    Err(error) => Err(error.to_string()),
                },
            }
        });
        up.map_err(|error| anyhow!("{error:#}; its log ends:\n{}", process.log_tail()))??;
        self.process = Some(process);
        self.hook.write()
    }

    fn stop(&mut self) -> Result<()> {
        self.hook.remove()?;
        self.end()
    }

    fn end(&mut self) -> Result<()> {
        match self.process.take() {
            Some(mut process) => process.stop().map(drop),
            None => Ok(()),
        }
    }

    fn reload(&mut self) -> Result<()> {
        let Some(process) = self.process.as_mut() else {
            bail!("{} is not active, cannot reload", self.spec.name);
        };
        process.check_running()?;
        match &self.spec.reload {
            ReloadBy::Nothing => bail!("{} cannot be reloaded", self.spec.name),
            ReloadBy::Signal(signal) => process.signal(*signal),
            ReloadBy::Command(words) => process::run(&mut command(words), b"", PATIENCE)?.succeeded().map(drop),
        }
    }

    fn answer(&mut self, request: &str) -> Result<()> {
        match request {
            "reload" => self.reloads += 1,
            "restart" => self.restarts += 1,
            other => bail!("{other:?} is neither reload nor restart"),
        }
        if self.refusals > 0 {
            self.refusals -= 1;
            bail!("the test wants this {request} to fail");
        }
        if request == "reload" {
            return self.reload();
        }
        self.end()?;
        self.start()
    }
}

/// The unit's file in the guest's `hooks.d`.
#[derive(Debug)]
struct Hook {
    path: PathBuf,
    script: String,
}

impl Hook {
    fn write(&self) -> Result<()> {
        write_executable(&self.path, &self.script)
    }

    fn remove(&self) -> Result<()> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("remove {}", self.path.display()))
            }
            _ => Ok(()),
        }
    }
}

/// Answers the hook's requests until the unit is dropped.
fn serve_hooks(directory: &Path, state: &Mutex<State>, done: &AtomicBool) {
    let request = directory.join("request");
    while !done.load(Ordering::Relaxed) {
        if let Ok(word) = fs::read_to_string(&request) {
            let answered = lock(state).answer(word.trim());
            let text = match answered {
                Ok(()) => "ok\n".to_owned(),
                Err(error) => format!("{error:#}\n"),
            };
            // Renamed, so that the hook never reads half; a failure leaves the hook to its own deadline.
            let fresh = directory.join("answer.new");
            let written = fs::remove_file(&request)
                .and_then(|()| fs::write(&fresh, text))
                .and_then(|()| fs::rename(&fresh, directory.join("answer")));
            written.unwrap_or_else(|error| complain(&error));
        }
        thread::sleep(LOOK);
    }
}

/// A guest's directory that went before its unit is the usual cause, and then nobody asks any more.
fn complain(error: &dyn Display) {
    tracing::warn!(%error, "Could not answer a unit's hook");
}

/// The hook: hands over its argument, waits for the answer, and fails with it unless it is `ok`.
fn script(directory: &Path) -> String {
    format!(
        "#!/bin/sh\n\
         cd '{}' || exit 1\n\
         rm -f answer\n\
         echo \"$1\" >request.new && mv request.new request || exit 1\n\
         tries=0\n\
         until [ -e answer ]; do\n\
         \ttries=$((tries + 1))\n\
         \t[ \"$tries\" -lt 3000 ] || {{ echo 'nobody runs this unit' >&2; exit 1; }}\n\
         \tsleep 0.02\n\
         done\n\
         [ \"$(cat answer)\" = ok ] && exit 0\n\
         cat answer >&2\n\
         exit 1\n",
        directory.display()
    )
}

fn command(words: &[String]) -> Command {
    let (program, arguments) = words.split_first().map_or(("", [].as_slice()), |(first, rest)| (first.as_str(), rest));
    let mut command = Command::new(program);
    command.args(arguments);
    command
}

/// The largest of the services, RabbitMQ, starts in 7 s, and in half a minute on a machine with nine times as much to do.
const START: Duration = Duration::from_secs(120);

/// A service takes longer to reload than this to be noticed.
const LOOK: Duration = Duration::from_millis(10);

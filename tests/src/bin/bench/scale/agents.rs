//! The processes of ten thousand agents, from the inside and from the outside.

use std::{
    io::{BufRead, BufReader, Write, stdin, stdout},
    net::SocketAddr,
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use pinion_agent::identity::{Identity, IdentityRequest};
use pinion_controller::{
    identity::{Identities, NoMachines},
    store::Store,
};
use pinion_proto::{
    clock::{Clock, SystemClock},
    id::TrustDomain,
    message::JoinRequest,
    report::GuestFacts,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::{Deserialize, Serialize};
use tokio::{sync::watch, task::JoinSet};

use super::{
    agent::SimulatedAgent,
    counts::{Counts, Said},
};
use crate::agents::guests;

/// What the agents are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Word {
    Start,
    Reboot,
    Mark,
    Count,
    Times,
    Hush,
    Report,
}

/// A process has as many agents at most: each has a connection and a timer, which are open files, and many systems allow a
/// process no more than 20,000.
const OF_A_PROCESS: u32 = 5000;

/// `simulated-agents STATE PORT FIRST COUNT`: gives so many guests, from this place among them on, their identities in
/// the controller's state, while that does not run; then does as it is told, a line for each word, until its input ends.
pub(crate) fn run(words: &[String]) -> Result<()> {
    let [state, port, first, count] = words else { bail!("usage: bench simulated-agents STATE PORT FIRST COUNT") };
    let (first, count) = (first.parse::<u32>()?, count.parse::<u32>()?);
    allow_files(count)?;
    let identities = identities(Path::new(state), port.parse()?, first, count)?;
    println!("{}", serde_json::to_string(&Said::default())?);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("start a runtime")?;
    let counts = Arc::new(Counts::default());
    let reports = watch::Sender::new(true);
    let agent = |one| SimulatedAgent::new(one, counts.clone(), reports.subscribe());
    let mut agents = identities.into_iter().map(agent).collect::<Result<Vec<_>>>()?;
    let power = watch::Sender::new(());
    let mut running = JoinSet::new();
    let start = |running: &mut JoinSet<SimulatedAgent>, agents: Vec<SimulatedAgent>| {
        for agent in agents {
            running.spawn_on(agent.run(power.subscribe()), runtime.handle());
        }
    };
    for line in stdin().lock().lines() {
        let word: Word = serde_json::from_str(&line.context("read a word")?).context("read a word")?;
        match word {
            Word::Start => {
                counts.mark();
                start(&mut running, std::mem::take(&mut agents));
            }
            Word::Reboot => {
                power.send_replace(());
                let stopped = runtime.block_on(std::mem::take(&mut running).join_all());
                counts.mark();
                start(&mut running, stopped);
            }
            Word::Mark => counts.mark(),
            Word::Hush | Word::Report => drop(reports.send_replace(word == Word::Report)),
            Word::Count | Word::Times => {}
        }
        println!("{}", serde_json::to_string(&counts.said(word == Word::Times))?);
        stdout().flush().context("answer")?;
    }
    Ok(())
}

fn allow_files(agents: u32) -> Result<()> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let needed = u64::from(agents) * 2 + 100;
    let allowed = maximum.unwrap_or(u64::MAX);
    ensure!(
        allowed >= needed,
        "{agents} agents need {needed} open files, and {allowed} are allowed: raise the hard limit, or name fewer \
         agents in PINION_BENCH_AGENTS"
    );
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).context("allow so many open files")
}

/// Joins all guests, as the controller would, without its port.
fn identities(state: &Path, port: u16, first: u32, count: u32) -> Result<Vec<Identity>> {
    let store = Store::open(&state.join("local"), &state.join("shared")).context("open the controller's state")?;
    let domain: TrustDomain = "pinion.internal".parse()?;
    let clock = Arc::new(SystemClock);
    let all = Identities::open(&Arc::new(store), clock, Some(&domain), Arc::new(NoMachines))?;
    guests(first + count)
        .skip(first.try_into()?)
        .map(|guest| {
            // Each from an address of its own: in this network, a connection to one of 127.0.0.0/8 comes from it too.
            let [.., high, low] = guest.to_be_bytes();
            let address = SocketAddr::from(([127, 1, high, low], port));
            let token = all.create_token(guest.to_string().parse()?, vec![address])?;
            let request = IdentityRequest::make()?;
            let join = JoinRequest {
                guest: token.guest,
                secret: token.secret.clone(),
                csr: request.csr.clone(),
                facts: GuestFacts::default(),
            };
            let issued = all.join(&join, SystemClock.now())?;
            Ok(Identity::accept(issued, request, token.guest, token.root, token.controllers)?)
        })
        .collect()
}

/// The processes, from the outside.
pub(super) struct SimulatedAgents(Vec<Process>);

struct Process {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl SimulatedAgents {
    /// Makes so many agents for the controller whose state this is, which does not run yet.
    pub(super) fn make(state: &Path, port: u16, count: u32) -> Result<Self> {
        let firsts = (0..count).step_by(OF_A_PROCESS as usize);
        // One after the other: each writes to the state.
        let process = |first: u32| Process::start(state, port, first, OF_A_PROCESS.min(count - first));
        firsts.map(process).collect::<Result<_>>().map(Self)
    }

    /// They begin to dial.
    pub(super) fn start(&mut self) -> Result<()> {
        self.say(Word::Start).map(drop)
    }

    /// They are all stopped, and begin to dial anew.
    pub(super) fn reboot(&mut self) -> Result<()> {
        self.say(Word::Reboot).map(drop)
    }

    /// From now on they count anew.
    pub(super) fn mark(&mut self) -> Result<()> {
        self.say(Word::Mark).map(drop)
    }

    /// They keep to themselves what is new.
    pub(super) fn hush(&mut self) -> Result<()> {
        self.say(Word::Hush).map(drop)
    }

    /// They report what they have kept to themselves.
    pub(super) fn report(&mut self) -> Result<()> {
        self.say(Word::Report).map(drop)
    }

    pub(super) fn count(&mut self) -> Result<Said> {
        self.say(Word::Count)
    }

    /// With when each link began.
    pub(super) fn times(&mut self) -> Result<Said> {
        self.say(Word::Times)
    }

    /// Waits until what they did is as it should be.
    pub(super) fn wait(&mut self, what: &str, max: Duration, done: impl Fn(&Said) -> bool) -> Result<Said> {
        let begun = Instant::now();
        loop {
            let said = self.count()?;
            if done(&said) {
                return Ok(said);
            }
            ensure!(begun.elapsed() < max, "{what}: not within {max:?}: {said:?}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// What all of them together answer.
    fn say(&mut self, word: Word) -> Result<Said> {
        for process in &mut self.0 {
            process.tell(word)?;
        }
        let mut all = Said::default();
        for process in &mut self.0 {
            all.add(process.hear()?);
        }
        Ok(all)
    }
}

impl Process {
    fn start(state: &Path, port: u16, first: u32, count: u32) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe().context("find the running executable")?);
        command.arg("simulated-agents").arg(state).args([port.to_string(), first.to_string(), count.to_string()]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("start the agents")?;
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().context("hear the agents")?);
        let mut process = Self { child, input, output };
        process.hear()?;
        Ok(process)
    }

    fn tell(&mut self, word: Word) -> Result<()> {
        let input = self.input.as_mut().context("the agents are being stopped")?;
        writeln!(input, "{}", serde_json::to_string(&word)?).context("tell the agents")?;
        input.flush().context("tell the agents")
    }

    fn hear(&mut self) -> Result<Said> {
        let mut line = String::new();
        self.output.read_line(&mut line).context("hear the agents")?;
        serde_json::from_str(&line).with_context(|| format!("the agents said `{}`", line.trim()))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The end of its input is its word to stop.
        self.input.take();
        if let Err(error) = self.child.wait() {
            eprintln!("bench: the agents: {error}");
        }
    }
}

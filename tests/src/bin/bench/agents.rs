//! A thousand agents in one process: each joins, links, makes keys and writes files below a root of its own.

use std::{
    fs,
    io::{BufRead, Write, stdin, stdout},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::Arc,
};

use anyhow::{Context, Result, bail};
use pinion_agent::{config::Config, link::join::join, run::Agent};
use pinion_proto::{clock::SystemClock, token::JoinToken};
use rustix::process::setpriority_process;
use tokio::{runtime::Runtime, task::JoinSet};

/// Joins at once: each is a handshake and a write on the controller's side.
const JOINING: usize = 16;

/// Tokens that are live at once stay few: so many guests join in a round.
const ROUND: usize = 50;

/// Takes tokens, one a line; an empty line starts the agents that came since the last one and answers `ready`.
/// Ends with its input.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let [root, niceness] = arguments else { bail!("usage: bench agents DIRECTORY NICENESS") };
    let root = PathBuf::from(root);
    // The runtime's threads inherit it.
    setpriority_process(None, niceness.parse().context("read the niceness")?).context("take a niceness")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("start a runtime")?;
    let mut agents = Vec::new();
    let mut tokens = Vec::new();
    for line in stdin().lock().lines() {
        let line = line.context("read a token")?;
        if !line.is_empty() {
            tokens.push(JoinToken::parse(&line).context("read a token")?);
            continue;
        }
        agents.extend(runtime.block_on(start(&root, std::mem::take(&mut tokens)))?);
        println!("ready");
        stdout().flush().context("say that the agents are ready")?;
    }
    runtime.block_on(async {
        let mut stopping: JoinSet<()> = agents.into_iter().map(Agent::stop).collect();
        while stopping.join_next().await.is_some() {}
    });
    Ok(())
}

async fn start(root: &Path, tokens: Vec<JoinToken>) -> Result<Vec<Agent>> {
    let mut agents = Vec::new();
    let mut joining = JoinSet::new();
    let mut tokens = tokens.into_iter();
    loop {
        while joining.len() < JOINING
            && let Some(token) = tokens.next()
        {
            joining.spawn(one(root.join(token.guest.to_string()), token));
        }
        match joining.join_next().await {
            Some(agent) => agents.push(agent.context("start an agent")??),
            None => return Ok(agents),
        }
    }
}

async fn one(root: PathBuf, token: JoinToken) -> Result<Agent> {
    fs::create_dir_all(root.join("etc/ssl")).with_context(|| format!("make {}", root.display()))?;
    fs::write(root.join("etc/passwd"), "root:x:0:0::/:/bin/false\n").context("write passwd")?;
    fs::write(root.join("etc/group"), "root:x:0:\n").context("write group")?;
    let config = Config::load(&root).context("configure an agent")?;
    join(&token, &config, Arc::new(SystemClock)).await.context("join")?.save(&config).context("keep an identity")?;
    Agent::start(config, Arc::new(SystemClock)).await
}

/// The process of the agents, from the outside.
pub(crate) struct Agents {
    child: Child,
    input: Option<ChildStdin>,
    output: std::io::BufReader<ChildStdout>,
}

impl Agents {
    /// Starts it; its agents' roots are below `root`.
    pub(crate) fn spawn(root: &Path) -> Result<Self> {
        Self::spawn_nice(root, 0)
    }

    /// As [`Self::spawn`], with a niceness (setpriority(2)): agents that leave the processor to the others here.
    pub(crate) fn spawn_nice(root: &Path, niceness: i32) -> Result<Self> {
        let here = std::env::current_exe().context("find the running executable")?;
        let mut child = Command::new(here)
            .arg("agents")
            .arg(root)
            .arg(niceness.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("start the agents' process")?;
        let input = child.stdin.take();
        let output = std::io::BufReader::new(child.stdout.take().context("hear the agents' process")?);
        Ok(Self { child, input, output })
    }

    /// The process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Has guests of this host join and link, some at a time; returns when their agents run.
    pub(crate) fn join(&mut self, runtime: &Runtime, host: &Path, guests: &[u32]) -> Result<()> {
        for round in guests.chunks(ROUND) {
            self.start(&runtime.block_on(tokens(host, round.iter().copied()))?)?;
        }
        Ok(())
    }

    /// Starts agents with these tokens; returns when they run.
    pub(crate) fn start(&mut self, tokens: &[String]) -> Result<()> {
        let input = self.input.as_mut().context("the agents' process is being stopped")?;
        for token in tokens {
            writeln!(input, "{token}").context("give a token")?;
        }
        writeln!(input).context("end the tokens")?;
        input.flush().context("end the tokens")?;
        let mut line = String::new();
        self.output.read_line(&mut line).context("wait for the agents")?;
        if line.trim() != "ready" {
            bail!("the agents' process said `{}`", line.trim());
        }
        Ok(())
    }
}

impl Drop for Agents {
    fn drop(&mut self) {
        // The end of its input is its word to stop.
        self.input.take();
        if let Err(error) = self.child.wait() {
            eprintln!("bench: the agents' process: {error}");
        }
    }
}

/// The manifest's certificates for `count` guests from 2000 on, one placement each, signed by `issuer`.
pub(crate) fn certificates(count: u32, issuer: &str) -> serde_json::Value {
    guests(count)
        .map(|guest| {
            serde_json::json!({
                "name": format!("c{guest}"), "issuer": issuer,
                "common_name": format!("c{guest}.internal.example"), "sans": ["10.0.0.1"],
                "placements": [{ "guest": guest, "files": {
                    "fullchain": { "path": "/etc/ssl/bench/fullchain.pem" }, "key": { "path": "/etc/ssl/bench/key.pem" } } }],
            })
        })
        .collect()
}

/// The VMIDs of `count` guests.
pub(crate) fn guests(count: u32) -> impl Iterator<Item = u32> {
    (0..count).map(|n| 2000 + n)
}

/// Tokens for guests.
pub(crate) async fn tokens(root: &Path, guests: impl Iterator<Item = u32>) -> Result<Vec<String>> {
    let mut tokens = Vec::new();
    for guest in guests {
        tokens.push(super::ask::token(root, guest).await?);
    }
    Ok(tokens)
}

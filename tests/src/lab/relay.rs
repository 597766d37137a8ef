//! `pct`, `qm` and `pvesh` of a host that boots: they hand their command line to the lab's own tools.
//!
//! Answers: how does a host that is a container reach guests that are its neighbours? On Proxmox the guests are the host's
//! own, and its tools enter them. Here the tools do that on the lab's host, and the booted host has this in their place: a
//! socket takes the arguments and the standard input, and gives back both outputs and the exit code. Invariant: nothing is
//! added to what the lab's tools do, and a call that does not reach them fails.
//!
//! Which containers run, Pinion sees by LXC's command sockets, which belong to a network. So the booted host's has sockets of
//! those names, too; they say that the guests run until the host's end, also while they do not.
#![allow(clippy::print_stderr, reason = "what command line programs do")]

use std::{
    env,
    io::{self, BufRead as _, BufReader, IsTerminal as _, Read as _, Write as _},
    net::Shutdown,
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixListener, UnixStream},
    },
    path::Path,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use super::{namespace, network::Network};
use crate::process;

/// The tools that are handed on.
pub(super) const TOOLS: [&str; 3] = ["pct", "qm", "pvesh"];

/// Where a booted host has the socket: what is `/run/qemu-server/ID` on the lab's host.
const SOCKET: &str = "/dev/virtio-ports/hypervisor.sock";

/// A command line.
#[derive(Debug, Serialize, Deserialize)]
struct Asked {
    tool: String,
    arguments: Vec<String>,
}

/// What became of it.
#[derive(Debug, Serialize, Deserialize)]
struct Told {
    code: u8,
    stdout: String,
    stderr: String,
}

/// The lab's end of the socket.
#[derive(Debug)]
pub(super) struct Relay {
    done: Arc<AtomicBool>,
    socket: std::path::PathBuf,
    thread: Option<JoinHandle<()>>,
}

impl Relay {
    /// Listens in the directory that the guest `vmid` of the lab has at `/dev/virtio-ports`.
    ///
    /// # Errors
    /// The socket cannot be made.
    pub(super) fn start(init: u32, vmid: u32) -> Result<Self> {
        let directory = namespace::path(init, &format!("/run/qemu-server/{vmid}"));
        std::fs::create_dir_all(&directory).with_context(|| format!("make {}", directory.display()))?;
        let socket = directory.join("hypervisor.sock");
        let listener = UnixListener::bind(&socket).with_context(|| format!("listen at {}", socket.display()))?;
        let done = Arc::new(AtomicBool::new(false));
        let thread = thread::spawn({
            let done = Arc::clone(&done);
            move || {
                thread::scope(|calls| {
                    for stream in listener.incoming().take_while(|_| !done.load(Ordering::Relaxed)).flatten() {
                        // Who has gone in the meantime hears nothing.
                        calls.spawn(move || serve(init, &stream).ok());
                    }
                });
            }
        });
        Ok(Self { done, socket, thread: Some(thread) })
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
        // So that it sees it.
        drop(UnixStream::connect(&self.socket));
        self.thread.take().map(JoinHandle::join);
    }
}

/// Has these containers run, as far as a host can see whose network this is; until the sockets are closed.
///
/// # Errors
/// The network cannot be entered, or a name is taken.
pub(super) fn run_there(network: Network, vmids: &[u32]) -> Result<Vec<UnixListener>> {
    let listen = || {
        network.enter()?;
        let bind = |vmid: &u32| -> Result<UnixListener> {
            let name = SocketAddr::from_abstract_name(format!("/var/lib/lxc/{vmid}/command"))?;
            UnixListener::bind_addr(&name).with_context(|| format!("listen as LXC does for {vmid}"))
        };
        vmids.iter().map(bind).collect()
    };
    // A thread that has entered it stays there.
    thread::scope(|scope| scope.spawn(listen).join()).unwrap_or_else(|_| bail!("the thread in that network failed"))
}

/// Runs one command line.
fn serve(init: u32, stream: &UnixStream) -> Result<()> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).context("read what is asked")?;
    let asked: Asked = serde_json::from_str(&line).context("understand what is asked")?;
    ensure!(TOOLS.contains(&asked.tool.as_str()), "no tool {}", asked.tool);
    let mut stdin = Vec::new();
    reader.read_to_end(&mut stdin).context("read its standard input")?;
    let done = process::run(namespace::command(init, &asked.tool).args(&asked.arguments), &stdin, MAX)?;
    let code = u8::try_from(done.code()).unwrap_or(u8::MAX);
    let told = Told { code, stdout: done.stdout, stderr: done.stderr };
    let mut stream = stream;
    stream.write_all(&serde_json::to_vec(&told).context("write down what became of it")?).context("answer")
}

/// The tool under whose name this was started.
#[must_use]
pub fn main() -> ExitCode {
    match ask() {
        Ok(told) => {
            // As after a write to a pipe that nobody reads.
            io::stdout().write_all(told.stdout.as_bytes()).ok();
            io::stderr().write_all(told.stderr.as_bytes()).ok();
            ExitCode::from(told.code)
        }
        Err(error) => {
            eprintln!("the lab's hypervisor does not answer: {error:#}");
            ExitCode::from(u8::MAX)
        }
    }
}

fn ask() -> Result<Told> {
    let mut words = env::args_os().map(|word| word.to_string_lossy().into_owned());
    let program = words.next().context("a program has a name")?;
    let tool = Path::new(&program).file_name().context("a program has a name")?.to_string_lossy().into_owned();
    let asked = Asked { tool, arguments: words.collect() };
    let mut stream = UnixStream::connect(SOCKET).with_context(|| format!("connect to {SOCKET}"))?;
    let mut line = serde_json::to_vec(&asked).context("write down the command line")?;
    line.push(b'\n');
    stream.write_all(&line).context("send the command line")?;
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        io::copy(&mut stdin.lock(), &mut stream).context("pass on standard input")?;
    }
    stream.shutdown(Shutdown::Write).context("end the standard input")?;
    let mut told = Vec::new();
    stream.read_to_end(&mut told).context("read the answer")?;
    serde_json::from_slice(&told).context("understand the answer")
}

/// Longer than Pinion gives any call.
const MAX: Duration = Duration::from_secs(300);

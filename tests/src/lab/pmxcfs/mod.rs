//! `/etc/pve` as Proxmox's pmxcfs makes it: a FUSE server with what programs trip over on a real node.
//!
//! Answers: does a program get along with what is mounted at `/etc/pve`, and with its going and coming? Facts are from
//! pve-cluster's `pmxcfs.c`, `memdb.c` and `status.c`, and from measurements on real nodes. As there are: names and attributes
//! that the kernel keeps for 1 s; times in whole seconds; writes of a page each; modes that follow from the path; no links, no
//! owners, no file above 1 MiB; versions in `.version` and `.vmlist`; locks below `priv/lock` that go 120 s after their holder;
//! a mount point that must be empty; a dead mount (ENOTCONN) when the server is killed, and none when it is stopped.
//! Not as there: one node writes; what a cluster does when it is not well is switched by a file ([`trouble`]); permissions of
//! `.rrd`, `.clusterlog` and the key-value store are there, their contents are not.
//!
//! Invariant: the files are the replay of one log of operations ([`entry`]), each with its node and that node's count, so that
//! several nodes that apply the same operations in one order have the same files.

pub mod entry;
mod guests;
pub mod log;
mod mount;
pub mod mounted;
mod names;
mod requests;
pub mod service;
mod state;
mod status;
#[cfg(test)]
mod tests;
mod tree;
pub mod trouble;

use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
    process::ExitCode,
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use fuser::{Config, Session, SessionACL};
use pinion_proto::daemon;
use rustix::{
    fs::{FlockOperation, flock},
    process::{Signal, set_parent_process_death_signal},
};

pub use status::Peer;

use crate::{interrupt, wait};
use requests::Server;
use state::State;
use trouble::{HANG, HEALING, Switch};

/// The program: serves until SIGTERM, or turns a switch of a server.
#[must_use]
#[allow(clippy::print_stderr, reason = "a command line program")]
pub fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["cut", data] => Switch::of(Path::new(data)).cut(HANG),
        ["lose-quorum", data] => Switch::of(Path::new(data)).cut(Duration::ZERO),
        ["stall", data] => Switch::of(Path::new(data)).stall(HANG),
        ["heal", data] => Switch::of(Path::new(data)).heal(HEALING),
        options => parse(options).and_then(|options| serve(&options)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pmxcfs: {error:#}");
            // As pmxcfs's own `exit (-1)`.
            ExitCode::from(255)
        }
    }
}

const USAGE: &str = "say `--data DIR --mount DIR --node NAME [--peer NAME=ADDRESS]… [--with-parent]` to serve, or `cut DIR`, \
                     `lose-quorum DIR`, `stall DIR` or `heal DIR` to change what the server with that data does";

/// What a server is told.
struct Options {
    data: PathBuf,
    mount: PathBuf,
    node: String,
    peers: Vec<Peer>,
    with_parent: bool,
}

fn parse(words: &[&str]) -> Result<Options> {
    let (mut data, mut mount, mut node, mut peers, mut with_parent) = (None, None, None, Vec::new(), false);
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if *word == "--with-parent" {
            with_parent = true;
            continue;
        }
        let value = *words.next().context(USAGE)?;
        match *word {
            "--data" => data = Some(PathBuf::from(value)),
            "--mount" => mount = Some(PathBuf::from(value)),
            "--node" => node = Some(value.to_owned()),
            "--peer" => {
                let (name, address) = value.split_once('=').context(USAGE)?;
                peers.push(Peer { name: name.to_owned(), address: address.to_owned() });
            }
            _ => bail!("{USAGE}"),
        }
    }
    let (Some(data), Some(mount), Some(node)) = (data, mount, node) else { bail!("{USAGE}") };
    Ok(Options { data, mount, node, peers, with_parent })
}

/// Serves until SIGTERM or until somebody unmounts it.
fn serve(options: &Options) -> Result<()> {
    if options.with_parent {
        set_parent_process_death_signal(Some(Signal::TERM)).context("ask for the parent's end")?;
    }
    daemon::log();
    interrupt::watch().context("watch for signals")?;
    let data = &options.data;
    fs::create_dir_all(data).with_context(|| format!("make {}", data.display()))?;
    let _mine = lock(&data.join(".pmxcfs.lockfile"))?;
    let mut state = State::open(data, &options.node, options.peers.clone())?;
    state.furnish().context("make the nodes' directories")?;
    let device = mount::mounted(&options.mount)?;
    let server = Server::new(state, Switch::of(data));
    let session = Session::from_fd(server, device, SessionACL::All, Config::default());
    let session = session.context("begin to talk with the kernel").inspect_err(|_| {
        mount::unmounted(&options.mount).ok();
    })?;
    let session = thread::spawn(move || session.run());
    daemon::ready();
    tracing::info!(mount = %options.mount.display(), node = options.node, "Mounted");
    while !interrupt::requested() {
        if session.is_finished() {
            tracing::info!("Somebody unmounted it");
            return Ok(());
        }
        thread::sleep(LOOK);
    }
    daemon::stopping();
    mount::unmounted(&options.mount)
}

/// Between two looks at whether the server is to end.
const LOOK: Duration = Duration::from_millis(20);

/// Two servers of one directory would mix their logs.
fn lock(path: &Path) -> Result<File> {
    let file = File::options().create(true).truncate(false).write(true).open(path);
    let file = file.with_context(|| format!("open {}", path.display()))?;
    wait::until("the other pmxcfs to end", LOCK_PATIENCE, || flock(&file, FlockOperation::NonBlockingLockExclusive))
        .context("unable to acquire pmxcfs lock")?;
    Ok(file)
}

/// As pmxcfs, which tries ten times.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);

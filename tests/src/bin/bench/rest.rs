//! What agents and a controller take while nothing is to be done.
//!
//! Answers: how often is a quiet agent woken, what does that cost, what does a placement keep in memory; and what do a thousand
//! quiet agents cost their controller? All of it is measured in the same minutes.
//! Invariant: the services that are looked at are this process, so that nothing of theirs is counted.

use std::{
    env, fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use pinion_proto::{stage::Stage, tls};
use pinion_tests::{
    guest::{Guest, GuestOptions},
    host::{Host, HostOptions},
    memory::resident,
};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use serde_json::{Value, json};
use tokio::{net::TcpStream, runtime::Runtime};
use tokio_rustls::TlsAcceptor;

use crate::{
    agents::{self, Agents},
    ask, fleet,
    table::{Bound, Row, bytes_of},
    usage::{Meter, Usage},
};

/// The agents whose controller is measured.
const AGENTS: u32 = 1000;

/// Until what was done last is done, and its threads have ended.
const SETTLE: Duration = Duration::from_secs(15);

/// How long is measured, in minutes, if [`MINUTES`] does not say otherwise. Agents look at everything once a minute.
const LONG_ENOUGH: u32 = 5;

/// Names another number of minutes, for trying.
const MINUTES: &str = "PINION_REST_MINUTES";

/// The guests that are measured, and how many placements each has.
const GUESTS: [(u32, u32); 4] = [(101, 0), (102, 1), (103, 10), (104, 50)];

/// An agent at rest with none, one, ten and fifty placements, and a controller with a thousand agents at rest.
pub(crate) fn measure() -> Result<Vec<Row>> {
    let window = Duration::from_secs(60) * minutes()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.context("start a runtime")?;
    let mut few = Few::start(&runtime)?;
    let mut many = Many::start(&runtime)?;
    std::thread::sleep(SETTLE);
    // What came at once has left memory behind that nothing uses any more, and all comes at once only in a new guest.
    let fresh = each(&memory(&few.agents()?)?)?;
    few.restart()?;
    std::thread::sleep(SETTLE);

    let mut processes = few.agents()?;
    processes.push(many.controller()?);
    let (used, took) = meter(&processes, window)?;
    let memory = memory(&processes)?;
    many.check(&runtime)?;
    for (used, memory) in used.iter().zip(&memory) {
        eprintln!("rest: {} wake-ups, {:?} of a processor in {took:?}; {memory} bytes", used.switches, used.processor);
    }
    let ([none, _, ten, _, controller], [_, one_bytes, ..]) = (&used[..], &memory[..]) else {
        bail!("{} processes were measured", used.len());
    };
    let a_minute = |used: &Usage| bytes_of(used.switches) / (took.as_secs_f64() / 60.0);
    let share = |used: &Usage| used.processor.as_secs_f64() / took.as_secs_f64();
    Ok(vec![
        Row::new(
            "rest_agent_0_wakes",
            "agent at rest: wake-ups without a placement",
            a_minute(none),
            Bound::AtMostPerMinute(6.0),
        ),
        Row::new(
            "rest_agent_10_wakes",
            "agent at rest: wake-ups with ten placements",
            a_minute(ten),
            Bound::AtMostPerMinute(30.0),
        ),
        Row::new(
            "rest_agent_10_ms",
            "agent at rest: processor time in an hour, ten placements",
            share(ten) * 3_600_000.0,
            Bound::AtMostMs(300.0),
        ),
        Row::new(
            "rest_agent_1_bytes",
            "agent at rest: memory with one placement",
            bytes_of(*one_bytes),
            Bound::AtMostBytes(5 * 1024 * 1024),
        ),
        Row::new(
            "rest_placement_bytes",
            "agent at rest: memory of each further placement, of fifty",
            each(&memory)?,
            Bound::AtMostBytes(40 * 1024),
        ),
        Row::new(
            "rest_placement_fresh_bytes",
            "the same, after all fifty were installed at the same moment",
            fresh,
            Bound::NoBytes,
        ),
        Row::new(
            "rest_controller_1000_share",
            "controller at rest: share of a core with 1,000 agents",
            share(controller),
            Bound::AtMostShare(0.01),
        ),
    ])
}

/// What each of these processes has in memory (resident, bytes).
fn memory(processes: &[u32]) -> Result<Vec<u64>> {
    processes.iter().map(|id| resident(*id)).collect()
}

/// What each of fifty placements adds to the memory of an agent with one.
fn each(memory: &[u64]) -> Result<f64> {
    let [_, one, _, fifty, ..] = memory else { bail!("the memory of {} agents was measured", memory.len()) };
    Ok(bytes_of(fifty.saturating_sub(*one)) / 49.0)
}

/// What each of these processes takes while this one sleeps.
fn meter(processes: &[u32], window: Duration) -> Result<(Vec<Usage>, Duration)> {
    let mut meters = processes.iter().map(|id| Meter::start(*id)).collect::<Result<Vec<Meter>>>()?;
    let begun = Instant::now();
    while begun.elapsed() < window {
        std::thread::sleep(OFTEN.min(window.saturating_sub(begun.elapsed())));
        meters.iter_mut().try_for_each(Meter::look)?;
    }
    Ok((meters.iter().map(Meter::used).collect(), begun.elapsed()))
}

/// Idle threads of the agent end after two seconds.
const OFTEN: Duration = Duration::from_millis(500);

fn minutes() -> Result<u32> {
    let Some(text) = env::var_os(MINUTES) else { return Ok(LONG_ENOUGH) };
    let minutes = text.to_str().and_then(|text| text.parse().ok()).filter(|minutes| *minutes > 0);
    minutes.with_context(|| format!("{MINUTES} is a number of minutes, and not {}", text.display()))
}

/// A controller and few guests, whose services are here.
struct Few {
    guests: Vec<Guest>,
    host: Host,
}

impl Few {
    fn start(runtime: &Runtime) -> Result<Self> {
        let host = Host::start(&HostOptions::embedded(&json!([])))?;
        let (mut guests, mut certificates) = (Vec::new(), Vec::new());
        for (vmid, count) in GUESTS {
            let mut guest = Guest::prepare(&vmid.to_string(), &GuestOptions::default())?;
            // The tests' agents are more impatient than those that are shipped.
            fs::remove_file(guest.path("/etc/pinion/agent.toml")).context("remove the agent's configuration")?;
            guest.join_with(&host.token(&vmid.to_string())?)?.succeeded()?;
            guest.start()?;
            guest.wait_linked(&host)?;
            for number in 0..count {
                certificates.push(certificate(&guest, vmid, number, runtime)?);
            }
            guests.push(guest);
        }
        host.write_manifest(&json!({
            "version": 1, "defaults": { "issuer": "embedded" }, "certificates": certificates,
        }))?;
        // The host reads its manifest when it sees that it is another one.
        for (vmid, count) in GUESTS {
            for number in 0..count {
                host.wait_placement(&format!("{}@{vmid}", name(vmid, number)), |_| true)?;
            }
        }
        runtime.block_on(ask::ensure(host.root(), false, Stage::Served))?;
        Ok(Self { guests, host })
    }

    /// As a boot or an upgrade does: the agents find their placements on disk.
    fn restart(&mut self) -> Result<()> {
        for guest in &mut self.guests {
            guest.restart()?;
            guest.wait_linked(&self.host)?;
        }
        Ok(())
    }

    fn agents(&mut self) -> Result<Vec<u32>> {
        self.guests.iter_mut().map(|guest| Ok(guest.agent().context("the agent runs")?.id())).collect()
    }
}

fn name(vmid: u32, number: u32) -> String {
    format!("c{vmid}-{number}")
}

/// An entry of the manifest, and the service that it is for.
fn certificate(guest: &Guest, vmid: u32, number: u32, runtime: &Runtime) -> Result<Value> {
    let name = name(vmid, number);
    let file = |kind: &str| format!("/etc/ssl/{name}/{kind}.pem");
    let (chain, key) = (file("chain"), file("key"));
    let address = serve(Pair { chain: guest.path(&chain), key: guest.path(&key) }, runtime)?;
    Ok(json!({
        "name": name, "common_name": format!("{name}.internal.example"),
        "placements": [{
            "guest": vmid,
            "files": { "fullchain": { "path": chain }, "key": { "path": key } },
            "probe": { "connect": address },
        }],
    }))
}

/// The files that a service has.
struct Pair {
    chain: PathBuf,
    key: PathBuf,
}

impl Pair {
    fn acceptor(&self) -> Result<TlsAcceptor> {
        let chain = CertificateDer::pem_file_iter(&self.chain)?.collect::<Result<Vec<_>, _>>()?;
        let key = PrivateKeyDer::from_pem_file(&self.key)?;
        let config = ServerConfig::builder_with_provider(tls::provider()).with_safe_default_protocol_versions()?;
        Ok(TlsAcceptor::from(Arc::new(config.with_no_client_auth().with_single_cert(chain, key)?)))
    }
}

/// A service that reads its files for each connection, so that nothing has to reload it; where it listens.
fn serve(pair: Pair, runtime: &Runtime) -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("listen on loopback")?;
    listener.set_nonblocking(true).context("listen on loopback")?;
    let address = listener.local_addr().context("read the port")?;
    runtime.spawn(async move {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        loop {
            let (stream, _) = listener.accept().await?;
            // Before the first certificate there is nothing to show: the connection ends.
            if let Ok(acceptor) = pair.acceptor() {
                tokio::spawn(greet(acceptor, stream));
            }
        }
        #[allow(unreachable_code, reason = "says what the errors are")]
        Ok::<(), std::io::Error>(())
    });
    Ok(address)
}

async fn greet(acceptor: TlsAcceptor, stream: TcpStream) {
    // The agent hangs up as soon as it has seen the certificate.
    drop(acceptor.accept(stream).await);
}

/// A controller and a thousand agents in one other process.
struct Many {
    _agents: Agents,
    host: Host,
    _directory: tempfile::TempDir,
}

impl Many {
    fn start(runtime: &Runtime) -> Result<Self> {
        let host = Host::start(&HostOptions::embedded(&agents::certificates(AGENTS, "embedded")))?;
        let directory =
            tempfile::Builder::new().prefix("pinion-agents-").tempdir().context("make the agents' roots")?;
        let mut running = Agents::spawn(directory.path())?;
        let all: Vec<u32> = agents::guests(AGENTS).collect();
        running.join(runtime, host.root(), &all)?;
        fleet::wait_linked(runtime, host.root(), all.len())?;
        runtime.block_on(ask::ensure(host.root(), false, Stage::Installed))?;
        Ok(Self { _agents: running, host, _directory: directory })
    }

    fn controller(&mut self) -> Result<u32> {
        Ok(self.host.controller().context("the controller runs")?.id())
    }

    /// None of its agents got lost meanwhile.
    fn check(&self, runtime: &Runtime) -> Result<()> {
        let linked = runtime.block_on(ask::linked(self.host.root()))?;
        ensure!(linked == AGENTS as usize, "{linked} of {AGENTS} agents are linked");
        Ok(())
    }
}

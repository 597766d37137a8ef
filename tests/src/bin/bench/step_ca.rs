//! What of a step-ca's speed is left when its certificates go all the way into guests.
//!
//! All the guests are on this one machine here, and making keys, writing files and signing share its cores. So the CA
//! is held to a part of a core, as a container of its own would be, and the agents leave the cores to the CA and the
//! controller where these want them, as in guests elsewhere: what is measured is whether Pinion keeps the CA busy.
//! The same without that limit, and who used the processor meanwhile, is said beside.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use pinion_controller::{
    issuer::{IssuerConfig, Issuers, SigningRequest},
    store::Store,
};
use pinion_proto::{clock::SystemClock, key::KeyAlgorithm, private_key::PrivateKey, spec::PlainName, stage::Stage};
use pinion_tests::{
    ca::StepCa,
    host::{Host, HostOptions, StepCaIssuer},
};
use tokio::task::JoinSet;

use crate::{
    agents::{self, Agents},
    ask, fleet,
    memory::processor,
    quota::Quota,
    table::{Bound, Row},
};

/// Many enough that all of them at once are what Pinion staggers.
const AGENTS: u32 = 2000;
/// What the CA gets of one core (percent).
const LIMIT: u32 = 25;

/// The agents' niceness (setpriority(2)).
const NICENESS: i32 = 19;

/// The bare load and the whole way take turns, so that a busy moment of the machine hits both. A round takes twenty seconds.
const ROUNDS: usize = 3;

/// Certificates a second through the whole of Pinion, as a share of what the same CA signs bare.
pub(crate) fn measure() -> Result<Row> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("start a runtime")?;
    let ca = StepCa::start()?;
    let fingerprint = ca.fingerprint()?.to_string();
    let issuer = StepCaIssuer {
        url: ca.url(),
        fingerprint: fingerprint.clone(),
        provisioner: "admin".into(),
        password_file: ca.password_file(),
        revoke_replaced: false,
        roots_every: None,
    };
    let text = format!(
        "type = \"step-ca\"\nurl = \"{}\"\nfingerprint = \"{fingerprint}\"\nprovisioner = \"admin\"\npassword_file = \"{}\"\n",
        ca.url(),
        ca.password_file().display()
    );
    let mut host = Host::start(&HostOptions::step_ca(issuer, &agents::certificates(AGENTS, "step-ca")))?;
    let directory = tempfile::Builder::new().prefix("pinion-agents-").tempdir().context("make the agents' roots")?;
    let mut fleet = Agents::spawn_nice(directory.path(), NICENESS)?;
    let all: Vec<u32> = agents::guests(AGENTS).collect();
    fleet.join(&runtime, host.root(), &all)?;
    fleet::wait_linked(&runtime, host.root(), all.len())?;
    runtime.block_on(ask::ensure(host.root(), false, Stage::Installed))?;

    let bare = Bare::prepare(&text)?;
    runtime.block_on(bare.run())?;
    let processes = [
        ("controller", host.controller().context("the controller runs")?.id()),
        ("agents", fleet.id()),
        ("step-ca", ca.id().context("step-ca runs")?),
    ];
    let compare = |rounds: usize| -> Result<f64> {
        let (mut alone, mut whole) = (Sum::default(), Sum::default());
        let mut courses = Vec::new();
        for _ in 0..rounds {
            let before = times(&processes)?;
            let took = runtime.block_on(bare.run())?;
            alone.add(took, before, times(&processes)?);
            let before = times(&processes)?;
            let course = runtime.block_on(ask::course(host.root(), true, Stage::Installed))?;
            whole.add(course.took, before, times(&processes)?);
            courses.push(course);
        }
        let count = f64::from(AGENTS) * f64::from(u32::try_from(rounds)?);
        let rate = |sum: &Sum| count / sum.took.as_secs_f64();
        for (what, sum) in [("bare", &alone), ("installed", &whole)] {
            eprint!("  {:.0} certificates/s {what}; processor time for each:", rate(sum));
            for ((name, _), seconds) in processes.iter().zip(sum.used) {
                eprint!(" {name} {:.2} ms", seconds / count * 1000.0);
            }
            eprintln!();
        }
        for ask::Course { first_asked, last_signed, took } in courses {
            let (begin, end) = (first_asked.as_secs_f64(), took.saturating_sub(last_signed).as_secs_f64());
            eprintln!("  the CA was first asked after {begin:.2} s, and its last answer was {end:.2} s before the end");
        }
        Ok(rate(&whole) / rate(&alone))
    };
    eprintln!("step-ca, sharing all cores with the agents:");
    compare(1)?;
    let quota = Quota::hold(processes[2].1, LIMIT)?;
    eprintln!("step-ca, held to {LIMIT} % of a core:");
    let share = compare(ROUNDS)?;
    drop(quota);
    drop(fleet);
    let what = "step-ca on a quarter of a core, 2,000 renewals: share of its rate";
    Ok(Row::new("step_ca_share", what, share, Bound::AtLeastShare(0.95)))
}

/// How long some rounds took together, and the processor time of each process meanwhile, in seconds.
#[derive(Default)]
struct Sum {
    took: Duration,
    used: [f64; 3],
}

impl Sum {
    fn add(&mut self, took: Duration, before: [f64; 3], after: [f64; 3]) {
        self.took += took;
        for (sum, (after, before)) in self.used.iter_mut().zip(after.into_iter().zip(before)) {
            *sum += after - before;
        }
    }
}

fn times(processes: &[(&str, u32); 3]) -> Result<[f64; 3]> {
    let [(_, one), (_, two), (_, three)] = processes;
    Ok([processor(*one)?, processor(*two)?, processor(*three)?])
}

/// As many callers of `/1.0/sign` as Pinion uses, with requests made beforehand.
struct Bare {
    issuers: Arc<Issuers>,
    name: PlainName,
    requests: Vec<SigningRequest>,
    _store: tempfile::TempDir,
}

impl Bare {
    fn prepare(config: &str) -> Result<Self> {
        let directory = tempfile::tempdir().context("make a directory")?;
        let store = Store::open(&directory.path().join("local"), &directory.path().join("shared"))?;
        let name: PlainName = "step-ca".parse()?;
        let config = IssuerConfig::from_toml(config).map_err(anyhow::Error::msg).context("configure the issuer")?;
        let issuers = Issuers::from_config(
            &BTreeMap::from([(name.clone(), config)]),
            &Arc::new(store),
            Arc::new(SystemClock),
            directory.path(),
        );
        let requests = agents::guests(AGENTS)
            .map(|guest| {
                let common_name: pinion_proto::names::SubjectName = format!("c{guest}.internal.example").parse()?;
                let names = vec![common_name.clone(), "10.0.0.1".parse()?].try_into()?;
                let csr = PrivateKey::generate(KeyAlgorithm::EcdsaP256)?.request(&common_name, &names)?;
                let placement = format!("c{guest}@{guest}").parse()?;
                let duration = Duration::from_secs(30 * 86_400);
                Ok(SigningRequest { placement, csr, common_name, names, usage: None, duration })
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(Self { issuers: Arc::new(issuers), name, requests, _store: directory })
    }

    async fn run(&self) -> Result<Duration> {
        let started = Instant::now();
        let mut calls = JoinSet::new();
        for request in &self.requests {
            let (issuers, name, request) = (self.issuers.clone(), self.name.clone(), request.clone());
            calls.spawn(async move { issuers.sign(&name, request, None).await.map(drop) });
        }
        while let Some(call) = calls.join_next().await {
            call.context("call step-ca")??;
        }
        Ok(started.elapsed())
    }
}

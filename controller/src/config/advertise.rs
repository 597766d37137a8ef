//! Where agents are told to dial: addresses as they are written, and what names lead to.
//!
//! Answers: by which addresses do guests reach this controller now?
//! Agents resolve nothing: they are static programs without a resolver, and are given addresses. A name is resolved here,
//! at the start and then each minute.
//! Invariant: what a name led to stays until it leads elsewhere: a resolver that is away takes nothing back. At most one
//! question for each name is under way, however slow the resolver is.

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    str::FromStr,
    time::Duration,
};

use pinion_proto::id::shown;
use serde::{Deserialize, de};
use tokio::{sync::watch, task::JoinHandle, time::timeout};
use tracing::warn;

/// How often a name is resolved. A name that changes is given out for as long by whoever caches it.
const RESOLVE_EVERY: Duration = Duration::from_secs(60);

/// What a resolver may take before it is told to be away; it is still waited for.
const RESOLVE_TIME: Duration = Duration::from_secs(5);

/// A token has room for as many.
const MAX_ADDRESSES: usize = 16;

/// An entry of `advertise` in controller.toml.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Advertised {
    /// An address with a port, which agents can dial as it is.
    Address(SocketAddr),
    /// A host's name, and the port there.
    Name(String, u16),
}

impl FromStr for Advertised {
    type Err = AdvertisedError;

    fn from_str(text: &str) -> Result<Self, AdvertisedError> {
        if let Ok(address) = text.parse() {
            return Ok(Self::Address(address));
        }
        let malformed = || AdvertisedError(shown(text));
        let (name, port) = text.rsplit_once(':').ok_or_else(malformed)?;
        let port = port.parse().map_err(|_| malformed())?;
        let label = |label: &str| {
            !label.is_empty()
                && label.len() <= 63
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        };
        // What ends in a number is an address with a mistake in it.
        let is_name = name.len() <= 253
            && name.split('.').all(label)
            && name.rsplit('.').next().is_some_and(|last| !last.bytes().all(|b| b.is_ascii_digit()));
        if port != 0 && is_name { Ok(Self::Name(name.to_ascii_lowercase(), port)) } else { Err(malformed()) }
    }
}

impl<'de> Deserialize<'de> for Advertised {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// Text that is neither.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an address or host name with a port: write 10.0.0.13:7443, [fd00::1]:7443 or HOST.NAME:7443")]
pub struct AdvertisedError(String);

/// Where agents reach the controller, as far as is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reachable {
    /// In the order of `advertise`.
    pub addresses: Vec<SocketAddr>,
    /// What is wrong with names, each for people.
    pub problems: Vec<String>,
}

/// What names lead to: the system's resolver, or a test's.
pub trait Resolver: Clone + Send + 'static {
    /// Where a name leads; blocks for as long as that takes.
    ///
    /// # Errors
    /// It leads nowhere, or nobody can tell.
    fn resolve(&self, name: &str, port: u16) -> io::Result<Vec<SocketAddr>>;
}

/// getaddrinfo(3), which asks /etc/hosts and DNS as the host is set up.
#[derive(Debug, Clone, Copy)]
pub struct SystemResolver;

impl Resolver for SystemResolver {
    fn resolve(&self, name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        (name, port).to_socket_addrs().map(Iterator::collect)
    }
}

/// Begins with the addresses that need no resolver. `bound` is the port that was really bound, where the configuration
/// left it open.
#[must_use]
pub fn begin(advertised: &[Advertised], bound: SocketAddr) -> watch::Sender<Reachable> {
    watch::Sender::new(Names::default().reachable(advertised, bound))
}

/// Resolves names until the future is dropped.
pub async fn keep<R: Resolver>(
    advertised: Vec<Advertised>,
    bound: SocketAddr,
    resolver: R,
    reachable: watch::Sender<Reachable>,
) {
    if !advertised.iter().any(|entry| matches!(entry, Advertised::Name(..))) {
        return;
    }
    let mut names = Names::default();
    loop {
        names.look(&advertised, &resolver, RESOLVE_TIME).await;
        let next = names.reachable(&advertised, bound);
        reachable.send_if_modified(|now| {
            let changed = *now != next;
            for problem in next.problems.iter().filter(|problem| !now.problems.contains(problem)) {
                warn!("{problem}");
            }
            *now = next;
            changed
        });
        tokio::time::sleep(RESOLVE_EVERY).await;
    }
}

/// What is known of names.
#[derive(Debug, Default)]
struct Names(BTreeMap<(String, u16), Name>);

#[derive(Debug, Default)]
struct Name {
    addresses: Vec<SocketAddr>,
    problem: Option<String>,
    asking: Option<JoinHandle<io::Result<Vec<SocketAddr>>>>,
}

impl Names {
    async fn look<R: Resolver>(&mut self, advertised: &[Advertised], resolver: &R, patience: Duration) {
        for entry in advertised {
            let Advertised::Name(name, port) = entry else { continue };
            let known = self.0.entry((name.clone(), *port)).or_default();
            let mut asking = known.asking.take().unwrap_or_else(|| {
                let (name, port, resolver) = (name.clone(), *port, resolver.clone());
                tokio::task::spawn_blocking(move || resolver.resolve(&name, port))
            });
            known.problem = match timeout(patience, &mut asking).await {
                Ok(Ok(Ok(mut addresses))) if !addresses.is_empty() => {
                    // Resolvers give addresses in turns; which comes first is no change.
                    addresses.sort_unstable();
                    addresses.dedup();
                    known.addresses = addresses;
                    None
                }
                Ok(Ok(Ok(_))) => Some("it has no address".to_owned()),
                Ok(Ok(Err(error))) => Some(shown(&error.to_string())),
                Ok(Err(_)) => Some("the resolver failed".to_owned()),
                Err(_) => {
                    known.asking = Some(asking);
                    Some(format!("no answer within {} s", patience.as_secs()))
                }
            };
        }
    }

    fn reachable(&self, advertised: &[Advertised], bound: SocketAddr) -> Reachable {
        let mut reachable = Reachable::default();
        let settled = |address: SocketAddr| {
            if address.port() == 0 { SocketAddr::new(address.ip(), bound.port()) } else { address }
        };
        for entry in advertised {
            let addresses = match entry {
                Advertised::Address(address) => vec![settled(*address)],
                Advertised::Name(name, port) => {
                    let known = self.0.get(&(name.clone(), *port));
                    let addresses = known.map(|known| known.addresses.clone()).unwrap_or_default();
                    if let Some(problem) = known.and_then(|known| known.problem.as_deref()) {
                        reachable.problems.push(problem_with(name, problem, &addresses));
                    }
                    addresses
                }
            };
            for address in addresses {
                let loopback = address.ip().to_canonical() == IpAddr::from([127, 0, 1, 1]);
                if loopback && matches!(entry, Advertised::Name(..)) {
                    reachable.problems.push(format!(
                        "`advertise` in controller.toml: a name resolves to {}, which other machines cannot reach: \
                         correct /etc/hosts",
                        address.ip()
                    ));
                } else if !reachable.addresses.contains(&address) && reachable.addresses.len() < MAX_ADDRESSES {
                    reachable.addresses.push(address);
                }
            }
        }
        reachable
    }
}

fn problem_with(name: &str, problem: &str, known: &[SocketAddr]) -> String {
    let until = match known {
        [] => "no agent receives it".to_owned(),
        known => {
            let known: Vec<_> = known.iter().map(|address| address.ip().to_string()).collect();
            format!("agents keep using {}, its last address", known.join(", "))
        }
    };
    format!("`advertise` in controller.toml: cannot resolve {name}: {problem}; {until}; Pinion tries again each minute")
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Condvar, Mutex};

    use super::*;

    fn bound() -> SocketAddr {
        SocketAddr::from(([0, 0, 0, 0], 7443))
    }

    fn entries(texts: &[&str]) -> Vec<Advertised> {
        texts.iter().map(|text| text.parse().expect("an entry")).collect()
    }

    #[test]
    fn entries_are_addresses_or_names_with_a_port() {
        assert_eq!(entries(&["10.0.0.13:7443"]), [Advertised::Address(([10, 0, 0, 13], 7443).into())]);
        assert!(matches!("[fd00::1]:7443".parse(), Ok(Advertised::Address(_))));
        assert_eq!(entries(&["PVE1.internal.example:7443"]), [Advertised::Name("pve1.internal.example".into(), 7443)]);
        for bad in [
            "",
            ":7443",
            "pve1",
            "pve1:",
            "pve1:0",
            "pve1:70000",
            "-a:1",
            "a..b:1",
            "10.0.0.300:7443",
            "a b:1",
            "fd00::1",
        ] {
            assert!(bad.parse::<Advertised>().is_err(), "{bad}");
        }
    }

    /// Says what the test wants, or does not answer until the test lets it.
    #[derive(Debug, Clone, Default)]
    struct Said(Arc<(Mutex<Saying>, Condvar)>);

    #[derive(Debug, Default)]
    struct Saying {
        addresses: Option<Vec<&'static str>>,
        hangs: bool,
        asked: usize,
    }

    impl Said {
        fn says(&self, addresses: Option<Vec<&'static str>>, hangs: bool) {
            let (state, changed) = &*self.0;
            let mut state = state.lock().expect("a test");
            (state.addresses, state.hangs) = (addresses, hangs);
            changed.notify_all();
        }

        fn asked(&self) -> usize {
            self.0.0.lock().expect("a test").asked
        }
    }

    impl Resolver for Said {
        fn resolve(&self, _: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
            let (state, changed) = &*self.0;
            let mut state = state.lock().expect("a test");
            state.asked += 1;
            while state.hangs {
                state = changed.wait(state).expect("a test");
            }
            let addresses = state.addresses.clone().ok_or_else(|| io::Error::other("SERVFAIL\u{1b}[2J"))?;
            Ok(addresses.iter().map(|ip| SocketAddr::new(ip.parse().expect("an address"), port)).collect())
        }
    }

    #[tokio::test]
    async fn what_a_name_led_to_stays_until_it_leads_elsewhere() {
        let advertised = entries(&["10.0.0.13:0", "pve1.example:7443"]);
        let said = Said::default();
        let mut names = Names::default();
        assert_eq!(names.reachable(&advertised, bound()).addresses, [([10, 0, 0, 13], 7443).into()]);
        let mut told = Vec::new();
        for (addresses, known) in [
            (None, 1),
            (Some(vec!["10.0.0.15", "10.0.0.14", "10.0.0.14"]), 3),
            (None, 3),
            (Some(vec![]), 3),
            (Some(vec!["127.0.1.1"]), 1),
            (Some(vec!["10.0.0.16"]), 2),
        ] {
            said.says(addresses, false);
            names.look(&advertised, &said, Duration::from_secs(30)).await;
            let reachable = names.reachable(&advertised, bound());
            assert_eq!(reachable.addresses.len(), known, "{reachable:?}");
            told.extend(reachable.problems);
        }
        assert_eq!(told.len(), 4, "{told:#?}");
        assert!(told[0].contains("no agent receives it") && !told[0].contains('\u{1b}'), "{}", told[0]);
        assert!(told[1].contains("agents keep using 10.0.0.14, 10.0.0.15"), "{}", told[1]);
        assert!(told[3].contains("correct /etc/hosts"), "{}", told[3]);
    }

    #[tokio::test]
    async fn a_resolver_that_hangs_is_asked_once() {
        let advertised = entries(&["pve1.example:7443"]);
        let said = Said::default();
        said.says(Some(vec!["10.0.0.14"]), true);
        let mut names = Names::default();
        for _ in 0..3 {
            names.look(&advertised, &said, Duration::from_millis(5)).await;
        }
        assert!(names.reachable(&advertised, bound()).problems[0].contains("no answer"));
        said.says(Some(vec!["10.0.0.14"]), false);
        names.look(&advertised, &said, Duration::from_secs(30)).await;
        assert_eq!(said.asked(), 1);
        assert_eq!(names.reachable(&advertised, bound()).addresses, [([10, 0, 0, 14], 7443).into()]);
    }
}

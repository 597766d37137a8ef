//! The wire with everything on it that a peer could put there: no panic, and what is written reads back.

use std::collections::BTreeMap;

mod made;

use made::{adoption, found, held, originals, watched};
use pinion_proto::{
    bundle::{Fingerprint, RootCertificate},
    clock::Timestamp,
    containers::{ContainerSignal, SwarmSecrets},
    content::{Content, LeafSpec},
    examination::{Examined, FileCertificate, GuestFinding, Listener, SeenCertificate, Subject},
    hwaddr::HwAddr,
    id::{CertificateName, Guest, Vmid},
    key::{KeyAlgorithm, KeyPolicy, Rotation},
    message::{
        ControllerNode, Controllers, Hello, IssuedIdentity, JoinRequest, JoinSecret, Purge, Purged, ToAgent,
        ToController,
    },
    names::{SubjectName, SubjectNames},
    report::{Details, GuestFacts, Incoming, PlacementReport, Progress},
    spec::{
        FileMode, FileSpec, Layout, Opening, Part, PlacementSpec, Probe, Reload, StartTls, TlsProbe, Usage, Validate,
    },
    stage::{Halt, Stage, Trouble},
    token::JoinToken,
    wire::{self, pb},
};
use proptest::{collection::vec, option, prelude::*, sample::select};
use prost::Message;
use zeroize::Zeroizing;

fn text(pattern: &str) -> impl Strategy<Value = String> + use<> {
    proptest::string::string_regex(pattern).expect("a pattern")
}

fn parsed<T: std::str::FromStr<Err: std::fmt::Debug> + std::fmt::Debug>(
    pattern: &str,
) -> impl Strategy<Value = T> + use<T> {
    text(pattern).prop_map(|text| text.parse().expect("the pattern's words are good"))
}

fn certificate() -> impl Strategy<Value = CertificateName> {
    parsed("[a-z0-9][a-z0-9._-]{0,20}")
}

fn name() -> impl Strategy<Value = SubjectName> {
    prop_oneof![
        parsed("(\\*\\.)?[a-z]{1,10}(\\.[a-z]{1,8}){0,3}"),
        any::<[u8; 4]>().prop_map(|bytes| SubjectName::Ip(bytes.into())),
        any::<[u8; 16]>().prop_map(|bytes| SubjectName::Ip(bytes.into())),
        parsed("spiffe://[a-z]{1,8}/[a-z]{1,8}"),
        parsed("[a-z]{1,8}@[a-z]{1,8}"),
    ]
}

fn trouble() -> impl Strategy<Value = Trouble> {
    (any::<bool>(), text("[ -~]{0,60}"), text("[ -~ä]{0,60}"), text("[ -~]{0,60}"), option::of(1..4_000_000_000_i64))
        .prop_map(|(blocked, attempt, cause, remedy, at)| Trouble {
            halt: if blocked { Halt::Blocked } else { Halt::Waiting },
            attempt,
            cause,
            remedy,
            retry_at: at.map(Timestamp::from_unix),
        })
}

/// A root for the specs, made once.
fn root() -> RootCertificate {
    static ROOT: std::sync::OnceLock<RootCertificate> = std::sync::OnceLock::new();
    let made = || {
        let mut parameters = rcgen::CertificateParams::default();
        parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let made = parameters.self_signed(&rcgen::KeyPair::generate().expect("a key")).expect("a certificate");
        RootCertificate::parse(made.der()).expect("a root")
    };
    ROOT.get_or_init(made).clone()
}

/// Which roots a report names.
fn held_roots(number: u64) -> Box<[Fingerprint]> {
    (0..number % 3).map(|root| Fingerprint::of(&root.to_be_bytes())).collect()
}

fn report() -> impl Strategy<Value = PlacementReport> {
    let progress = prop_oneof![vec(any::<u8>(), 0..200).prop_map(Progress::Requested), Just(Progress::Delivered)];
    let incoming = (any::<u64>(), progress).prop_map(|(generation, progress)| Incoming { generation, progress });
    let stages = (select(&Stage::ALL[..]), select(&Stage::ALL[..]));
    let numbers = (any::<u64>(), any::<u64>(), option::of(any::<u64>().prop_map(held)));
    let files = vec(parsed("(/[a-z.]{3,10}){1,4}"), 0..5);
    (certificate(), stages, numbers, option::of(incoming), option::of(trouble()), any::<bool>(), files).prop_map(
        |(certificate, (stage, goal), (last_generation, revision, held), incoming, trouble, retired, left_behind)| {
            let base = PlacementReport::nothing(certificate);
            PlacementReport {
                last_generation,
                stage,
                goal,
                revision,
                held,
                incoming,
                warning: trouble.as_ref().map(|trouble: &Trouble| trouble.remedy.clone()),
                trouble,
                retired,
                disruptive: left_behind.is_empty(),
                usage: Usage::ALL.get(left_behind.len()).copied(),
                left_behind,
                roots: held_roots(last_generation),
                looked: revision,
                found: found(revision),
                details: retired.then(|| {
                    Box::new(Details {
                        files: vec!["key /etc/a.key".into()],
                        chain: vec!["CN=a".into()],
                        ..Details::default()
                    })
                }),
                originals: originals(last_generation),
                watched: watched(revision),
                ..base
            }
        },
    )
}

fn spec() -> impl Strategy<Value = PlacementSpec> {
    let file = (
        option::of(parsed("(/[a-z]{1,8}){1,3}")),
        option::of(0..=0o777_u32),
        option::of(parsed("[a-z_][a-z0-9]{0,8}")),
    )
        .prop_map(|(path, mode, owner)| {
            let mode = mode.map(|bits| FileMode::from_bits(bits).expect("permission bits"));
            FileSpec {
                legacy: mode.map(|_| true),
                password_file: path.clone(),
                path,
                mode,
                group: owner.clone(),
                owner,
            }
        });
    let files = vec((select(&Part::ALL[..]), file), 0..4).prop_map(BTreeMap::from_iter);
    let validate = prop_oneof![Just(Validate::Nothing), parsed("[a-z]{1,9}").prop_map(Validate::Hook)];
    let reload = prop_oneof![
        Just(Reload::Nothing),
        parsed("[a-z]{1,9}\\.service").prop_map(Reload::Reload),
        parsed("[a-z]{1,9}\\.service").prop_map(Reload::Restart),
        parsed("[a-z]{1,9}").prop_map(Reload::Hook),
        parsed("[a-z]{2,9}").prop_map(Reload::Container),
        (parsed("[a-z]{2,9}"), parsed("HUP|USR1|USR2"))
            .prop_map(|(container, signal)| Reload::Signal(ContainerSignal { container, signal })),
        parsed("(/[a-z]{1,8}){1,3}").prop_map(Reload::Touch),
        (parsed("[a-z]{1,9}"), vec((select(&Part::ALL[..]), parsed("[a-z]{1,9}")), 0..4)).prop_map(
            |(service, secrets)| Reload::Swarm(SwarmSecrets { service, secrets: secrets.into_iter().collect() })
        ),
    ];
    let probe = prop_oneof![
        Just(Probe::Nothing),
        (
            any::<(u32, u16)>(),
            option::of(name()),
            option::of(select(&StartTls::ALL[..])),
            option::of(1..=3600_u64),
            option::of(parsed("v1|v2")),
            option::of(parsed("[a-z]{1,9}\\.service")),
        )
            .prop_map(|((ip, port), server_name, starttls, settle, proxy_protocol, unit)| Probe::Tls(
                TlsProbe {
                    unit,
                    proxy_protocol,
                    connect: (std::net::Ipv4Addr::from_bits(ip), port).into(),
                    server_name,
                    starttls,
                    settle: settle.map(|seconds| seconds.try_into().expect("within an hour")),
                }
            )),
    ];
    let key = (select(&KeyAlgorithm::ALL[..]), any::<bool>()).prop_map(|(algorithm, always)| KeyPolicy {
        algorithm,
        rotation: if always { Rotation::Always } else { Rotation::Never },
    });
    let services = (vec(reload, 0..4), vec(probe, 0..4));
    let how = (option::of(parsed("[a-z]{1,9}")), files, option::of(validate), services);
    let opening = any::<(i32, i32)>().prop_map(|(opens, closes)| Opening {
        opens: Timestamp::from_unix(opens.into()),
        closes: Timestamp::from_unix(closes.into()),
    });
    let layout = (option::of(select(&Layout::ALL[..])), option::of(vec(opening, 0..9)));
    let state = (any::<bool>(), any::<bool>(), option::of(1..=u64::MAX), option::of(trouble()));
    (certificate(), vec(name(), 1..6), key, layout, how, state).prop_map(
        |(certificate, names, key, (layout, window), how, state)| {
            let (recipe, files, validate, (mut more_reloads, mut more_probes)) = how;
            let (reload, probe) = (more_reloads.pop(), more_probes.pop());
            let (shared, purge, ordered, trouble) = state;
            let common_name = names[0].clone();
            let names = SubjectNames::try_from(names).expect("at least one");
            PlacementSpec {
                certificate,
                content: match (shared, purge) {
                    (false, true) => Content::Roots,
                    (true, true) => Content::Watched,
                    (shared, false) => Content::Leaf(LeafSpec { common_name, names, key, shared }),
                },
                roots: if purge { vec![root()] } else { Vec::new() },
                recipe,
                files,
                layout,
                validate,
                reload,
                probe,
                more_reloads,
                more_probes,
                window,
                requires_mount: purge.then(|| "/mnt/pve/nfs".parse().expect("a mount point")),
                usage: (!purge).then_some(Usage::Client),
                purge,
                adoption: ordered.and_then(adoption),
                ordered,
                trouble,
            }
        },
    )
}

fn to_controller() -> impl Strategy<Value = ToController> {
    let facts = (text("[ -!#-&(-\\[\\]-~]{0,80}"), text("[a-z0-9.-]{0,60}"), text("[0-9a-f]{32}")).prop_map(
        |(agent_version, hostname, machine_id)| GuestFacts {
            agent_version,
            hostname,
            boot_id: format!("{machine_id}/1"),
            hwaddrs: HwAddr::parse("bc:24:11:00:00:01").into_iter().collect(),
            looks: machine_id.starts_with('0'),
            examines: machine_id.starts_with('1'),
            machine_id,
            spec_level: 3,
        },
    );
    let hello = (facts, any::<(u64, u64)>(), vec(report(), 0..4)).prop_map(
        |(facts, (identity_generation, link_count), reports)| Hello {
            facts,
            identity_generation,
            link_count,
            reports,
            roots: vec![Fingerprint::of(b"root")],
        },
    );
    prop_oneof![
        hello.prop_map(ToController::Hello),
        report().prop_map(|report| ToController::Report(Box::new(report))),
        (certificate(), vec(parsed("(/[a-z.]{3,10}){1,4}"), 0..5)).prop_map(|(certificate, left)| {
            let named = left.iter().map(|path| format!("/etc/web.conf:7 names {path}")).collect();
            let (restored, kept) = (left.clone(), left.iter().take(1).cloned().collect());
            ToController::Purged(Purged { certificate, remains: left.is_empty(), left, restored, kept, named })
        }),
        vec(any::<u8>(), 0..300).prop_map(ToController::RenewIdentity),
        examined().prop_map(|examined| ToController::Examined(Box::new(examined))),
    ]
}

fn seen() -> impl Strategy<Value = SeenCertificate> {
    (vec("[a-z.]{1,20}", 0..4), "[A-Z]{1,9}", option::of(certificate())).prop_map(|(names, issuer, managed)| {
        SeenCertificate { names, serial: format!("0{issuer}"), issuer, not_after: Timestamp::from_unix(7), managed }
    })
}

fn examined() -> impl Strategy<Value = Examined> {
    let finding = (any::<bool>(), "[a-z ]{0,30}", "[a-z ]{0,30}")
        .prop_map(|(is_problem, message, remedy)| GuestFinding { is_problem, message, remedy });
    let listener =
        (any::<[u8; 4]>(), any::<u16>(), "[a-z]{0,9}", option::of(seen())).prop_map(|(ip, port, program, shows)| {
            Listener {
                address: (ip, port).into(),
                program,
                starttls: (port % 2 == 0).then_some(StartTls::Smtp),
                shows,
                why_not: String::new(),
            }
        });
    let file = (parsed("(/[a-z.]{3,10}){1,4}"), seen()).prop_map(|(path, holds)| FileCertificate { path, holds });
    let lists = (vec("[a-z ]{1,30}", 0..3), vec(finding, 0..3), vec(listener, 0..3), vec(file, 0..3));
    (any::<u64>(), any::<i32>(), lists).prop_map(|(number, now, (left_out, findings, listeners, certificates))| {
        let now = Timestamp::from_unix(now.into());
        Examined { number, now, left_out, findings, listeners, certificates }
    })
}

fn controllers() -> impl Strategy<Value = Controllers> {
    let address = (any::<[u8; 4]>(), any::<u16>()).prop_map(std::net::SocketAddr::from);
    let node =
        (parsed("[a-z]{1,8}"), vec(address, 0..4)).prop_map(|(name, addresses)| ControllerNode { name, addresses });
    (vec(node, 0..4), parsed("[a-z]{1,8}")).prop_map(|(nodes, home)| Controllers { nodes, home })
}

fn to_agent() -> impl Strategy<Value = ToAgent> {
    let identity = (vec(vec(any::<u8>(), 0..50), 0..4), any::<u64>())
        .prop_map(|(chain, generation)| ToAgent::Identity(IssuedIdentity { chain, generation }));
    prop_oneof![
        vec(spec(), 0..4).prop_map(ToAgent::Desired),
        (certificate(), any::<[bool; 3]>()).prop_map(|(certificate, [left_behind, restore, force])| {
            ToAgent::Purge(Purge { certificate, left_behind, restore, force })
        }),
        certificate().prop_map(ToAgent::Retry),
        option::of("[a-z ]{1,40}").prop_map(ToAgent::ManifestProblem),
        (certificate(), any::<u64>()).prop_map(|(certificate, number)| ToAgent::Look(certificate, number)),
        controllers().prop_map(ToAgent::Controllers),
        (any::<u64>(), prop_oneof![Just(Subject::Discover), Just(Subject::Doctor)])
            .prop_map(|(number, subject)| ToAgent::Examine(number, subject)),
        identity,
    ]
}

/// Flips, cuts and repeats: bytes that are nearly a message reach deeper than noise.
fn damaged(mut bytes: Vec<u8>, flips: &[(usize, u8)], cut: usize) -> Vec<u8> {
    for (at, with) in flips {
        if let Some(length) = std::num::NonZeroUsize::new(bytes.len()) {
            bytes[*at % length] ^= with;
        }
    }
    bytes.truncate(bytes.len().saturating_sub(cut));
    bytes
}

/// Reads it as everything that could be read from a stranger or a peer; whether it is good does not matter here.
fn read_all(bytes: &[u8]) {
    pb::ToController::decode(bytes).ok().map(wire::read_to_controller).map(Result::ok);
    pb::ToAgent::decode(bytes).ok().map(wire::read_to_agent).map(Result::ok);
    pb::JoinRequest::decode(bytes).ok().map(wire::read_join_request).map(Result::ok);
    pb::JoinResponse::decode(bytes).ok().map(wire::read_join_response);
    JoinToken::parse(&String::from_utf8_lossy(bytes)).ok();
    pinion_proto::bundle::CertificateRequest::parse(bytes).ok();
    RootCertificate::parse(bytes).ok();
    pinion_proto::bundle::Leaf::parse(bytes).ok();
}

proptest! {
    #[test]
    fn noise_is_refused_and_never_a_panic(bytes in vec(any::<u8>(), 0..600)) {
        read_all(&bytes);
    }

    #[test]
    fn damaged_messages_are_refused_and_never_a_panic(
        up in to_controller(), down in to_agent(), flips in vec(any::<(usize, u8)>(), 0..6), cut in 0..40_usize,
    ) {
        read_all(&damaged(wire::write_to_controller(up).encode_to_vec(), &flips, cut));
        read_all(&damaged(wire::write_to_agent(down).encode_to_vec(), &flips, cut));
    }

    #[test]
    fn damaged_certificates_and_requests_are_never_a_panic(flips in vec(any::<(usize, u8)>(), 1..6), cut in 0..20_usize) {
        let held = held(1);
        read_all(&damaged(held.leaf.der().to_vec(), &flips, cut));
        let key = rcgen::KeyPair::generate().expect("a key");
        let csr = rcgen::CertificateParams::default().serialize_request(&key).expect("a request");
        read_all(&damaged(csr.der().to_vec(), &flips, cut));
    }

    #[test]
    fn what_an_agent_says_reads_back(message in to_controller()) {
        let bytes = wire::write_to_controller(message.clone()).encode_to_vec();
        let read = wire::read_to_controller(pb::ToController::decode(&*bytes).expect("protobuf"));
        prop_assert_eq!(read.expect("good"), message);
    }

    #[test]
    fn what_the_controller_says_reads_back(message in to_agent()) {
        let bytes = wire::write_to_agent(message.clone()).encode_to_vec();
        let read = wire::read_to_agent(pb::ToAgent::decode(&*bytes).expect("protobuf"));
        prop_assert_eq!(read.expect("good"), message);
    }

    #[test]
    fn a_join_reads_back_and_does_not_show_its_secret(
        guest in 100..=999_999_999_u32, secret in any::<[u8; 32]>(), csr in vec(any::<u8>(), 0..200),
    ) {
        let guest = Guest::Vmid(Vmid::try_from(guest).expect("a VMID"));
        let secret = JoinSecret(Zeroizing::new(secret));
        let request = JoinRequest { guest, secret, csr, facts: GuestFacts::default() };
        let bytes = wire::write_join_request(&request).encode_to_vec();
        let read = wire::read_join_request(pb::JoinRequest::decode(&*bytes).expect("protobuf")).expect("good");
        prop_assert_eq!((read.guest, &read.secret, &read.csr), (request.guest, &request.secret, &request.csr));
        let shown = format!("{:?}", read);
        prop_assert!(shown.contains("JoinSecret(…)"));
    }
}

/// What a newer controller may say: an older agent finds nothing in it, says so, and its link goes on.
#[test]
fn a_message_of_a_kind_that_is_not_known_is_no_message() {
    // Field 15 of `ToAgent`, length-delimited, empty.
    let message = pb::ToAgent::decode([0x7a, 0x00].as_slice()).expect("protobuf");
    let error = wire::read_to_agent(message).expect_err("nothing that is known").to_string();
    assert_eq!(error, "malformed `message`: it is missing");
}

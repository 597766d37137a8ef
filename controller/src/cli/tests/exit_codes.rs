//! With which exit code each command ends: on a host without a controller, and with one that answers as the test says.

use std::{fs, path::Path};

use clap::Parser;
use pinion_proto::{
    exit::Exit,
    stage::{Halt, Stage, Trouble},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixListener,
    task::{JoinHandle, LocalSet},
};

use crate::{
    admin::protocol::{AgentRemoval, Answer, EnsureProgress, Frozen, IssuerReport, PlanDocument, ProgressLine},
    admin::purge::Purging,
    cli::{Args, dispatch},
    config::Config,
};

/// A host in a directory, whose controller's state is there, so that its owner's processes are believed.
struct Host {
    root: tempfile::TempDir,
    config: Config,
}

impl Host {
    fn new() -> Self {
        let root = tempfile::tempdir().expect("a directory");
        let config = Config::load(root.path()).expect("the defaults");
        fs::create_dir_all(&config.local).expect("made");
        fs::create_dir_all(config.socket.parent().expect("a directory")).expect("made");
        Self { root, config }
    }

    async fn run(&self, line: &str) -> Exit {
        let arguments = ["pinion", "--root", self.root.path().to_str().expect("a path")];
        let args = Args::try_parse_from(arguments.into_iter().chain(line.split_whitespace()));
        let outcome = dispatch(args.unwrap_or_else(|error| panic!("{line}: {error}"))).await;
        outcome.unwrap_or_else(|failure| failure.report("pinion", line.contains("--json")))
    }

    fn path(&self, name: &str) -> String {
        self.root.path().join(name).display().to_string()
    }

    /// A controller that answers each question with this text, and then hangs up or says no more.
    fn controller(&self, text: String, hangs_up: bool) -> JoinHandle<()> {
        let listener = UnixListener::bind(&self.config.socket).expect("bound");
        tokio::spawn(async move {
            let mut open = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut question = [0; 4096];
                let asked = stream.read(&mut question).await.unwrap_or(0);
                if asked > 0 && stream.write_all(text.as_bytes()).await.is_ok() && !hangs_up {
                    open.push(stream);
                }
            }
        })
    }
}

fn line(answer: &Answer) -> String {
    format!("{}\n", serde_json::to_string(answer).expect("JSON"))
}

/// What became of the agent of an evicted guest.
fn removal(trouble: Option<Trouble>) -> String {
    line(&Answer::AgentRemoval(Box::new(AgentRemoval { gone: trouble.is_none(), lines: Vec::new(), trouble })))
}

fn trouble(halt: Halt) -> Trouble {
    Trouble { halt, attempt: "sign".into(), cause: "refused".into(), remedy: String::new(), retry_at: None }
}

fn progress(reached: bool, halt: Option<Halt>) -> EnsureProgress {
    let line = ProgressLine {
        placement: "docker@1001".into(),
        stage: Stage::Issued,
        serial: None,
        reached,
        trouble: halt.map(trouble),
        now: "signing".into(),
    };
    EnsureProgress { placements: vec![line] }
}

/// Each command that asks the controller, with an answer that it ends well with.
fn asking() -> Vec<(&'static str, Answer)> {
    let plan = PlanDocument { steps: Vec::new(), notes: Vec::new(), warnings: Vec::new(), wake_at: None };
    let frozen = Frozen { freezes: Vec::new(), notes: Vec::new() };
    vec![
        ("plan", Answer::Plan(plan)),
        ("ensure docker", Answer::Ensured(progress(true, None))),
        ("freeze", Answer::Frozen(frozen)),
        ("purge docker", Answer::Purging(Purging { at_once: Vec::new(), later: vec!["docker@1001".into()] })),
        ("guest list", Answer::Guests(Vec::new())),
        ("guest enroll 101", Answer::Enrolled("linked".into())),
        ("guest wake 101", Answer::End),
        ("guest unlock 101", Answer::End),
        ("guest forget 101", Answer::End),
        ("guest forget 101 --compromised", Answer::Evicted(vec!["revoked".into()])),
        ("guest evict 101", Answer::Evicted(Vec::new())),
        ("token create --guest 101", Answer::Token("pinion-join-1.x".into())),
        ("issuer check", Answer::Issuers(Vec::new())),
        ("issuer root", Answer::IssuerRoots(Vec::new())),
        ("events", Answer::End),
        ("events docker --since 8h", Answer::End),
    ]
}

#[tokio::test]
async fn a_controller_that_is_not_there_is_5_for_every_command_that_asks_it() {
    let host = Host::new();
    for (command, _) in asking() {
        assert_eq!(host.run(command).await, Exit::Unreachable, "{command}");
    }
    for command in ["status", "show docker"] {
        assert_eq!(host.run(command).await, Exit::Unreachable, "{command}");
    }
}

#[tokio::test]
async fn an_answer_is_0_with_and_without_json() {
    for (command, answer) in asking() {
        let host = Host::new();
        let evicted = matches!(answer, Answer::Evicted(_)).then(|| removal(None));
        let controller = host.controller(line(&answer) + &evicted.unwrap_or_default(), true);
        for json in ["", " --json"] {
            assert_eq!(host.run(&format!("{command}{json}")).await, Exit::Reached, "{command}{json}");
        }
        controller.abort();
    }
}

#[tokio::test]
async fn what_is_no_answer_has_the_exit_code_that_says_why() {
    for (text, expected) in [
        (line(&Answer::NoSuchName("there is no `x`".into())), Exit::NoSuchName),
        (line(&Answer::Refused("that makes no sense".into())), Exit::Usage),
        (line(&Answer::Forbidden("only admins may".into())), Exit::Blocked),
        (line(&Answer::Failed("the disk".into())), Exit::Internal),
        // It stopped while it was asked.
        (String::new(), Exit::Unreachable),
        // Of another version, perhaps.
        ("{\"something\":1}\n".into(), Exit::Internal),
        ("cut o".into(), Exit::Internal),
        // An answer to something else.
        (line(&Answer::Step("pushing".into())), Exit::Internal),
    ] {
        let host = Host::new();
        let controller = host.controller(text.clone(), true);
        for (command, _) in asking() {
            // A step alone is not the end of an enrolment, which the controller then stops.
            let steps = command.starts_with("guest enroll") && text.contains("step");
            let expected = if steps { Exit::Unreachable } else { expected };
            assert_eq!(host.run(command).await, expected, "{command}: {text}");
        }
        controller.abort();
    }
}

#[tokio::test]
async fn ensure_and_enroll_tell_reached_late_and_blocked_apart() {
    let ensured = |reached, halt| line(&Answer::Ensured(progress(reached, halt)));
    let on_the_way = [Answer::Progress(progress(false, None)), Answer::Progress(progress(false, Some(Halt::Waiting)))];
    let on_the_way: String = on_the_way.iter().map(line).collect();
    let evicted = line(&Answer::Evicted(Vec::new()));
    let cases = [
        ("ensure docker", ensured(true, None), Exit::Reached),
        // It is as was asked, whatever the next renewal is up against.
        ("ensure docker", ensured(true, Some(Halt::Blocked)), Exit::Reached),
        ("ensure docker", ensured(false, Some(Halt::Blocked)), Exit::Blocked),
        ("ensure docker", on_the_way.clone() + &ensured(false, Some(Halt::Blocked)), Exit::Blocked),
        ("ensure docker", line(&Answer::Ensured(EnsureProgress { placements: Vec::new() })), Exit::Reached),
        ("ensure docker --timeout 1s", on_the_way, Exit::TimedOut),
        ("guest enroll 101", line(&Answer::NotEnrolled(trouble(Halt::Blocked))), Exit::Blocked),
        // The agent stays, and nobody tries again by itself.
        ("guest evict 101", evicted + &removal(Some(trouble(Halt::Waiting))), Exit::Blocked),
        (
            "guest enroll 101",
            line(&Answer::Step("waiting".into())) + &line(&Answer::Enrolled("in".into())),
            Exit::Reached,
        ),
        ("guest enroll 101 --timeout 1s", line(&Answer::Step("waiting".into())), Exit::TimedOut),
    ];
    let together = LocalSet::new();
    for (command, text, expected) in cases {
        for json in ["", " --json"] {
            let (command, text) = (format!("{command}{json}"), text.clone());
            together.spawn_local(async move {
                let host = Host::new();
                let controller = host.controller(text, false);
                assert_eq!(host.run(&command).await, expected, "{command}");
                controller.abort();
            });
        }
    }
    together.await;
}

#[tokio::test]
async fn an_issuer_that_needs_a_person_is_4_and_one_that_is_away_3() {
    let report = |halt: Option<Halt>| IssuerReport {
        name: "step-ca".into(),
        check: None,
        trouble: halt.map(trouble),
        took: std::time::Duration::ZERO,
    };
    let (good, away, blocked) = (None, Some(Halt::Waiting), Some(Halt::Blocked));
    for (halts, expected) in
        [(vec![good], Exit::Reached), (vec![good, away], Exit::TimedOut), (vec![away, blocked, good], Exit::Blocked)]
    {
        let host = Host::new();
        let reports = halts.iter().copied().map(report).collect();
        let controller = host.controller(line(&Answer::Issuers(reports)), true);
        assert_eq!(host.run("issuer check").await, expected, "{halts:?}");
        controller.abort();
    }
}

#[tokio::test]
async fn files_with_mistakes_are_2_without_a_controller() {
    let host = Host::new();
    let good = "{\"version\":1,\"certificates\":[]}";
    fs::write(host.path("good.json"), good).expect("written");
    fs::write(host.path("bad.json"), "{\"version\":1,\"certificates\":[{}]}").expect("written");
    for (command, expected) in [
        (format!("manifest check {}", host.path("good.json")), Exit::Reached),
        (format!("manifest check {}", host.path("bad.json")), Exit::Usage),
        (format!("manifest check {} --json", host.path("bad.json")), Exit::Usage),
        (format!("manifest check {}", host.path("missing.json")), Exit::Usage),
        ("manifest check".to_owned(), Exit::Usage),
        ("manifest schema".to_owned(), Exit::Reached),
        (format!("restore {} --yes", host.path("missing.tar")), Exit::Internal),
        (format!("restore {}", host.path("good.json")), Exit::Usage),
        ("config check --start".to_owned(), Exit::Reached),
    ] {
        assert_eq!(host.run(&command).await, expected, "{command}");
    }
}

#[tokio::test]
async fn bad_settings_are_2_for_every_command_that_needs_them() {
    let host = Host::new();
    let file = host.root.path().join("etc/pinion/controller.toml");
    fs::create_dir_all(file.parent().expect("a directory")).expect("made");
    fs::write(&file, "lisen = \"0.0.0.0:7443\"\n").expect("written");
    let commands = ["serve", "channel", "status", "ensure", "guest list", "config check", "config check --start"];
    for command in commands {
        assert_eq!(host.run(command).await, Exit::Usage, "{command}");
    }
    // The schema is the same whatever is in the file.
    assert_eq!(host.run("manifest schema").await, Exit::Reached);
}

#[tokio::test]
async fn a_new_root_is_asked_for_with_yes_alone_and_while_nothing_runs() {
    let host = Host::new();
    for command in ["identity new-root", "identity new-root --embedded", "identity new-root --at-once"] {
        assert_eq!(host.run(command).await, Exit::Usage, "{command}");
    }
    let controller = host.controller(String::new(), true);
    for command in ["identity new-root --yes", "identity new-root --embedded --yes"] {
        assert_eq!(host.run(command).await, Exit::Blocked, "{command}");
    }
    controller.abort();
}

#[tokio::test]
async fn what_is_no_socket_is_5() {
    let host = Host::new();
    fs::write(&host.config.socket, "\"end\"\n").expect("written");
    assert_eq!(host.run("plan").await, Exit::Unreachable);
    assert!(Path::new(&host.config.socket).is_file(), "it is left alone");
}

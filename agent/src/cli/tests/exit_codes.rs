//! With which exit code each command ends, in a guest without a daemon and with one that answers as the test says.

use std::{fs, path::Path};

use clap::Parser;
use pinion_proto::{
    clock::Timestamp,
    exit::Exit,
    stage::{Halt, Stage, Trouble},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixListener,
    task::{JoinHandle, LocalSet},
};

use crate::{
    cli::{Args, dispatch},
    config::Config,
    link::LinkStatus,
    local::{LocalPlacement, LocalStatus},
};

/// Runs a command in the guest below this directory.
async fn run(root: &Path, line: &str) -> Exit {
    let arguments = ["pinion-agent", "--root", root.to_str().expect("a path")];
    let args = Args::try_parse_from(arguments.into_iter().chain(line.split_whitespace()));
    let outcome = dispatch(args.unwrap_or_else(|error| panic!("{line}: {error}"))).await;
    outcome.unwrap_or_else(|failure| failure.report("pinion-agent", line.contains("--json")))
}

/// A guest with a state directory, so that its owner's processes are believed.
fn guest() -> (tempfile::TempDir, Config) {
    Config::for_test()
}

/// A daemon that answers each question with this, and then hangs up or goes on silently.
fn daemon(config: &Config, answer: String, hang_up: bool) -> JoinHandle<()> {
    fs::create_dir_all(config.socket.parent().expect("a directory")).expect("made");
    let listener = UnixListener::bind(&config.socket).expect("bound");
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut question = [0; 4096];
            // Whoever only looks whether somebody listens says nothing.
            let asked = stream.read(&mut question).await.unwrap_or(0);
            if asked > 0 && stream.write_all(answer.as_bytes()).await.is_ok() && !hang_up {
                open.push(stream);
            }
        }
    })
}

fn status(placements: Vec<LocalPlacement>, informed: bool) -> String {
    let status = LocalStatus {
        version: "0".into(),
        guest: Some("1001".parse().expect("a guest")),
        identity_not_after: None,
        link: LinkStatus {
            linked: true,
            since: Timestamp::from_unix(0),
            controller: None,
            error: None,
            informed,
            manifest_problem: None,
        },
        placements,
    };
    format!("{}\n", serde_json::to_string(&status).expect("JSON"))
}

fn docker(stage: Stage, halt: Option<Halt>) -> LocalPlacement {
    LocalPlacement {
        certificate: "docker".parse().expect("a name"),
        stage,
        goal: Stage::Served,
        generation: None,
        serial: (stage >= Stage::Installed).then(|| "01".into()),
        names: None,
        not_after: None,
        trouble: halt.map(|halt| Trouble {
            halt,
            attempt: "install".into(),
            cause: "no such user".into(),
            remedy: String::new(),
            retry_at: None,
        }),
        warning: None,
        retired: false,
        renewing: false,
        looked: None,
    }
}

#[tokio::test]
async fn a_daemon_that_is_not_there_is_5() {
    let (root, _config) = guest();
    for line in ["status", "status --json", "await docker", "await docker --timeout 1h --json"] {
        assert_eq!(run(root.path(), line).await, Exit::Unreachable, "{line}");
    }
}

#[tokio::test]
async fn a_bad_configuration_is_2_for_every_command() {
    let (root, config) = guest();
    let file = root.path().join("etc/pinion/agent.toml");
    fs::create_dir_all(file.parent().expect("a directory")).expect("made");
    fs::write(&file, "stat = 1\n").expect("written");
    let _daemon = daemon(&config, status(Vec::new(), true), false);
    for line in ["run", "join", "status", "await docker", "config check", "config check --json", "recipe list", "seal"]
    {
        assert_eq!(run(root.path(), line).await, Exit::Usage, "{line}");
    }
    fs::remove_file(&file).expect("removed");
    for line in ["status", "config check", "config check --json", "recipe list", "recipe list --json"] {
        assert_eq!(run(root.path(), line).await, Exit::Reached, "{line}");
    }
}

#[tokio::test]
async fn a_root_that_is_no_directory_is_2() {
    for line in ["status", "config check", "recipe list"] {
        assert_eq!(run(Path::new("/nonexistent/guest"), line).await, Exit::Usage, "{line}");
    }
}

#[tokio::test]
async fn a_token_that_is_none_is_2() {
    let (root, _config) = guest();
    let file = root.path().join("token");
    let line = format!("join --token-file {}", file.display());
    assert_eq!(run(root.path(), &line).await, Exit::Usage, "no such file");
    for text in ["", "\n", "hunter2\n", "pinion-join-2.abc\n", "pinion-join-1.AAAA\n", &"x".repeat(100_000)] {
        fs::write(&file, text).expect("written");
        assert_eq!(run(root.path(), &line).await, Exit::Usage, "{text:.20}");
    }
}

#[tokio::test]
async fn a_name_that_is_none_is_2_before_anybody_is_asked() {
    let (root, _config) = guest();
    for name in ["../docker", "docker@", "docker@no/body", "docker@7"] {
        assert_eq!(run(root.path(), &format!("await {name}")).await, Exit::Usage, "{name}");
    }
}

#[tokio::test]
async fn a_recipe_in_order_is_0_and_any_other_2() {
    let (root, _config) = guest();
    let good = include_str!("../../../recipes/nginx.toml");
    let path = |name: &str| root.path().join(name);
    for name in ["good.toml", "recipe.txt"] {
        fs::write(path(name), good).expect("written");
    }
    fs::write(path("broken.toml"), "files = \n").expect("written");
    fs::write(path("unknown.toml"), format!("frobnicate = true\n{good}")).expect("written");
    for json in ["", "--json"] {
        let line = format!("recipe check {} {json}", path("good.toml").display());
        assert_eq!(run(root.path(), &line).await, Exit::Reached, "{line}");
    }
    for name in ["broken.toml", "unknown.toml", "missing.toml", "recipe.txt"] {
        for json in ["", "--json"] {
            let line = format!("recipe check {} {json}", path(name).display());
            assert_eq!(run(root.path(), &line).await, Exit::Usage, "{line}");
        }
    }
}

#[tokio::test]
async fn a_daemon_that_answers_nothing_is_5_and_one_that_answers_nonsense_1() {
    for (answer, expected) in [("", Exit::Unreachable), ("[1, 2]\n", Exit::Internal), ("half", Exit::Internal)] {
        let (root, config) = guest();
        let daemon = daemon(&config, answer.into(), true);
        assert_eq!(run(root.path(), "status").await, expected, "{answer:?}");
        daemon.abort();
    }
}

#[tokio::test]
async fn await_ends_with_0_3_4_5_or_6_as_the_daemon_says() {
    let docker = |stage, halt| status(vec![docker(stage, halt)], true);
    let cases = [
        ("await docker --until served", docker(Stage::Served, None), Exit::Reached),
        ("await docker@1001", docker(Stage::Installed, Some(Halt::Waiting)), Exit::Reached),
        // Another guest's placement is never here, so nobody waits for it.
        ("await docker@1002 --timeout 1h", docker(Stage::Served, None), Exit::NoSuchName),
        // An old trouble is not believed at once, and then nobody waits to the end.
        ("await docker --timeout 1h", docker(Stage::Pending, Some(Halt::Blocked)), Exit::Blocked),
        ("await docker --timeout 3s", docker(Stage::Pending, None), Exit::TimedOut),
        ("await docker --timeout 3s", status(Vec::new(), false), Exit::TimedOut),
        ("await web --timeout 3s", docker(Stage::Served, None), Exit::NoSuchName),
        // It hangs up each time, as one that is being restarted.
        ("await docker --timeout 1s", String::new(), Exit::Unreachable),
    ];
    let together = LocalSet::new();
    for (line, answer, expected) in cases {
        for json in ["", " --json"] {
            let (line, answer) = (format!("{line}{json}"), answer.clone());
            together.spawn_local(async move {
                let (root, config) = guest();
                let hang_up = answer.is_empty();
                let daemon = daemon(&config, answer, hang_up);
                assert_eq!(run(root.path(), &line).await, expected, "{line}");
                daemon.abort();
            });
        }
    }
    together.await;
}

#[tokio::test]
async fn a_guest_with_nothing_in_it_is_sealed_and_one_whose_agent_runs_is_4() {
    let (root, config) = guest();
    assert_eq!(run(root.path(), "seal").await, Exit::Reached);
    assert_eq!(run(root.path(), "seal --json").await, Exit::Reached, "sealing is safe to repeat");
    let files = std::sync::Arc::new(crate::install::files::RealFiles);
    let held = crate::ledger::Ledgers::open(&config.state, files).expect("an agent's");
    for line in ["seal", "seal --json"] {
        assert_eq!(run(root.path(), line).await, Exit::Blocked, "{line}");
    }
    held.release();
}

#[tokio::test]
async fn a_file_in_the_sockets_place_is_5() {
    let (root, config) = guest();
    fs::create_dir_all(config.socket.parent().expect("a directory")).expect("made");
    fs::write(&config.socket, status(Vec::new(), true)).expect("written");
    for line in ["status", "await docker"] {
        assert_eq!(run(root.path(), line).await, Exit::Unreachable, "{line}");
    }
}

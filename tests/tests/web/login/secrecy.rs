//! Tickets and API tokens are in no log, no event, no support bundle, and nowhere else on the disk.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use pinion_proto::clock::SystemClock;
use pinion_tests::{
    process::{self, Finished},
    pvedaemon::Pvedaemon,
    wait::PATIENCE,
};
use reqwest::StatusCode;

use super::{NAME, prepared, sign_in};
use crate::client::{Visitor, cookie};

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { files.extend(self::files(&path)) } else { files.push(path) }
    }
    files
}

#[tokio::test]
async fn what_people_sign_in_with_is_nowhere_on_the_disk() {
    let daemon = Pvedaemon::start(Arc::new(SystemClock)).expect("a daemon");
    let (mut host, certificate) = prepared(&daemon, "");
    let _channel = host.start_channel().expect("a root process");
    host.start_again().expect("it starts");
    daemon.user("anna@pve", &["Sys.Audit", "Sys.Modify", "Permissions.Modify"]);
    let stranger = Visitor::of_page(host.web().expect("a page"), NAME, &certificate);
    let ticket = daemon.ticket("anna@pve").expect("a ticket");
    let token = daemon.token("anna@pve!page", None);
    let forged = ticket.replace("anna@pve", "olga@pve");
    let signature = ticket.rsplit_once("::").expect("a signature").1.to_owned();
    let secret = token.rsplit_once('=').expect("a secret").1.to_owned();
    for (credential, status) in [
        (&ticket, StatusCode::SEE_OTHER),
        (&token, StatusCode::SEE_OTHER),
        (&forged, StatusCode::UNAUTHORIZED),
        (&format!("{secret}?"), StatusCode::BAD_REQUEST),
    ] {
        let answer = sign_in(&stranger, credential).await;
        assert_eq!(answer.status, status, "{}", answer.body);
        assert!(!answer.body.contains(&signature) && !answer.body.contains(&secret), "{}", answer.body);
        if status == StatusCode::SEE_OTHER {
            let page = Visitor { cookie: cookie(&answer), ..stranger.clone() }.get("/events").await;
            assert!(page.body.contains("can do everything on Proxmox"), "{}", page.body);
            assert!(!page.body.contains(&signature) && !page.body.contains(&secret), "{}", page.body);
        }
    }
    let bundle = host.root().join("bundle.tar.gz");
    let shown = bundle.display().to_string();
    host.pinion(&["support-bundle", &shown]).and_then(Finished::succeeded).expect("it is written");
    let unpacked = host.root().join("bundle");
    fs::create_dir(&unpacked).expect("made");
    let mut tar = Command::new("tar");
    tar.arg("-xzf").arg(&bundle).arg("-C").arg(&unpacked);
    process::run(&mut tar, b"", PATIENCE).and_then(Finished::succeeded).expect("it is an archive");
    let mut names = Vec::new();
    for file in files(host.root()).into_iter().filter(|file| file.is_file()) {
        let text = String::from_utf8_lossy(&fs::read(&file).expect("read")).into_owned();
        for found in [&signature, &secret] {
            assert!(!text.contains(found.as_str()), "{found} is in {}", file.display());
        }
        names.push(file.strip_prefix(host.root()).expect("below it").display().to_string());
    }
    for name in ["var/log/pinion.log", "var/log/channel.log", "var/lib/pinion/local/events.jsonl"] {
        assert!(names.iter().any(|found| found == name), "{name} is not among {names:?}");
    }
    let log = fs::read_to_string(host.root().join("var/log/channel.log")).expect("a log");
    assert!(log.contains("anna@pve!page"), "who signed in is logged: {log}");
}

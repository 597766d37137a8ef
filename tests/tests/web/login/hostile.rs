//! Proxmox's daemon misbehaves, is somebody else, or people ask too often: nobody is let in, and everything else goes on.

use std::{
    env, fs,
    io::{Read as _, Write as _},
    net::TcpListener,
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use pinion_controller::channel::{
    client::Client,
    protocol::{Cause, WebQuestion},
};
use pinion_tests::{
    process::Process,
    pvedaemon::Mischief,
    receiver::{Manner, Receiver},
    wait::{self, PATIENCE},
};
use reqwest::StatusCode;
use rustix::process::geteuid;
use zeroize::Zeroizing;

use super::{Login, says_nothing, sign_in};

#[tokio::test(flavor = "multi_thread")]
async fn while_proxmox_misbehaves_nobody_is_let_in_and_then_it_goes_on() {
    let login = Login::start().await;
    login.daemon.user("anna@pve", &["Sys.Audit"]);
    let visitor = login.visitor(&login.ticket_of("anna@pve", 0)).await;
    let elsewhere = Receiver::start(Manner::Answer(200)).expect("another service");
    for mischief in [
        Mischief::Hang,
        Mischief::Drip,
        Mischief::Status(500),
        Mischief::Status(204),
        Mischief::Redirect(elsewhere.url("api2/json/access/permissions")),
        Mischief::Body("<html>Login</html>".to_owned()),
        Mischief::Body("{\"data\":{\"/\":true}}".to_owned()),
        Mischief::Body("[".repeat(60_000)),
        Mischief::Flood(10 * 1024 * 1024),
        Mischief::CutOff,
    ] {
        login.daemon.behave(Some(mischief.clone()));
        login.pass(60);
        let began = Instant::now();
        let ticket = login.ticket_of("anna@pve", 0);
        let (new, old) = tokio::join!(login.sign_in(&ticket), visitor.get("/placements"));
        assert!(began.elapsed() < Duration::from_secs(20), "{mischief:?} took {:?}", began.elapsed());
        for answer in [new, old] {
            assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{mischief:?}: {}", answer.body);
            says_nothing(&answer);
        }
    }
    assert_eq!(elsewhere.connections(), 0, "a redirection is not followed");
    login.daemon.behave(None);
    assert_eq!(visitor.get("/placements").await.status, StatusCode::OK, "its session goes on");
    login.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_tries_too_often_is_cut_off_and_who_has_signed_in_is_not() {
    let login = Login::start().await;
    login.daemon.user("anna@pve", &["Sys.Audit"]);
    let visitor = login.visitor(&login.ticket_of("anna@pve", 0)).await;
    login.pass(75);
    let asked = login.daemon.asked().len();
    let mut statuses = Vec::new();
    for number in 0..8 {
        let guess = format!("anna@pve!page=00000000-0000-0000-0000-00000000000{number}");
        statuses.push(sign_in(&login.stranger(), &guess).await.status);
    }
    let (refused, cut_off) = (StatusCode::UNAUTHORIZED, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(statuses, [refused, refused, refused, refused, refused, cut_off, cut_off, cut_off]);
    assert_eq!(login.daemon.asked().len() - asked, 5);
    assert_eq!(visitor.get("/").await.status, StatusCode::OK);
    // A refusal is remembered: the same guess costs Proxmox nothing.
    login.pass(15);
    let guess = "anna@pve!page=00000000-0000-0000-0000-000000000004";
    assert_eq!(sign_in(&login.stranger(), guess).await.status, refused);
    assert_eq!(login.daemon.asked().len() - asked, 6, "only the visitor was asked about again");
    let large = sign_in(&login.stranger(), &"A".repeat(4096)).await;
    assert_eq!(large.status, StatusCode::PAYLOAD_TOO_LARGE, "{}", large.body);
    login.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_root_process_does_not_trust_its_caller() {
    let login = Login::start().await;
    login.daemon.user("anna@pve", &["Sys.Audit"]);
    // It listens.
    login.visitor(&login.ticket_of("anna@pve", 0)).await;
    let asked = login.daemon.asked().len();
    let client = Client::new(&login.host.root().join("run/pinion-channel/channel.sock"));
    let secret = |text: &str| pinion_controller::channel::protocol::Secret::new(Zeroizing::new(text.to_owned()));
    for text in ["", "x", "PVE:anna@pve:65A1B2C3::AA\r\nHost: x", "GET / HTTP/1.1", &"A".repeat(20_000)] {
        let failure = client.web_access(WebQuestion::Ticket(secret(text))).await.expect_err(text);
        assert_eq!(failure.cause, Cause::Refused, "{failure:?}");
    }
    assert_eq!(login.daemon.asked().len(), asked, "none of that is sent on");
    // It refuses at once, so that the test need not wait 3 s for each.
    login.daemon.behave(Some(Mischief::Status(401)));
    let mut busy = 0;
    for number in 0..40 {
        let guess = format!("anna@pve!page=guess{number}");
        match client.web_access(WebQuestion::Ticket(secret(&guess))).await {
            Err(failure) if failure.cause == Cause::Busy => busy += 1,
            answer => drop(answer.expect("an answer")),
        }
        if busy > 2 {
            break;
        }
    }
    assert!(
        busy > 2 && login.daemon.asked().len() - asked <= 10,
        "it asks {} times",
        login.daemon.asked().len() - asked
    );
    login.stop().await;
}

/// A user without any rights.
const NOBODY: u32 = 65534;

/// Where [`listens_as_another_user`] writes its port, and what it gets.
const IMPOSTOR: &str = "PINION_TEST_PVEDAEMON";

/// Run by the next one as another user; by itself it does nothing.
#[test]
fn listens_as_another_user() {
    let Some(directory) = env::var_os(IMPOSTOR).map(PathBuf::from) else { return };
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    fs::write(directory.join("port.new"), port.to_string()).expect("written");
    fs::rename(directory.join("port.new"), directory.join("port")).expect("written");
    let mut got = fs::File::create(directory.join("got")).expect("a file");
    for stream in listener.incoming() {
        let mut stream = stream.expect("a caller");
        let mut bytes = [0; 4096];
        while let Ok(length @ 1..) = stream.read(&mut bytes) {
            got.write_all(&bytes[..length]).expect("written");
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 33\r\n\r\n{\"data\":{\"/\":{\"Sys.Audit\":1}}}   ")
                .ok();
        }
    }
}

fn impostor(directory: &Path) -> (Process, u16) {
    fs::set_permissions(directory, fs::Permissions::from_mode(0o777)).expect("opened");
    let mut command = Command::new(env::current_exe().expect("this test"));
    command.args(["--exact", "login::hostile::listens_as_another_user", "--nocapture"]);
    command.env(IMPOSTOR, directory).uid(NOBODY).gid(NOBODY);
    let process = Process::spawn("an impostor", &mut command, &directory.join("log")).expect("it starts");
    let port = wait::until("the impostor's port", PATIENCE, || fs::read_to_string(directory.join("port")));
    (process, port.expect("it listens").parse().expect("a port"))
}

#[tokio::test(flavor = "multi_thread")]
async fn another_users_process_in_proxmoxs_place_is_sent_nothing() {
    if !geteuid().is_root() {
        // Nobody else can be become.
        return;
    }
    let mut login = Login::start().await;
    login.daemon.user("anna@pve", &["Sys.Audit"]);
    let ticket = login.ticket_of("anna@pve", 0);
    let visitor = login.visitor(&ticket).await;
    let directory = tempfile::Builder::new().prefix("pinion-impostor-").tempdir().expect("a directory");
    let (_impostor, port) = impostor(directory.path());
    let path = login.host.root().join("etc/pinion/controller.toml");
    let config = fs::read_to_string(&path).expect("there");
    let daemon = login.daemon.address().to_string();
    fs::write(&path, config.replace(&daemon, &format!("127.0.0.1:{port}"))).expect("written");
    login.root_process.shutdown().await;
    login.start_root_process();
    drop(visitor);
    login.pass(60);
    let client = Client::new(&login.host.root().join("run/pinion-channel/channel.sock"));
    let question = || {
        let ticket = login.ticket_of("anna@pve", 0);
        WebQuestion::Ticket(pinion_controller::channel::protocol::Secret::new(Zeroizing::new(ticket)))
    };
    let failure = wait::until_async("the root process", PATIENCE, async || match client.web_access(question()).await {
        Err(failure) if failure.cause == Cause::ToolMissing => Err(failure.text),
        other => Ok(other.expect_err("another user's")),
    });
    let failure = failure.await.expect("it answers");
    assert!(failure.cause == Cause::Refused && failure.text.contains("uid 65534"), "{failure:?}");
    assert_eq!(login.sign_in(&login.ticket_of("anna@pve", 0)).await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(fs::read(directory.path().join("got")).expect("a file"), b"", "not a byte");
    login.stop().await;
}

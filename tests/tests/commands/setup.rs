//! `pinion setup`: by flags and at a keyboard, with a real step-ca, and what keeps it from writing anything.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::{
        fs::{MetadataExt, PermissionsExt},
        process::CommandExt,
    },
    path::Path,
    process::Command,
};

use pinion_tests::{
    ca::{PASSWORD, StepCa},
    host::{Host, HostOptions},
    port::Port,
    process::{self, Finished},
    program, terminal,
    wait::PATIENCE,
};
use rustix::process::geteuid;
use serde_json::Value;
use tempfile::TempDir;

/// A host with nothing of Pinion's on it.
struct Fresh {
    root: TempDir,
}

impl Fresh {
    fn new() -> Self {
        let root = tempfile::Builder::new().prefix("pinion-fresh-").tempdir().expect("a directory");
        fs::create_dir_all(root.path().join("etc")).expect("made");
        fs::write(root.path().join("etc/passwd"), "root:x:0:0::/:\npinion:x:997:997::/:\n").expect("written");
        Self { root }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program::own("pinion").expect("it is built"));
        command.arg("--root").arg(self.root.path()).args(arguments);
        command
    }

    /// Without a terminal.
    fn run(&self, arguments: &[&str], input: &str) -> Finished {
        process::run(&mut self.command(arguments), input.as_bytes(), PATIENCE).expect("it ends")
    }

    /// At a keyboard.
    fn converse(&self, arguments: &[&str], answers: &[(&str, &str)]) -> Finished {
        terminal::converse(&mut self.command(arguments), answers, PATIENCE).expect("it ends")
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.root.path().join("etc/pinion").join(name)
    }

    /// Every file below /etc/pinion, with its inode and content.
    fn files(&self) -> BTreeMap<String, (u64, Vec<u8>)> {
        let Ok(entries) = fs::read_dir(self.path("")) else { return BTreeMap::new() };
        let file = |path: &Path| (fs::metadata(path).expect("there").ino(), fs::read(path).expect("read"));
        let entries = entries.map(|entry| entry.expect("an entry"));
        entries.map(|entry| (entry.file_name().to_string_lossy().into_owned(), file(&entry.path()))).collect()
    }

    fn nothing_is_written(&self, told: &Finished) {
        assert_eq!(self.files().into_keys().collect::<Vec<_>>(), Vec::<String>::new(), "{told}");
    }
}

/// All flags for this CA.
fn flags(url: &str, fingerprint: &str) -> Vec<String> {
    let flags = [
        "setup",
        "--advertise",
        "10.0.0.13:7443",
        "--advertise",
        "172.16.100.1",
        "--issuer",
        "step-ca",
        "--url",
        url,
        "--fingerprint",
        fingerprint,
        "--provisioner",
        "admin",
    ];
    flags.map(str::to_owned).to_vec()
}

fn words(flags: &[String]) -> Vec<&str> {
    flags.iter().map(String::as_str).collect()
}

#[test]
fn by_flags_everything_is_written_once_and_a_second_run_changes_nothing() {
    let ca = StepCa::start().expect("a CA");
    let (host, print) = (Fresh::new(), ca.fingerprint().expect("a root").to_string());
    let flags = flags(&ca.url(), &print);
    let done = host.run(&words(&flags), &format!("{PASSWORD}\n"));
    assert!(done.code() == 0 && done.stdout.contains("reached at"), "the CA was checked: {done}");
    assert!(done.stdout.contains("nothing is started below"), "{done}");
    assert!(!format!("{done}").contains(PASSWORD), "it is shown nowhere");
    let files = host.files();
    let names: Vec<_> = files.keys().map(String::as_str).collect();
    assert_eq!(names, ["certificate-manifest.json", "controller.toml", "step-ca.password"]);
    assert_eq!(files["step-ca.password"].1, format!("{PASSWORD}\n").as_bytes());
    let password = fs::metadata(host.path("step-ca.password")).expect("there");
    assert_eq!(password.permissions().mode() & 0o7777, 0o600);
    if geteuid().is_root() {
        assert_eq!(password.uid(), 997, "the controller's user alone reads it");
    }
    let text = fs::read_to_string(host.path("controller.toml")).expect("there");
    assert!(text.contains("advertise = [\"10.0.0.13:7443\", \"172.16.100.1:7443\"]"), "{text}");
    host.run(&["config", "check"], "").succeeded().expect("it has no mistake");
    host.run(&["manifest", "check"], "").succeeded().expect("nor has the manifest");

    // Other answers the second time: what is there stays, and is checked.
    let again = host.run(&["setup", "--yes", "--issuer", "embedded"], "");
    assert!(again.code() == 0 && again.stdout.contains("is kept") && again.stderr.contains("is not used"), "{again}");
    assert!(again.stdout.contains("reached at"), "{again}");
    assert_eq!(host.files(), files);

    // And while the CA is down.
    drop(ca);
    let down = host.run(&["--json", "setup"], "");
    let document: Value = serde_json::from_str(&down.stdout).expect("a document");
    assert!(down.code() == 3 && document["exit"] == 3 && document["kept"].is_array(), "{down}");
    assert_eq!(host.files(), files);
}

#[test]
fn what_is_missing_is_named_at_once_and_nothing_is_written() {
    let ca = StepCa::start().expect("a CA");
    let host = Fresh::new();
    for (given, named) in [
        (&["setup"][..], &["--advertise", "--issuer", "terminal"][..]),
        (&["setup", "--issuer", "step-ca"], &["--advertise", "--url", "--fingerprint", "--provisioner"]),
        (&["setup", "--yes"], &["--issuer"]),
        (&["setup", "--yes", "--advertise", "10.0.0.13", "--issuer", "step-ca"], &["--url", "--fingerprint"]),
        (&["setup", "--issuer", "embedded", "--url", "https://10.0.0.10:9000"], &["belong to"]),
        (&["setup", "--issuer", "acme"], &["embedded", "step-ca"]),
        (&["setup", "--advertise", "0.0.0.0:7443"], &["cannot be dialled"]),
        (&["setup", "--url", "http://10.0.0.10:9000"], &["only over TLS"]),
    ] {
        let told = host.run(given, "");
        assert!(told.code() == 2 && named.iter().all(|flag| told.stderr.contains(flag)), "{given:?}: {told}");
        host.nothing_is_written(&told);
    }
    // The CA shows its root, and still nobody has compared it.
    let print = ca.fingerprint().expect("a root").to_string();
    let url = ca.url();
    let given = ["setup", "--yes", "--advertise", "10.0.0.13", "--issuer", "step-ca", "--url", &url];
    let told = host.run(&given, PASSWORD);
    assert!(told.code() == 2 && told.stderr.contains("--fingerprint") && told.stderr.contains(&print), "{told}");
    let whole = [&given[..], &["--fingerprint", &print]].concat();
    let told = host.run(&whole, "");
    assert!(told.code() == 2 && told.stderr.contains("no password on standard input"), "{told}");
    host.nothing_is_written(&told);
}

#[test]
fn at_a_keyboard_everything_is_asked_and_the_root_is_compared() {
    let ca = StepCa::start().expect("a CA");
    let (host, print) = (Fresh::new(), ca.fingerprint().expect("a root").to_string());
    let (addresses, signs, url) = ("guests", "Who signs your certificates", ca.url());
    let (same, provisioner, password) = ("Is it the same? [y/N]", "JWK provisioner", "it is not shown");
    let to_the_root =
        [(addresses, "10.0.0.13 172.16.100.1:7443"), (signs, "nobody"), (signs, "step-ca"), ("URL of", &url)];
    let refused = host.converse(&["setup"], &[&to_the_root[..], &[(same, "n")]].concat());
    assert!(refused.code() == 2 && refused.stdout.contains(&print), "it is shown to be compared: {refused}");
    host.nothing_is_written(&refused);

    let rest = [(same, "y"), (provisioner, "admin"), (password, PASSWORD)];
    let done = host.converse(&["setup"], &[&to_the_root[..], &rest].concat());
    assert!(done.code() == 0 && !done.stdout.contains(PASSWORD), "{done}");
    assert!(done.stdout.contains("answer `step-ca` or `embedded`"), "{done}");
    let text = fs::read_to_string(host.path("controller.toml")).expect("there");
    assert!(text.contains(&print) && text.contains("172.16.100.1:7443") && text.contains("\"admin\""), "{text}");

    // With the CA inside there is less to ask, and what is given is not asked.
    let host = Fresh::new();
    let done = host.converse(&["setup", "--advertise", "10.0.0.13"], &[(signs, "embedded")]);
    assert!(done.code() == 0 && !done.stdout.contains("provisioner"), "{done}");
    assert!(!host.path("step-ca.password").exists());
}

#[test]
fn a_ca_that_does_not_fit_keeps_everything_unwritten() {
    let mut ca = StepCa::start().expect("a CA");
    let (host, print) = (Fresh::new(), ca.fingerprint().expect("a root").to_string());
    let nobody = format!("https://{}", Port::reserve().expect("a port").address());
    for (what, url, fingerprint, password, code, words) in [
        ("a wrong password", ca.url(), print.clone(), "wrong", 4, "the password does not open it"),
        ("a wrong fingerprint", ca.url(), "ab".repeat(32), PASSWORD, 4, print.as_str()),
        ("a CA that is away", nobody, print.clone(), PASSWORD, 3, "fetch the root"),
    ] {
        let told = host.run(&words_of(&url, &fingerprint), password);
        assert!(told.code() == code && format!("{told}").contains(words), "{what}: {told}");
        assert!(told.stderr.contains("nothing was written"), "{what}: {told}");
        host.nothing_is_written(&told);
    }
    let unknown = words_of(&ca.url(), &print).iter().map(|word| word.replace("admin", "nobody")).collect::<Vec<_>>();
    let told = host.run(&words(&unknown), PASSWORD);
    assert!(told.code() == 4 && told.stdout.contains("its JWK provisioners: admin"), "{told}");
    // At a keyboard, too.
    ca.stop();
    let url = ca.url();
    let given = ["setup", "--advertise", "10.0.0.13", "--url", &url];
    let told = host.converse(&given, &[]);
    assert!(told.code() == 3 && told.stdout.contains("nothing was written"), "{told}");
    host.nothing_is_written(&told);
}

fn words_of(url: &str, fingerprint: &str) -> Vec<&'static str> {
    // A test's few words.
    flags(url, fingerprint).into_iter().map(|word| &*word.leak()).collect()
}

#[test]
fn files_that_are_there_are_kept() {
    let ca = StepCa::start().expect("a CA");
    let (host, print) = (Fresh::new(), ca.fingerprint().expect("a root").to_string());
    let mine = "{ \"version\": 1, \"certificates\": [ { \"name\": \"web\", \"common_name\": \"web.example\", \"placements\": [] } ] }";
    fs::create_dir_all(host.path("")).expect("made");
    fs::write(host.path("certificate-manifest.json"), mine).expect("written");
    fs::write(host.path("step-ca.password"), "wrong").expect("written");
    fs::set_permissions(host.path("step-ca.password"), fs::Permissions::from_mode(0o600)).expect("closed");
    // The password that is there is the one that counts.
    let flags = flags(&ca.url(), &print);
    let told = host.run(&words(&flags), PASSWORD);
    assert!(told.code() == 4 && told.stdout.contains("step-ca.password"), "{told}");
    assert!(!host.path("controller.toml").exists());
    fs::write(host.path("step-ca.password"), PASSWORD).expect("written");
    let before = host.files();
    let told = host.run(&words(&flags), "another");
    assert!(told.code() == 0 && told.stdout.contains("pinion plan"), "there is something to do already: {told}");
    let mut after = host.files();
    after.remove("controller.toml").expect("written");
    assert_eq!(after, before);

    fs::write(host.path("controller.toml"), "advertise = 7\nlisten = \"x\"\n").expect("written");
    let before = host.files();
    let told = host.run(&["setup"], "");
    assert!(told.code() == 2 && told.stderr.contains("controller.toml:1:") && told.stderr.contains(":2:"), "{told}");
    assert_eq!(host.files(), before);
}

#[test]
fn only_root_sets_up_the_host_itself() {
    let mut command = Command::new(program::own("pinion").expect("it is built"));
    command.args(["setup", "--yes", "--issuer", "embedded", "--advertise", "10.0.0.13"]);
    if geteuid().is_root() {
        command.uid(65534).gid(65534);
    }
    let told = process::run(&mut command, b"", PATIENCE).expect("it ends");
    assert!(told.code() == 4 && told.stderr.contains("needs root"), "{told}");
}

#[test]
fn a_controller_that_runs_already_is_found_and_an_example_is_shown() {
    let host = Host::start(&HostOptions::default()).expect("a host");
    let told = host.pinion(&["--json", "setup"]).expect("it ends");
    let document: Value = serde_json::from_str(&told.stdout).expect("a document");
    let example = document["example"].as_str().expect("an example");
    let path = host.root().join("example.json");
    fs::write(&path, example).expect("written");
    assert!(told.code() == 0 && example.contains("\"embedded\""), "{told}");
    host.pinion(&["plan", path.to_str().expect("text")]).and_then(Finished::succeeded).expect("it is a good manifest");
}

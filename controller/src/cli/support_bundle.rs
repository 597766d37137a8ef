//! `pinion support-bundle`.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use pinion_proto::{
    causes::chain,
    clock::{Clock as _, SystemClock},
    errln,
    exit::Exit,
    failure::Failure,
    outln,
    printable::line,
    table::Look,
};
use serde::Serialize;

use super::{Session, ask, doctor, events, print_json, status};
use crate::{
    admin::protocol::{Answer, Ask, Selection},
    config::{self, Config},
    manifest::source::Source,
    setup::services::{UNITS, are_systemds},
    support::{Bundle, redacted},
    system_program::{Bounds, run},
};

/// Write what a support person needs to see into one file, without secrets.
///
/// The file is a tar archive (tar.gz, mode 0600) with what `pinion doctor`, `status`, `plan`, `guest list`, `issuer check` and
/// `events` print, the manifest, controller.toml without its secrets, and the last lines of the units' journals. Passwords,
/// tokens and private keys are taken out. It does contain names of guests, host names and addresses: read it before you send
/// it. Works while the controller does not run. Run it as root.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Example:\n  pinion support-bundle /root/pinion-support.tar.gz")]
pub(super) struct SupportBundleArgs {
    /// The file to write, which must not exist.
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// So many of the last events are included.
const EVENTS: usize = 5000;

/// So many of the last lines of each journal are included.
const JOURNAL_LINES: &str = "--lines=2000";

/// A journal of many gigabytes is searched for its last lines.
const JOURNAL: Bounds = Bounds { patience: std::time::Duration::from_secs(60), max: 8 * 1024 * 1024 };

/// The largest manifest that is included (bytes).
const MAX_MANIFEST: u64 = 16 * 1024 * 1024;

/// The longest name of a file, in characters.
const MAX_NAME: usize = 255;

/// What the archive says of itself.
const README: &str = "What `pinion support-bundle` found. Texts that are or may be secrets are replaced by (redacted).
A file NAME.missing says why there is no NAME.
";

/// Collects everything and writes it.
pub(super) async fn support_bundle(root: &Path, args: SupportBundleArgs, json: bool) -> Result<Exit, Failure> {
    let SupportBundleArgs { file } = args;
    // Before a minute of work: the file itself is made anew all the same.
    if file.symlink_metadata().is_ok() {
        return Err(taken(&file));
    }
    let bundle = collect(root).await;
    let written = bundle.write(&file, SystemClock.now()).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => taken(&file),
        _ => Failure::new(Exit::Internal, format!("cannot write {}", file.display())).cause(&error).or_root(&error),
    })?;
    if json {
        print_json(&written);
    } else {
        outln!("{}: {} files, SHA-256 {}", written.file.display(), written.entries.len(), written.sha256);
        errln!("it contains no secrets, but names and addresses of your guests: read it before you send it");
    }
    Ok(Exit::Reached)
}

fn taken(file: &Path) -> Failure {
    Failure::new(Exit::Usage, format!("{} exists already", file.display())).remedy("name a new file")
}

async fn collect(root: &Path) -> Bundle {
    let config = Config::load(root);
    let settings = read(&config::path(root));
    let redacted = redacted(settings.as_deref().unwrap_or_default());
    let mut bundle = Bundle::new(root, &redacted);
    bundle.add("README", README);
    let now = SystemClock.now();
    let system = rustix::system::uname();
    let kernel = format!("{} {}", system.release().to_string_lossy(), system.machine().to_string_lossy());
    bundle.add("versions.txt", &format!("pinion {}\nLinux {kernel}\n{now}\n", env!("CARGO_PKG_VERSION")));
    let report = doctor::report(root).await;
    bundle.add("doctor.txt", &doctor::words(&report, Look { now, width: Some(100), is_coloured: false }));
    bundle.add_or_why("doctor.json", &document(&report));
    bundle.add_or_why("controller.toml", &settings.map(|_| redacted.text));
    manifest(&root.join("etc/pinion/certificate-manifest.json"), &mut bundle);
    if let Ok(config) = config {
        answers(&Session { config, json: true }, &mut bundle).await;
    }
    for unit in UNITS.into_iter().chain(["pinion-agent.service"]) {
        let journal = if are_systemds(root) {
            let arguments = ["--unit", unit, JOURNAL_LINES, "--no-pager", "--output=short-iso", "--quiet"];
            run("journalctl", &arguments, JOURNAL).await
        } else {
            Err("systemd does not run Pinion here".to_owned())
        };
        bundle.add_or_why(&format!("journal/{unit}.txt"), &journal);
    }
    bundle
}

/// The manifest's files, as they are.
fn manifest(path: &Path, bundle: &mut Bundle) {
    let more = Source::of(path).more_files();
    match more {
        // Without the main file, those of the directory are all.
        Ok(ref files) if !files.is_empty() && !path.exists() => {}
        _ => bundle.add_or_why("certificate-manifest.json", &read(path)),
    }
    match more {
        Ok(files) => {
            for file in files {
                let name = line(&file.file_name().unwrap_or_default().to_string_lossy(), MAX_NAME);
                bundle.add_or_why(&format!("certificate-manifest.d/{name}"), &read(&file));
            }
        }
        Err(error) => bundle.add_or_why("certificate-manifest.d", &Err(chain(&error))),
    }
}

/// What the controller says.
async fn answers(session: &Session, bundle: &mut Bundle) {
    let questions = [
        ("status.json", Ask::Status(Selection::default())),
        ("plan.json", Ask::Plan),
        ("guests.json", Ask::Guests),
        ("issuers.json", Ask::Issuers),
    ];
    for (name, question) in questions {
        let answer = match ask(session, &question).await {
            Ok(Answer::Status(status)) => {
                let look = Look { now: SystemClock.now(), width: None, is_coloured: false };
                bundle.add("status.txt", &status::words(&status, look));
                document(&status)
            }
            Ok(Answer::Plan(plan)) => document(&plan),
            Ok(Answer::Guests(guests)) => document(&guests),
            Ok(Answer::Issuers(issuers)) => document(&issuers),
            Ok(_) => Err("the controller answered another question".to_owned()),
            Err(failure) => Err(failure.to_string()),
        };
        bundle.add_or_why(name, &answer);
    }
    let all = events::last(session, EVENTS).await;
    let lines: Vec<_> = all.iter().filter_map(|event| serde_json::to_string(event).ok()).collect();
    bundle.add("events.jsonl", &(lines.join("\n") + "\n"));
}

fn document(document: &impl Serialize) -> Result<String, String> {
    serde_json::to_string_pretty(document).map_err(|error| error.to_string())
}

/// A file of the configuration's.
fn read(path: &Path) -> Result<String, String> {
    let failed = |error: io::Error| format!("cannot read {}: {error}", path.display());
    let found = fs::metadata(path).map_err(failed)?;
    if !found.is_file() || found.len() > MAX_MANIFEST {
        return Err(format!("{} is no file, or too large", path.display()));
    }
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).map_err(failed)
}

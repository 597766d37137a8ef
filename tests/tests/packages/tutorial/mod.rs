//! `docs/tutorial.md`, followed word for word on a host that boots, with a real step-ca and nginx in two containers.
//!
//! It leaves a transcript in `target/tutorial-transcript.md`, which is the next `docs/tutorial-transcript.md`.

mod page;

use std::{
    env, fs,
    path::Path,
    time::{Duration, Instant},
};

use pinion_tests::{
    ca::PASSWORD,
    lab::{Role, Spec, booted::Booted},
    process, terminal,
};

use crate::{
    apt::{VERSION, bring},
    doctor,
};
use page::{Answer, Page, Step, is_printed};

/// For one command; the longest brings the agent into a guest.
const LONG: Duration = Duration::from_secs(240);

/// What the title promises.
const PROMISED: Duration = Duration::from_secs(600);

#[test]
fn the_tutorial_leads_to_a_certificate_that_is_served() {
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/tutorial.md");
    let page = Page::parse(&fs::read_to_string(document).expect("the tutorial"));
    let host = Booted::proxmox(Role::Debian12, vec![Spec::gateway(), Spec::authority()]).expect("up");
    let served = host.lab().sh(101, "nginx -T 2>/dev/null").expect("nginx has a configuration");
    assert!(!page.configuration.is_empty());
    for line in &page.configuration {
        assert!(served.contains(line.as_str()), "{line} is not in\n{served}");
    }
    bring(&host, "pinion", VERSION);

    let mut reader = Reader { host: &host, text: String::new(), printed: Vec::new() };
    let (mut began, mut took) = (None, None);
    for step in &page.steps {
        if step.command.starts_with("apt install") {
            began = Some(Instant::now());
        }
        reader.follow(step);
        if step.command == "pinion ensure --until served" {
            took = began.map(|began| began.elapsed());
        }
    }
    let took = took.expect("it installs, and then waits for what is served");
    assert!(took < PROMISED, "{took:?}");

    // What a reader is told to compare.
    let fingerprint = reader.of("pct exec 103 -- step certificate fingerprint").trim().to_owned();
    assert!(fingerprint.len() == 64 && reader.of("pinion setup").contains(&fingerprint), "{fingerprint}");
    let seen = reader.of("openssl x509 -noout -subject -issuer");
    let serial = seen.lines().find_map(|line| line.strip_prefix("serial=")).expect("a serial number");
    let renewed = reader.of("pinion ensure gateway --renew");
    assert!(renewed.contains("served (serial ") && !renewed.contains(serial), "{renewed}");
    let events = host.well(&["pinion", "events", "gateway"]).expect("events").stdout;
    assert!(events.contains(serial), "{serial} is not in\n{events}");

    let head = head(&host, took);
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("it is in target/");
    let text = format!("{head}```console\n{}\n```\n", reader.text.trim_end());
    fs::write(target.join("tutorial-transcript.md"), text).expect("the transcript is written");

    // What a reader has now is a healthy system, in which each fault is told.
    doctor::story(&host);
}

fn head(host: &Booted, took: Duration) -> String {
    let said = |words: &[&str]| host.well(words).expect("it answers").stdout.trim().to_owned();
    let (date, debian) = (said(&["date", "-u", "+%F"]), said(&["cat", "/etc/debian_version"]));
    let systemd = said(&["systemctl", "--version"]);
    let systemd = systemd.split_whitespace().nth(1).unwrap_or_default();
    let built = if env::var_os("PINION_PACKAGES").is_some() { "a release" } else { "debug builds" };
    format!(
        "# The tutorial, as a test followed it\n\n\
         Made on {date} by `cargo test -p pinion-tests --test packages tutorial`, which takes the\n\
         commands from [the tutorial](tutorial.md), types them, and leaves this in\n\
         `target/tutorial-transcript.md`. From `apt install` to `served` it took {:.0} s, with packages\n\
         of {built}, and without the time in which a person reads and types.\n\n\
         Real are the Debian {debian} host with systemd {systemd}, the packages, nginx and step-ca in two\n\
         unprivileged LXC containers, and everything that they say to each other. Not Proxmox's own are\n\
         `pct`, `qm` and `pvesh`, which hand their command line to the [lab](lab.md)'s tools, `/etc/pve`,\n\
         which is the lab's file system, and the host itself: it is a privileged container, and the two\n\
         guests are its neighbours.\n\n",
        took.as_secs_f64()
    )
}

/// Somebody who types what the document says.
struct Reader<'h> {
    host: &'h Booted,
    text: String,
    printed: Vec<(String, String)>,
}

impl Reader<'_> {
    fn follow(&mut self, step: &Step) {
        let line = &step.command;
        // Both outputs in their order, in the directory in which root's shell begins.
        let script = format!("cd /root\nexport DEBIAN_FRONTEND=noninteractive\nexec 2>&1\n{line}");
        let done = if step.answers.is_empty() {
            process::run(self.host.command("bash").expect("a command").args(["-c", &script]), b"", LONG)
        } else {
            let answers: Vec<_> = step.answers.iter().map(|(asked, told)| (asked.as_str(), typed(told))).collect();
            // Ended in there if nobody answers: what is ended out here is nsenter alone.
            let mut bash = self.host.command_on_terminal("timeout").expect("a command");
            terminal::converse(bash.args(["--foreground", "200", "bash", "-c", &script]), &answers, LONG)
        };
        let done = done.unwrap_or_else(|error| panic!("{line}: {error:#}\n{}", self.host.journal()));
        // A line that was written over and over is what it was at the end.
        let shown = |line: &str| line.trim_end_matches('\r').rsplit('\r').next().unwrap_or_default().to_owned();
        let printed = done.stdout.lines().map(shown).collect::<Vec<_>>().join("\n");
        assert_eq!(done.code(), 0, "{line}\n{printed}\n{}", self.host.journal());
        for (asked, _) in &step.answers {
            assert!(printed.contains(asked), "it does not ask {asked:?}:\n{printed}");
        }
        if let Some(document) = &step.prints {
            assert!(is_printed(document, &printed), "{line} prints\n{printed}\nand not\n{document}");
        }
        assert!(!printed.contains(PASSWORD), "the password is shown:\n{printed}");
        let printed_lines: Vec<&str> = printed.lines().map(str::trim_end).collect();
        self.text += &format!("pve1# {line}\n{}\n\n", printed_lines.join("\n").trim_end());
        self.printed.push((line.clone(), printed));
    }

    /// What the command printed that begins so.
    fn of(&self, start: &str) -> &str {
        let found = self.printed.iter().find(|(line, _)| line.starts_with(start));
        &found.unwrap_or_else(|| panic!("the tutorial has no command {start:?}")).1
    }
}

/// What is typed for an answer; the only secret is the provisioner's password.
fn typed(answer: &Answer) -> &str {
    match answer {
        Answer::Line(line) => line,
        Answer::Secret => PASSWORD,
    }
}

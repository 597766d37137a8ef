//! Alarms from inside the shipped unit's sandbox: mail to the host's own mail server, a hook, and a webhook are told an alarm's
//! whole life, and the hook can do what docs/alarms.md says and no more.

use std::{fs, thread};

use pinion_tests::{
    lab::booted::Booted,
    postfix::Postfix,
    receiver::{Manner, Receiver},
    wait::{self, PATIENCE},
};
use serde_json::{Value, json};

/// The mail target has no settings at all: mail to root, through 127.0.0.1:25.
fn targets(webhook: &str) -> String {
    format!(
        "[notify]\ngroup = \"1s\"\nrepeat = \"3s\"\nclear_after = \"1s\"\n[notify.targets.root]\ntype = \"mail\"\n\
         [notify.targets.pager]\ntype = \"hook\"\npath = \"/etc/pinion/notify-pager\"\n\
         [notify.targets.chat]\ntype = \"webhook\"\nurl = \"{webhook}\"\n"
    )
}

/// Notes what it is told, and what it can do: a word for each.
const HOOK: &str = "#!/bin/sh
cat >> /var/lib/pinion/hook.told
echo \" $PINION_STATE $PINION_SEVERITY $PINION_TITLE\" >> /var/lib/pinion/hook.told
[ $# = 0 ] || echo arguments
{
    id -un
    for place in /var/lib/pinion /run/pinion /tmp /etc/pinion /usr /var/lib /root /home /dev; do
        if echo > $place/hook.trial; then echo writes $place; rm $place/hook.trial; fi
    done
    if [ -e /tmp/of-the-host ]; then echo shares /tmp; fi
    if ls /root; then echo reads /root; fi
    if cat /var/lib/pinion-channel/*; then echo reads the identity root; fi
    grep -E '^(CapEff|NoNewPrivs):' /proc/self/status
    if perl -MIO::Socket::INET -e 'IO::Socket::INET->new(\"127.0.0.1:25\") or die'; then echo connects; fi
    ls /proc/self/fd | wc -l
} > /var/lib/pinion/hook.can 2>/dev/null
exit 0
";

#[test]
fn mail_hook_and_webhook_are_told_an_alarms_whole_life_from_inside_the_units_sandbox() {
    let nothing = json!({ "version": 1, "certificates": [] });
    let host = Booted::install(&nothing).expect("installed");
    host.write("/etc/pinion/notify-pager", 0o755, HOOK.as_bytes()).expect("written");
    host.boot().expect("it boots");
    host.wait_well().expect("well");
    host.well(&["touch", "/tmp/of-the-host"]).expect("written");
    let network = host.network().expect("its network");
    let postfix = Postfix::start_in(&network, None).expect("Postfix is installed");
    let receiver = thread::scope(|scope| {
        let start = || network.enter().and_then(|()| Receiver::start(Manner::Answer(200)));
        scope.spawn(start).join().expect("it does not panic").expect("a receiver")
    });
    let config = fs::read_to_string(host.path("/etc/pinion/controller.toml")).expect("there");
    let config = config + &targets(&receiver.url("x"));
    host.write("/etc/pinion/controller.toml", 0o644, config.as_bytes()).expect("written");
    host.well(&["pinion", "config", "check"]).expect("it fits");
    host.well(&["systemctl", "restart", "pinion"]).expect("restarted");
    let tested =
        host.well(&["pinion", "notify", "test"]).unwrap_or_else(|error| panic!("{error:#}\n{}", host.journal()));
    for target in ["root: good", "pager: good", "chat: good"] {
        assert!(tested.stdout.contains(target), "{tested}");
    }

    // Each target's own messages, which begin with the test.
    let (piped, mailed, posted) = (
        || hooked(&host).iter().map(|told| told["title"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>(),
        || postfix.mails().unwrap_or_default().iter().map(|mail| subject(mail)).collect::<Vec<_>>(),
        || {
            receiver
                .received()
                .iter()
                .map(|it| it.body["title"].as_str().unwrap_or_default().to_owned())
                .collect::<Vec<_>>()
        },
    );
    let all: [(&str, &dyn Fn() -> Vec<String>); 3] =
        [("the hook", &piped), ("mail", &mailed), ("the webhook", &posted)];
    let told = |words: &str| {
        for (target, titles) in all {
            let told = wait::until(&format!("{target}: {words}"), PATIENCE, || {
                let titles = titles();
                if titles.iter().any(|title| title.ends_with(words)) { Ok(()) } else { Err(format!("{titles:?}")) }
            });
            told.unwrap_or_else(|error| panic!("{error:#}\n{}", host.journal()));
        }
    };
    told(": test message");
    host.write("/etc/pinion/certificate-manifest.json", 0o644, b"{ \"version\": 1,\n").expect("written");
    told(": manifest: blocked");
    told(": still manifest: blocked");
    host.write_manifest(&nothing).expect("written");
    told(": all clear: manifest");
    host.wait_status("no target to be in trouble", PATIENCE, |status| status.troubles.is_empty().then_some(()))
        .expect("well");

    let can = fs::read_to_string(host.path("/var/lib/pinion/hook.can")).expect("the hook has noted it");
    // `ls` has its three standard files and the directory open, and nothing of the controller's.
    let expected = "pinion\nwrites /var/lib/pinion\nwrites /run/pinion\nwrites /tmp\nCapEff:\t0000000000000000\nNoNewPrivs:\t1\n\
                    connects\n4\n";
    assert_eq!(can, expected);
    let states: Vec<_> =
        hooked(&host).iter().map(|told| told["state"].as_str().unwrap_or_default().to_owned()).collect();
    assert_eq!((states.first().map(String::as_str), states.last().map(String::as_str)), (Some("test"), Some("clear")));
    assert!(!host.journal().contains("SIGSYS"), "{}", host.journal());
}

/// What the hook was given at its standard input.
fn hooked(host: &Booted) -> Vec<Value> {
    let told = fs::read_to_string(host.path("/var/lib/pinion/hook.told")).unwrap_or_default();
    let documents = told.lines().filter_map(|line| serde_json::Deserializer::from_str(line).into_iter().next()?.ok());
    documents.collect()
}

/// A mail's subject, in one line (RFC 5322 section 2.2.3).
fn subject(mail: &str) -> String {
    let (_, subject) = mail.split_once("\nSubject: ").unwrap_or_default();
    let folded = subject.lines().skip(1).take_while(|line| line.starts_with(' '));
    subject.lines().take(1).chain(folded).collect()
}

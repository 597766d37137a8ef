//! What each verb does to a guest, through both tools alike.

use std::fs;

use super::{
    hypervisor::{Hypervisor, token},
    package::{elf, package_in},
};
use crate::{
    channel::protocol::{Architecture, Cause, FoundAgent, Init, Removed, Target},
    inventory::GuestKind::{Lxc, Qemu},
};

const AGENT: &str = "usr/bin/pinion-agent";

fn agent(hypervisor: &Hypervisor, guest: Target) -> Vec<u8> {
    fs::read(hypervisor.path(guest, AGENT)).expect("an agent")
}

#[tokio::test]
async fn from_nothing_to_joined() {
    let hypervisor = Hypervisor::new();
    for (number, kind, machine, expected, elf_number) in
        [(101, Lxc, "x86_64\n", Architecture::Amd64, 62), (1001, Qemu, "aarch64\n", Architecture::Arm64, 183)]
    {
        let guest = hypervisor.add(number, kind, machine);
        let client = &hypervisor.client;
        let looked = client.look(guest).await.expect("it is reached");
        assert_eq!((looked.architecture, looked.init, looked.agent), (expected, Init::Systemd, None));

        client.install(guest).await.expect("installed");
        assert_eq!(agent(&hypervisor, guest), elf(elf_number, "1.0"));
        assert_eq!(hypervisor.read(guest, "etc/systemd/system/pinion-agent.service"), "# pinion-agent.service 1.0\n");
        assert_eq!(hypervisor.read(guest, "etc/pinion/agent.toml"), "# agent.toml 1.0\n");
        assert_eq!(hypervisor.names(guest, "usr/bin"), ["pinion-agent"]);
        let found = client.look(guest).await.expect("it is reached").agent;
        let version = "1.0".to_owned();
        assert_eq!(found, Some(FoundAgent { version: version.clone(), joined: false, running: true, expires: None }));

        let token = token(number);
        client.join(guest, token.clone()).await.expect("joined");
        assert_eq!(hypervisor.read(guest, "token"), token.reveal());
        let found = client.look(guest).await.expect("it is reached").agent;
        assert_eq!(found, Some(FoundAgent { version, joined: true, running: true, expires: None }));
    }
}

#[tokio::test]
async fn a_newer_agent_replaces_an_older_one_which_can_be_put_back() {
    let hypervisor = Hypervisor::new();
    for (number, kind) in [(101, Lxc), (1001, Qemu)] {
        package_in(hypervisor.root(), "1.0");
        let guest = hypervisor.add(number, kind, "x86_64\n");
        let client = &hypervisor.client;
        client.restore(guest).await.expect_err("there is none");
        client.install(guest).await.expect("installed");
        hypervisor.write(guest, "etc/pinion/agent.toml", "# the guest's own word\n");
        // More than one piece.
        let newer = "2".repeat(2 * 1024 * 1024);
        package_in(hypervisor.root(), &newer);
        for _ in 0..2 {
            client.install(guest).await.expect("installed, however often");
            assert_eq!(agent(&hypervisor, guest), elf(62, &newer));
            assert_eq!(hypervisor.names(guest, "usr/bin"), ["pinion-agent", "pinion-agent.previous"]);
            assert_eq!(hypervisor.read(guest, "running"), hypervisor.read(guest, AGENT));
        }
        assert_eq!(hypervisor.read(guest, "etc/pinion/agent.toml"), "# the guest's own word\n");
        for _ in 0..2 {
            client.restore(guest).await.expect("put back, however often");
            assert_eq!(agent(&hypervisor, guest), elf(62, "1.0"));
            assert_eq!(hypervisor.read(guest, "running"), hypervisor.read(guest, AGENT));
        }
        // And once more the newer one: the older is kept still.
        client.install(guest).await.expect("installed");
        client.restore(guest).await.expect("put back");
        assert_eq!(agent(&hypervisor, guest), elf(62, "1.0"));
        // One that was there before this process is not put back, although its file is there, and nothing new comes in.
        let old = hypervisor.add(number + 1, kind, "x86_64\n");
        client.install(old).await.expect("installed");
        hypervisor.write(old, "usr/bin/pinion-agent.previous", "an old one");
        client.install(old).await.expect("nothing is new");
        let refused = client.restore(old).await.expect_err("it was not replaced");
        assert!(refused.cause == Cause::Refused && refused.text.contains("30 minutes"), "{refused}");
        assert_eq!(agent(&hypervisor, old), elf(62, &newer));
    }
}

/// What is in a guest of a certificate in the layout `symlink`, and of its agent's state.
fn served(hypervisor: &Hypervisor, guest: Target) {
    for directory in ["etc/nginx/ssl/.pinion/web/3", "var/lib/pinion-agent/placements"] {
        fs::create_dir_all(hypervisor.path(guest, directory)).expect("made");
    }
    hypervisor.write(guest, "etc/nginx/ssl/.pinion/web/3/web.key", "a key");
    std::os::unix::fs::symlink("3", hypervisor.path(guest, "etc/nginx/ssl/.pinion/web/current")).expect("a link");
    let link = hypervisor.path(guest, "etc/nginx/ssl/web.key");
    std::os::unix::fs::symlink(".pinion/web/current/web.key", link).expect("a link");
    for name in
        ["identity.json", ".identity.json.pinion-new", "links", "lock", "controllers.json", "placements/web.json"]
    {
        hypervisor.write(guest, &format!("var/lib/pinion-agent/{name}"), "the agent's");
    }
}

#[tokio::test]
async fn the_agent_leaves_a_guest_and_the_services_files_stay() {
    let hypervisor = Hypervisor::new();
    for (number, kind) in [(101, Lxc), (1001, Qemu)] {
        let guest = hypervisor.add(number, kind, "x86_64\n");
        let client = &hypervisor.client;
        assert_eq!(client.remove(guest).await.expect("nothing to do"), Removed::default());
        client.install(guest).await.expect("installed");
        client.install(guest).await.expect("installed");
        hypervisor.write(guest, "usr/bin/pinion-agent.previous", "an old one");
        hypervisor.write(guest, "usr/bin/pinion-agent.pinion-new", "half of one");
        served(&hypervisor, guest);

        assert_eq!(client.remove(guest).await.expect("removed"), Removed { was_there: true, kept: Vec::new() });
        for gone in ["etc/pinion", "var/lib/pinion-agent", "running"] {
            assert!(!hypervisor.path(guest, gone).exists(), "{gone}");
        }
        assert!(
            hypervisor.names(guest, "usr/bin").is_empty() && hypervisor.names(guest, "etc/systemd/system").is_empty()
        );
        assert_eq!(hypervisor.read(guest, "etc/nginx/ssl/web.key"), "a key", "nginx reads it as before");
        let services = hypervisor.read(guest, "services");
        assert!(
            services.ends_with(
                "disable --now pinion-agent.service\nsystemctl daemon-reload\nsystemctl reset-failed \
            pinion-agent.service\n"
            ),
            "{services}"
        );
        assert_eq!(client.remove(guest).await.expect("repeated"), Removed::default());
        assert_eq!(client.restore(guest).await.expect_err("there is none").cause, Cause::Refused);
        client.install(guest).await.expect("and it may come again");
    }
}

#[tokio::test]
async fn what_a_person_wrote_and_what_was_there_before_stays() {
    let hypervisor = Hypervisor::new();
    for (number, kind) in [(101, Lxc), (1001, Qemu)] {
        let guest = hypervisor.add(number, kind, "x86_64\n");
        hypervisor.client.install(guest).await.expect("installed");
        served(&hypervisor, guest);
        hypervisor.write(guest, "etc/pinion/agent.toml", "# the guest's own word\n");
        fs::create_dir_all(hypervisor.path(guest, "var/lib/pinion-agent/replaced/1")).expect("made");
        hypervisor.write(guest, "var/lib/pinion-agent/replaced/1/web.key", "from before");
        let kept = vec!["/var/lib/pinion-agent/replaced".to_owned(), "/etc/pinion/agent.toml".to_owned()];
        let removed = hypervisor.client.remove(guest).await.expect("removed");
        assert_eq!(removed, Removed { was_there: true, kept: kept.clone() });
        assert_eq!(hypervisor.names(guest, "var/lib/pinion-agent"), ["replaced"]);
        assert_eq!(hypervisor.read(guest, "var/lib/pinion-agent/replaced/1/web.key"), "from before");
        let again = hypervisor.client.remove(guest).await.expect("repeated");
        assert_eq!(again, Removed { was_there: false, kept });
    }
}

#[tokio::test]
async fn a_removal_that_breaks_off_is_finished_by_the_next() {
    let hypervisor = Hypervisor::new();
    for (number, kind) in [(101, Lxc), (1001, Qemu)] {
        let guest = hypervisor.add(number, kind, "x86_64\n");
        let client = &hypervisor.client;
        // The first, second and third use of `rm`.
        for uses in 1..=3 {
            client.install(guest).await.expect("installed");
            served_again(&hypervisor, guest);
            hypervisor.write(guest, "breaks-at", &uses.to_string());
            hypervisor.write(guest, "breaks", "rm");
            let failure = client.remove(guest).await.expect_err("it breaks off");
            assert!(failure.text.contains("Input/output error"), "{uses}: {failure}");
            assert!(!hypervisor.path(guest, "running").exists(), "{uses}: it was stopped first");
            let removed = client.remove(guest).await.expect("finished");
            assert!(removed.kept.is_empty(), "{uses}: {removed:?}");
            assert!(!hypervisor.path(guest, "var/lib/pinion-agent").exists(), "{uses}");
            assert!(hypervisor.names(guest, "usr/bin").is_empty(), "{uses}");
        }
        assert_eq!(hypervisor.read(guest, "etc/nginx/ssl/web.key"), "a key");
    }
}

fn served_again(hypervisor: &Hypervisor, guest: Target) {
    drop(fs::remove_dir_all(hypervisor.path(guest, "etc/nginx")));
    served(hypervisor, guest);
}

#[tokio::test]
async fn an_agent_that_a_package_brought_is_left_to_the_package() {
    let hypervisor = Hypervisor::new();
    let guest = hypervisor.add(101, Lxc, "x86_64\n");
    hypervisor.client.install(guest).await.expect("installed");
    fs::create_dir_all(hypervisor.path(guest, "var/lib/dpkg/info")).expect("made");
    hypervisor.write(guest, "var/lib/dpkg/info/pinion-agent.list", "/usr/bin/pinion-agent\n");
    let failure = hypervisor.client.remove(guest).await.expect_err("it is dpkg's");
    assert!(failure.cause == Cause::Packaged && failure.cause.remedy().contains("apt purge"), "{failure}");
    assert!(hypervisor.path(guest, "running").exists() && hypervisor.path(guest, AGENT).exists(), "nothing was done");
}

#[tokio::test]
async fn an_agent_without_systemd_is_stopped_by_what_started_it() {
    let hypervisor = Hypervisor::new();
    for (number, is_openrc, services) in [
        (101, false, "/etc/pinion/start-agent\n/etc/pinion/start-agent stop\n"),
        (
            102,
            true,
            "rc-update add pinion-agent default\nrc-service pinion-agent restart\nrc-service pinion-agent stop\nrc-update \
             del pinion-agent default\n",
        ),
    ] {
        let guest = hypervisor.add(number, Lxc, "x86_64\n");
        fs::remove_dir(hypervisor.path(guest, "run/systemd/system")).expect("removed");
        if is_openrc {
            hypervisor.write(guest, "sbin/openrc-run", "");
        }
        hypervisor.client.install(guest).await.expect("installed");
        // The script of an earlier version starts the agent, even if it is called with `stop`.
        if !is_openrc {
            hypervisor.write(guest, "etc/pinion/start-agent", "# an earlier version's");
        }
        assert!(hypervisor.client.remove(guest).await.expect("removed").was_there);
        assert_eq!(hypervisor.read(guest, "services"), services);
        assert!(!hypervisor.path(guest, "running").exists() && !hypervisor.path(guest, "etc/pinion").exists());
        assert!(hypervisor.names(guest, "etc/init.d").is_empty());
    }
}

#[tokio::test]
async fn an_install_that_breaks_off_leaves_the_old_agent_and_can_be_repeated() {
    let hypervisor = Hypervisor::new();
    for (number, kind) in [(101, Lxc), (1001, Qemu)] {
        let guest = hypervisor.add(number, kind, "x86_64\n");
        let client = &hypervisor.client;
        package_in(hypervisor.root(), "1.0");
        client.install(guest).await.expect("installed");
        package_in(hypervisor.root(), "2.0");
        for step in ["rm", "cp", "mv", "dd", "chmod"] {
            hypervisor.write(guest, "breaks", step);
            let failure = client.install(guest).await.expect_err(step);
            assert!(
                failure.cause == Cause::Refused && failure.text.contains("Input/output error"),
                "{step}: {failure}"
            );
            let running = hypervisor.read(guest, "running");
            assert!(running.ends_with("1.0") && hypervisor.read(guest, AGENT).ends_with("1.0"), "{step}");
        }
        client.install(guest).await.expect("repeated");
        assert_eq!(agent(&hypervisor, guest), elf(62, "2.0"));
        assert_eq!(hypervisor.names(guest, "usr/bin"), ["pinion-agent", "pinion-agent.previous"]);
        assert!(hypervisor.read(guest, "usr/bin/pinion-agent.previous").ends_with("1.0"));
    }
}

#[tokio::test]
async fn a_full_disk_is_told_and_costs_nothing() {
    let hypervisor = Hypervisor::new();
    for (number, kind) in [(101, Lxc), (1001, Qemu)] {
        package_in(hypervisor.root(), "1.0");
        let guest = hypervisor.add(number, kind, "x86_64\n");
        hypervisor.client.install(guest).await.expect("installed");
        package_in(hypervisor.root(), "2.0");
        hypervisor.write(guest, "full", "");
        let failure = hypervisor.client.install(guest).await.expect_err("the disk is full");
        // The reason is the guest's own word.
        let told = failure.text.contains("No space left on device") && failure.text.contains("not changed");
        assert!(failure.cause == Cause::NoSpace && told, "{failure}");
        assert_eq!(agent(&hypervisor, guest), elf(62, "1.0"));
        assert_eq!(hypervisor.names(guest, "usr/bin"), ["pinion-agent"]);
    }
}

#[tokio::test]
async fn a_container_is_reached_by_one_verb_of_pct() {
    let hypervisor = Hypervisor::new();
    let guest = hypervisor.add(101, Lxc, "x86_64\n");
    package_in(hypervisor.root(), &"2".repeat(2 * 1024 * 1024));
    hypervisor.client.install(guest).await.expect("installed");
    let calls = hypervisor.calls();
    assert!(calls.iter().all(|call| call.starts_with("pct exec 101 -- ")), "{calls:?}");
    let written = calls.iter().filter(|call| call.contains(" dd of=")).count();
    assert_eq!(written, 3, "each file by one call: {calls:?}");
}

#[tokio::test]
async fn a_container_of_an_application_alone_is_told_to_be_one() {
    let hypervisor = Hypervisor::new();
    let guest = hypervisor.add(101, Lxc, "x86_64\n");
    let conf = hypervisor.root().join("etc/pve/nodes/pve1/lxc/101.conf");
    fs::create_dir_all(conf.parent().expect("a directory")).expect("made");
    fs::write(conf, "arch: arm64\nhostname: app\n").expect("written");
    hypervisor.list(&[(101, ("pve1", "lxc"))].into());
    hypervisor.known(|listing| listing.guests.is_some()).await;
    // The processor is known without it.
    hypervisor.write(guest, "lacks", "uname\n");
    assert_eq!(hypervisor.client.look(guest).await.expect("looked into").architecture, Architecture::Arm64);
    for lacks in ["ls\n", "sha256sum\n", "dd\n", "all\n"] {
        hypervisor.write(guest, "lacks", &format!("uname\n{lacks}"));
        let failure = hypervisor.client.install(guest).await.expect_err("nothing can be brought in");
        assert!(failure.cause == Cause::NoTools && failure.text.contains("container 101"), "{failure:?}");
        assert!(failure.cause.remedy().contains("image") && !failure.cause.passes(), "{failure:?}");
    }
    hypervisor.write(guest, "lacks", "nothing\n");
    hypervisor.client.install(guest).await.expect("installed");
    assert_eq!(agent(&hypervisor, guest), elf(62, "1.0"), "the kernel's word goes first");
    // A machine whose configuration does not name the processor.
    let vm = hypervisor.add(1001, Qemu, "x86_64\n");
    hypervisor.write(vm, "lacks", "uname\n");
    let failure = hypervisor.client.look(vm).await.expect_err("nobody knows");
    assert!(failure.cause == Cause::NoTools && failure.text.contains("`uname`"), "{failure:?}");
}

#[tokio::test]
async fn a_start_of_a_guest_is_told_as_its_agent_tells_it() {
    let hypervisor = Hypervisor::new();
    let kernel = "7f2c1d3e-0b5f-4a6b-9c8d-0123456789ab";
    for (number, kind) in [(101, Lxc), (1001, Qemu)] {
        let guest = hypervisor.add(number, kind, "x86_64\n");
        let stat = "1 (init) S 0 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 7100 1 2\n";
        hypervisor.write(guest, "boot", &format!("{kernel}\n{stat}"));
        assert_eq!(hypervisor.client.boot(guest).await.expect("it says"), format!("{kernel}/7100"));
        hypervisor.write(guest, "boot", "hello\n");
        assert_eq!(hypervisor.client.boot(guest).await.expect_err("nonsense").cause, Cause::Unexpected);
        hypervisor.write(guest, "mood", "stopped");
        assert_eq!(hypervisor.client.boot(guest).await.expect_err("it is off").cause, Cause::NotRunning);
    }
}

#[tokio::test]
async fn guests_without_systemd_get_what_starts_services_there() {
    let hypervisor = Hypervisor::new();
    let guest = hypervisor.add(101, Lxc, "x86_64\n");
    fs::remove_dir(hypervisor.path(guest, "run/systemd/system")).expect("removed");
    hypervisor.client.install(guest).await.expect("installed");
    assert_eq!(hypervisor.client.look(guest).await.expect("it is reached").init, Init::Other);
    assert_eq!(hypervisor.read(guest, "services"), "/etc/pinion/start-agent\n");
    assert_eq!(hypervisor.read(guest, "etc/pinion/start-agent"), "# start-agent 1.0\n");

    let alpine = hypervisor.add(102, Lxc, "x86_64\n");
    fs::remove_dir(hypervisor.path(alpine, "run/systemd/system")).expect("removed");
    hypervisor.write(alpine, "sbin/openrc-run", "");
    hypervisor.client.install(alpine).await.expect("installed");
    assert_eq!(hypervisor.client.look(alpine).await.expect("it is reached").init, Init::OpenRc);
    let services = "rc-update add pinion-agent default\nrc-service pinion-agent restart\n";
    assert_eq!(hypervisor.read(alpine, "services"), services);
    assert_eq!(hypervisor.read(alpine, "etc/init.d/pinion-agent"), "# pinion-agent.openrc 1.0\n");
}

#[tokio::test]
async fn a_processor_without_an_agent_is_told_before_anything_is_brought_in() {
    let hypervisor = Hypervisor::new();
    let guest = hypervisor.add(1001, Qemu, "riscv64\n");
    let failure = hypervisor.client.install(guest).await.expect_err("nothing is packaged");
    assert!(failure.cause == Cause::Unpackaged && failure.text.contains("`riscv64`"), "{failure}");
    let arm = hypervisor.add(1002, Qemu, "aarch64\n");
    let path = hypervisor.root().join("usr/lib/pinion/agent/arm64/pinion-agent");
    fs::write(path, elf(62, "1.0")).expect("written");
    let failure = hypervisor.client.install(arm).await.expect_err("it is the other's");
    assert!(failure.cause == Cause::Unpackaged && failure.text.contains("wrong architecture"), "{failure}");
    assert!(hypervisor.names(arm, "usr/bin").is_empty() && !hypervisor.path(arm, "etc/pinion").exists());
}

#[tokio::test]
async fn a_join_says_why_it_failed_and_never_what_it_was_given() {
    let hypervisor = Hypervisor::new();
    for (number, kind) in [(101, Lxc), (1001, Qemu)] {
        let guest = hypervisor.add(number, kind, "x86_64\n");
        let failure = hypervisor.client.join(guest, token(number)).await.expect_err("there is no agent");
        assert!(failure.text.contains("install it first"), "{failure}");
        hypervisor.client.install(guest).await.expect("installed");
        for (code, cause) in [("4", Cause::Refused), ("5", Cause::NoWayBack), ("1", Cause::Refused)] {
            hypervisor.write(guest, "refuses", code);
            let token = token(number);
            let failure = hypervisor.client.join(guest, token.clone()).await.expect_err("it refuses");
            assert!(failure.cause == cause && failure.text.contains("I do not like"), "{failure}");
            let text = token.reveal();
            for at in (0..text.len() - 24).step_by(8) {
                assert!(!failure.text.contains(&text[at..at + 24]), "{failure}");
            }
        }
    }
}

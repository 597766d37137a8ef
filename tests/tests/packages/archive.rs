//! The agent's archive, in guests with systemd, with OpenRC and with neither: installed, upgraded, removed.

use std::fs;

use pinion_tests::{
    lab::{Init, Lab, Role, Spec},
    program, steps,
    wait::{self, PATIENCE},
};

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The agents that run in a guest: their process ids.
fn agents(lab: &Lab, vmid: u32) -> Vec<String> {
    let told = lab.exec(vmid, &["sh", "-c", "grep -lx pinion-agent /proc/[0-9]*/comm"]).expect("it runs").stdout;
    told.lines().map(|path| path.split('/').nth(2).unwrap_or_default().to_owned()).collect()
}

/// Waits until one agent runs there, which is none of these, and answers on its socket.
fn one_answers(lab: &Lab, vmid: u32, before: &[String]) -> Vec<String> {
    wait::until("one new agent to answer", PATIENCE, || {
        let running = agents(lab, vmid);
        let told = lab.exec(vmid, &["pinion-agent", "status"]).map_err(|error| format!("{error:#}"))?;
        let is_new = running.len() == 1 && running.iter().all(|agent| !before.contains(agent));
        // 5: there is no daemon to ask.
        if is_new && told.code() != 5 { Ok(running) } else { Err(format!("{running:?}, {told}")) }
    })
    .unwrap_or_else(|error| panic!("guest {vmid}: {error:#}"))
}

#[test]
fn the_archive_installs_upgrades_and_removes_the_agent_whatever_starts_services() {
    let lab = Lab::up(vec![
        Spec::container(106, "systemd", Role::Gateway),
        Spec::without_systemd(104, "openrc", Init::OpenRc),
        Spec::without_systemd(105, "script", Init::Script),
    ])
    .expect("the lab comes up");
    let name = format!("pinion-agent-{VERSION}-linux-amd64");
    let archive = program::packages(VERSION).expect("built").join(format!("{name}.tar.gz"));
    let archive = fs::read(archive).expect("the archive");
    for (vmid, init) in [(106, "systemd"), (104, "openrc"), (105, "neither")] {
        lab.write(vmid, &format!("/root/{name}.tar.gz"), 0o644, &archive).expect("copied");
        let install =
            |option: &str| lab.sh(vmid, &format!("cd /root/{name} && ./install {option}")).expect("it succeeds");
        // As the document has it; its first command is for the package.
        let typed = steps::commands("guest-by-hand.md", "1. Install the agent").expect("commands");
        let told = lab.sh(vmid, &format!("cd /root && {}", typed[1..].join(" && "))).expect("installed");
        assert!(told.contains(&format!("is installed and runs ({init})")), "{told}");
        assert!(told.contains("has not joined: on the host run `pinion token create --guest ID`"), "{told}");
        let first = one_answers(&lab, vmid, &[]);
        lab.sh(vmid, "echo '[allow]' >/etc/pinion/agent.toml").expect("written");
        install("");
        one_answers(&lab, vmid, &first);
        assert_eq!(
            lab.sh(vmid, "cat /etc/pinion/agent.toml").expect("read"),
            "[allow]\n",
            "the guest's own word stays"
        );
        let typed = steps::commands("uninstall.md", "One guest").expect("commands");
        let remove = typed.last().and_then(|line| line.split("  #").next()).expect("a command");
        let told = lab.sh(vmid, &format!("cd /root/{name} && {remove}")).expect("removed");
        assert!(told.contains("removed. /var/lib/pinion-agent and /etc/pinion stay"), "{told}");
        wait::until("no agent to run", PATIENCE, || {
            let running = agents(&lab, vmid);
            if running.is_empty() { Ok(()) } else { Err(format!("{running:?}")) }
        })
        .expect("ended");
        assert_eq!(left(&lab, vmid), "/var/lib/pinion-agent\n", "guest {vmid}");
        let refused = lab.exec(vmid, &[&format!("/root/{name}/install"), "--frobnicate"]).expect("it runs");
        assert!(refused.code() == 2 && refused.stderr.contains("unknown option"), "{refused}");
    }

    // And without the script, where systemd starts services.
    lab.sh(106, &format!("cd /root/{name} && ./install")).expect("installed");
    for line in steps::commands("proxmox.md", "The way out").expect("commands").iter().take(2) {
        lab.sh(106, line).unwrap_or_else(|error| panic!("{line}: {error:#}"));
    }
    assert_eq!(left(&lab, 106), "", "guest 106");
}

/// What is left of the agent in a guest.
fn left(lab: &Lab, vmid: u32) -> String {
    let line =
        "find / -xdev -name '*pinion-agent*' -not -path '/root/*' -not -path '/run/*' -not -path '/proc/*' | sort";
    lab.sh(vmid, line).expect("found")
}

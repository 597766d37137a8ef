//! A guest that is without power for a hundred days: its identity and its certificates have expired, and it is back by
//! itself, through the hypervisor.
//!
//! The root process and the agent's own commands are the real programs, by the machine's clock; controller and agent go
//! by a clock that begins a hundred days ago. Proxmox's tools are a script, the guest a directory.

use std::{
    cell::RefCell,
    fs,
    os::{
        linux::net::SocketAddrExt,
        unix::{
            fs::PermissionsExt,
            net::{SocketAddr, UnixListener},
        },
    },
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use pinion_controller::events::Kind;
use pinion_proto::{
    bundle::Chain,
    clock::{Clock, Timestamp},
};
use pinion_tests::{
    guest::Guest,
    host::Host,
    process::Process,
    program,
    wait::{PATIENCE, until_async},
};
use rustix::process::geteuid;

use super::one_process::{DAY, Lab, certificate};

/// The clock stays behind the machine's own, however long the test goes on.
const BEHIND: Duration = Duration::from_secs(600);

/// What `pct` is: guest 1001 is a directory.
const SCRIPT: &str = r#"#!/bin/sh
guest=GUEST
shift 3
case $1 in
uname) echo x86_64 ;;
ls)
	shift 2
	code=0
	for path; do
		if [ -e "$guest$path" ]; then echo "$path"; else echo "ls: $path: No such file or directory" >&2; code=2; fi
	done
	exit $code ;;
/usr/bin/pinion-agent)
	shift
	exec AGENT --root "$guest" "$@" ;;
*) exit 1 ;;
esac
"#;

/// What the host sees of a container that runs: LXC listens for it.
#[derive(Default)]
struct Power(Option<UnixListener>);

impl Power {
    fn set(&mut self, host: &Path, on: bool) {
        let name = format!("{}/var/lib/lxc/1001/command", host.display());
        let address = SocketAddr::from_abstract_name(name).expect("an address");
        self.0 = on.then(|| UnixListener::bind_addr(&address).expect("bound"));
    }
}

/// A Proxmox host with this guest, and its root process.
fn proxmox(host: &Host, guest: &Guest) -> Process {
    let tools = host.root().join("tools");
    let nodes = host.root().join("etc/pve/nodes/pve1/lxc");
    for directory in [&tools, &nodes, &guest.root().join("usr/bin"), &guest.root().join("run/systemd/system")] {
        fs::create_dir_all(directory).expect("made");
    }
    let agent = program::own("pinion-agent").expect("built");
    let script =
        SCRIPT.replace("GUEST", &guest.root().display().to_string()).replace("AGENT", &agent.display().to_string());
    fs::write(tools.join("pct"), &script).expect("written");
    fs::set_permissions(tools.join("pct"), fs::Permissions::from_mode(0o755)).expect("executable");
    fs::write(guest.root().join("usr/bin/pinion-agent"), "").expect("written");
    fs::write(nodes.join("1001.conf"), "arch: amd64\nhostname: web\nostype: debian\n").expect("written");
    let list = r#"{"version": 1, "ids": {"1001": {"node": "pve1", "type": "lxc", "version": 1}}}"#;
    fs::write(host.root().join("etc/pve/.vmlist"), list).expect("written");
    let more = format!(
        "\n[proxmox]\nnode = \"pve1\"\n[channel]\nuser = \"{}\"\ntools = \"{}\"\n\
         # It knows no clock but the machine's.\nidentity_root = false\n",
        geteuid().as_raw(),
        tools.display()
    );
    host.configure(&more).expect("written");
    host.start_channel().expect("it listens")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_links_again_after_a_hundred_days_and_its_certificate_is_renewed_first() {
    let today = Timestamp::from(SystemTime::now()) - BEHIND;
    let (mut channel, mut power, mut root) = (None, Power::default(), PathBuf::new());
    let mut lab = Lab::start_at(today - 100 * DAY, &[certificate("web", "30d", "always")], |host, guest| {
        root = host.root().to_owned();
        power.set(&root, true);
        channel = Some(proxmox(host, guest));
    })
    .await;
    let before = lab.key("web");
    power.set(&root, false);
    lab.power_off().await;
    lab.clock.set(today);
    // The controller's own identity had expired too.
    lab.join_another("1002").await;

    power.set(&root, true);
    lab.power_on().await;
    let mut command = lab.guest().command(&["await", "web", "--until", "installed", "--timeout", "2m"]).expect("built");
    let log = lab.guest().root().join("var/log/await.log");
    let dependent = Process::spawn("pinion-agent await", &mut command, &log).expect("it starts");
    let dependent = RefCell::new(dependent);
    until_async("the guest to be back", 4 * PATIENCE, async || {
        // Time goes on.
        lab.clock.advance(Duration::from_secs(1));
        let told = !dependent.borrow_mut().is_running();
        let path = lab.guest().root().join("etc/ssl/web.crt");
        let pem = fs::read_to_string(path).map_err(|error| error.to_string())?;
        let chain = Chain::from_pem(&pem).map_err(|error| error.to_string())?;
        let fresh = chain.leaf().not_after() > lab.clock.now();
        assert!(
            fresh || !told,
            "whoever waits is told of a certificate that has expired: {}",
            dependent.borrow().log()
        );
        let status = lab.status().await;
        let linked = status.guests.iter().any(|guest| guest.guest.to_string() == "1001" && guest.linked);
        if fresh && told && linked { Ok(()) } else { Err(format!("{status:?} {}", dependent.borrow().log())) }
    })
    .await
    .expect("it is back");
    let mut dependent = dependent.into_inner();
    assert!(dependent.wait_end(PATIENCE).expect("it has ended").success(), "{}", dependent.log());
    assert_ne!(lab.key("web"), before, "a key of its own");
    assert_eq!(lab.identities(), 2, "it joined once more");
    let joined: Vec<_> =
        lab.events(Kind::Joined).await.into_iter().filter(|event| event.text.contains("1001")).collect();
    assert_eq!(joined.len(), 2, "{joined:?}");
    assert_eq!(lab.events(Kind::Issued).await.len(), 2, "one certificate, once");
    assert_eq!(lab.events(Kind::RolledBack).await, [], "and nobody takes it for another");
    lab.stop().await;
}

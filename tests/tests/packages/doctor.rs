//! `pinion doctor` on a host that boots, with guests beside it: it has nothing to say of a healthy system, and for each fault
//! it says what to type, which mends the fault.
//!
//! The system is the tutorial's at its end. Stand-ins are `timedatectl` and `chrony.service`, because the clock is the whole
//! machine's, and a package with the lab's `pct` for Proxmox's.

use pinion_tests::{
    lab::booted::Booted,
    process::Finished,
    wait::{self, PATIENCE},
};
use serde::Deserialize;

/// The guest with nginx.
const GUEST: u32 = 101;

/// What was looked at, and how it is.
#[derive(Debug, Clone, Deserialize)]
struct Finding {
    area: String,
    level: String,
    message: String,
    remedy: Option<String>,
}

/// A person with a terminal on the host.
#[derive(Clone, Copy)]
struct Person<'h>(&'h Booted);

/// Everything, on one system.
pub(crate) fn story(host: &Booted) {
    let person = Person(host);
    person.clock();
    person.units();
    person.files();
    person.disks();
    person.proxmox();
    person.network();
    person.authority();
    person.guest();
}

impl Person<'_> {
    /// What the doctor finds, and its exit code.
    fn look(self) -> (Vec<Finding>, i32) {
        #[derive(Deserialize)]
        struct Report {
            findings: Vec<Finding>,
        }
        let told = self.0.run(&["pinion", "doctor", "--json"]).expect("it runs");
        let report: Report = serde_json::from_str(&told.stdout).unwrap_or_else(|error| panic!("{error}: {told}"));
        (report.findings, told.code())
    }

    /// Waits until all is well, and nothing is said beside, but that an agent has not dialled yet after a restart.
    fn is_well(self, after: &str) {
        let well = wait::until("nothing to be reported", PATIENCE, || {
            let (findings, code) = self.look();
            let dials = |it: &Finding| it.level == "note" && it.message.starts_with("Guest 101 is away for ");
            let said: Vec<_> = findings.into_iter().filter(|it| it.level != "good" && !dials(it)).collect();
            if said.is_empty() && code == 0 { Ok(()) } else { Err(format!("{code} {said:#?}")) }
        });
        well.unwrap_or_else(|error| panic!("{after}: {error:#}\n{}", self.0.journal()));
    }

    /// Waits until this is told.
    fn told(self, level: &str, area: &str, words: &str) -> Finding {
        let told = wait::until(words, PATIENCE, || {
            let (findings, code) = self.look();
            let is_it = |it: &&Finding| it.level == level && it.area == area && it.message.contains(words);
            let found = findings.iter().find(is_it).cloned();
            found.filter(|it| it.level != "problem" || code == 4).ok_or_else(|| format!("{code} {findings:#?}"))
        });
        told.unwrap_or_else(|error| panic!("{error:#}\n{}", self.0.journal()))
    }

    fn problem(self, area: &str, words: &str) -> Finding {
        self.told("problem", area, words)
    }

    /// This is told; what is to be typed is typed, and all is well.
    fn mends(self, area: &str, words: &str) -> Vec<String> {
        let finding = self.problem(area, words);
        let typed = self.types(&finding, |line| self.0.run(&["sh", "-c", line]).expect("it runs"));
        self.is_well(words);
        typed
    }

    /// Types what the finding says to run.
    fn types(self, finding: &Finding, shell: impl Fn(&str) -> Finished) -> Vec<String> {
        let commands = commands(finding.remedy.as_deref().unwrap_or_default());
        assert!(!commands.is_empty(), "nothing to type: {finding:?}");
        for command in &commands {
            let done = shell(command);
            assert_eq!(done.code(), 0, "{finding:?}: {done}\n{}", self.0.journal());
        }
        commands
    }

    fn sh(self, line: &str) -> String {
        self.0.well(&["sh", "-ec", line]).unwrap_or_else(|error| panic!("{line}: {error:#}")).stdout
    }

    fn clock(self) {
        // The real one says what the machine's kernel says.
        let is_so = self.sh("timedatectl show --property=NTPSynchronized --value").trim() == "yes";
        let (level, words) =
            if is_so { ("good", "The clock is synchronised.") } else { ("problem", "The clock is not synchronised.") };
        let real = self.told(level, "clock", words);
        if !is_so {
            assert_eq!(commands(real.remedy.as_deref().expect("what to do")), ["apt install chrony"], "{real:?}");
        }
        let tool = "#!/bin/sh\n[ \"$*\" = \"show --property=NTPSynchronized --value\" ] || exit 1\n\
                    [ -e /run/synchronised ] && echo yes || echo no\n";
        self.0.write("/usr/bin/timedatectl", 0o755, tool.as_bytes()).expect("written");
        let unit = "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/usr/bin/touch /run/synchronised\n\
                    [Install]\nWantedBy=multi-user.target\n";
        self.0.write("/lib/systemd/system/chrony.service", 0o644, unit.as_bytes()).expect("written");
        self.sh("systemctl daemon-reload");
        assert_eq!(self.mends("clock", "not synchronised"), ["systemctl enable --now chrony.service"]);
        // It runs, and no server answers it.
        self.sh("rm /run/synchronised");
        let finding = self.problem("clock", "not synchronised");
        assert!(finding.remedy.is_some_and(|remedy| remedy.starts_with("chrony.service runs; `chronyc sources`")));
        self.sh("touch /run/synchronised");
    }

    fn units(self) {
        self.sh("systemctl stop pinion");
        let silent = self.problem("controller", "nobody listens on /run/pinion/controller.sock any more");
        assert!(silent.remedy.is_some_and(|remedy| remedy.contains("systemctl start pinion")));
        self.mends("programs", "pinion.service does not run: it is inactive");
        self.sh("systemctl disable pinion-channel");
        self.mends("programs", "pinion-channel.service runs, but does not start with this host");
        self.sh("systemctl disable --now pinion");
        assert_eq!(self.mends("programs", "pinion.service does not run")[0], "systemctl enable --now pinion.service");
        self.sh("systemctl mask --now pinion");
        self.mends("programs", "pinion.service is masked");

        // Settings of the host's own: not read, then in force, and worth a note.
        let drop_in = "[Service]\nRestart=no\n";
        self.0
            .write("/etc/systemd/system/pinion-channel.service.d/own.conf", 0o644, drop_in.as_bytes())
            .expect("written");
        let unread = self.problem("programs", "pinion-channel.service was changed on disk");
        self.types(&unread, |line| self.0.run(&["sh", "-c", line]).expect("it runs"));
        let note = self.told("note", "programs", "pinion-channel.service has settings of this host's own");
        assert!(note.message.contains("pinion-channel.service.d/own.conf"), "{note:?}");
        self.sh("systemctl kill --signal=KILL pinion-channel");
        let failed = self.problem("programs", "pinion-channel.service does not run: it is failed");
        self.types(&failed, |line| self.0.run(&["sh", "-c", line]).expect("it runs"));
        self.sh("systemctl revert pinion-channel && systemctl restart pinion-channel");

        // A mistake, with which it is started again and again.
        self.sh("cp /etc/pinion/controller.toml /root && echo 'lisen = 1' >> /etc/pinion/controller.toml");
        self.sh("systemctl restart --no-block pinion");
        self.problem("configuration", "controller.toml:");
        let loops = self.problem("programs", "pinion.service does not run: it is activating (auto-restart)");
        assert!(loops.remedy.is_some_and(|remedy| remedy.contains("why it does not stay up")));
        self.sh("cat /root/controller.toml > /etc/pinion/controller.toml");
        self.is_well("the mistake is corrected");
    }

    fn files(self) {
        for (fault, words) in [
            ("chmod 0755 /var/lib/pinion", "/var/lib/pinion has mode 0755"),
            ("chown root: /var/lib/pinion/shared", "/var/lib/pinion/shared belongs to root, not to pinion"),
            (
                "chown www-data: /var/lib/pinion-channel",
                "/var/lib/pinion-channel belongs to www-data (uid 33), not to root",
            ),
            ("chmod 0777 /run/pinion-channel", "/run/pinion-channel has mode 0777"),
            ("chmod 0666 /etc/pinion/controller.toml", "controller.toml has mode 0666"),
            ("chmod 0666 /run/pinion/controller.sock", "/run/pinion/controller.sock has mode 0666"),
            (
                "chown www-data /run/pinion-channel/channel.sock",
                "channel.sock belongs to www-data (uid 33), not to pinion",
            ),
        ] {
            self.sh(fault);
            self.mends("files", words);
        }
        self.sh("systemctl stop pinion && rm /run/pinion/controller.sock && mkdir /run/pinion/controller.sock");
        self.mends("files", "/run/pinion/controller.sock is no socket");
    }

    fn disks(self) {
        self.sh("mount -t tmpfs -o size=70M,nr_inodes=1100 tmpfs /var/log && head -c 20M /dev/zero > /var/log/much");
        let full = self.problem("disk", "/var/log is on a file system with 50 MiB left.");
        let remedy = full.remedy.expect("what to do");
        let shown = remedy.split('`').nth(1).expect("a command");
        assert!(self.sh(shown).contains("/var/log"), "what takes it is shown by {shown}");
        self.sh("rm /var/log/much && mount -o remount,size=70M,nr_inodes=500 /var/log");
        self.problem("disk", "free inodes");
        self.sh("mount -o remount,size=70M,nr_inodes=0,ro /var/log");
        assert_eq!(
            commands(
                self.problem("disk", "/var/log is on a file system that is mounted read-only")
                    .remedy
                    .as_deref()
                    .unwrap_or_default()
            ),
            ["mount -o remount,rw /var/log"]
        );
        self.mends("disk", "mounted read-only");
        self.sh("umount /var/log");
    }

    fn proxmox(self) {
        self.sh("systemctl stop pve-cluster");
        self.mends("proxmox", "/etc/pve is not as it should be");
        self.sh("systemctl kill --signal=KILL pve-cluster");
        self.mends("proxmox", "Transport endpoint is not connected");

        // A node of two, which is alone.
        let unit = "/etc/systemd/system/pve-cluster.service";
        self.sh(&format!(
            "sed -i.alone 's/--node pve1/--node pve1 --peer pve1=10.0.0.113 --peer pve2=10.0.0.114/' {unit}"
        ));
        self.sh("systemctl daemon-reload && systemctl restart pve-cluster");
        self.told("good", "proxmox", "the cluster has quorum");
        self.sh("pmxcfs lose-quorum /var/lib/pve-cluster");
        let alone = self.problem("proxmox", "The cluster has no quorum: nothing can be written to /etc/pve");
        assert!(alone.remedy.is_some_and(|remedy| remedy.contains("`pvecm status`")));
        self.sh("pmxcfs heal /var/lib/pve-cluster");
        self.is_well("quorum");
        self.sh(&format!("mv {unit}.alone {unit}; systemctl daemon-reload && systemctl restart pve-cluster"));

        self.package();
        self.sh("rm /usr/sbin/pct");
        assert_eq!(self.mends("proxmox", "pct cannot be found"), ["apt install --reinstall pve-container"]);
    }

    /// Has apt know a package with `pct`.
    fn package(self) {
        self.sh(
            "mkdir -p /srv/debs/it/DEBIAN /srv/debs/it/usr/sbin && cd /srv/debs && cp /usr/sbin/pct it/usr/sbin/\n\
             printf 'Package: pve-container\\nVersion: 5\\nArchitecture: all\\nMaintainer: x <x@x.example>\\nDescription: x\\n' \
             > it/DEBIAN/control\n\
             dpkg-deb -Znone --build it pve-container.deb\n\
             { cat it/DEBIAN/control; echo Filename: ./pve-container.deb; echo Size: $(stat -c %s pve-container.deb); \
             echo SHA256: $(sha256sum pve-container.deb | cut -d' ' -f1); } > Packages\n\
             echo 'deb [trusted=yes] file:/srv/debs ./' > /etc/apt/sources.list.d/pve.list\n\
             apt-get -q update -o Dir::Etc::sourcelist=/etc/apt/sources.list.d/pve.list -o Dir::Etc::sourceparts=-",
        );
    }

    /// Somebody else has the port when the controller starts.
    fn network(self) {
        self.sh("systemctl stop pinion");
        let perl = "use IO::Socket::INET; my $it = IO::Socket::INET->new(LocalAddr => '0.0.0.0:7443', Listen => 5, ReuseAddr => 1) \
                    or die; sleep 600";
        self.0.well(&["systemd-run", "--uid=www-data", "--unit=stranger", "perl", "-e", perl]).expect("it starts");
        let listens = || self.0.well(&["sh", "-c", "ss -ltn | grep :7443"]).map_err(|error| format!("{error:#}"));
        wait::until("the stranger to listen", PATIENCE, listens).expect("it listens");
        self.sh("systemctl start --no-block pinion");
        let told = self.problem("network", "listens on 0.0.0.0:7443, where agents expect the controller");
        assert!(told.message.contains(" (perl) of user www-data (uid 33) "), "{told:?}");
        self.mends("network", "listens on 0.0.0.0:7443");
    }

    fn authority(self) {
        let lab = self.0.lab();
        lab.sh(103, "systemctl stop step-ca").expect("stopped");
        let down = self.problem("issuers", "step-ca cannot sign");
        assert!(down.message.contains("10.0.0.103") && down.remedy.is_some(), "{down:?}");
        lab.sh(103, "systemctl start step-ca").expect("started");
        self.is_well("the CA is back");
    }

    /// What the agent sees in its guest, as far as that allows it.
    fn guest(self) {
        let lab = self.0.lab();
        let sh = |line: &str| lab.sh(GUEST, line).unwrap_or_else(|error| panic!("{error:#}"));
        // So that it dials at once.
        sh("systemctl restart pinion-agent");
        let good = self.told("good", "guests", "found nothing wrong in 101");
        assert!(good.message.contains("clocks, disks, files and identities, and the way to this host"), "{good:?}");
        for (fault, words) in [
            ("chmod 0755 /var/lib/pinion-agent", "In guest 101: /var/lib/pinion-agent has mode 0755"),
            ("chmod 0666 /etc/pinion/agent.toml", "In guest 101: /etc/pinion/agent.toml "),
            ("mkdir /etc/pinion/hooks.d && chown www-data /etc/pinion/hooks.d", "In guest 101: /etc/pinion/hooks.d "),
        ] {
            sh(fault);
            let finding = self.problem("guests", words);
            self.types(&finding, |line| lab.exec(GUEST, &["sh", "-c", line]).expect("it runs"));
            self.is_well(words);
        }
        sh("mount -t tmpfs -o size=20M,mode=755 tmpfs /run && head -c 10M /dev/zero > /run/much");
        self.problem("guests", "In guest 101: /run is on a file system with ");
        sh("umount /run");
        // A firewall that lets no new connection through: the link stays.
        sh("nft add table inet t && nft add chain inet t out '{ type filter hook output priority 0; }' && \
            nft add rule inet t out tcp dport 7443 ct state new reject with tcp reset");
        self.problem(
            "guests",
            "In guest 101: The controller's address 10.0.0.113:7443 cannot be reached: connection refused",
        );
        sh("nft delete table inet t");
        self.is_well("the guest's faults are mended");
        sh("sed -i 's/^\\[allow\\]$/[allow]\\ndiscover = true/' /etc/pinion/agent.toml");
        sh(
            "printf '\\n[doctor]\\ndisk = false\\nfiles = false\\n' >> /etc/pinion/agent.toml && systemctl restart pinion-agent",
        );
        sh("chmod 0755 /var/lib/pinion-agent");
        for setting in ["disk", "files"] {
            let words = format!("In 101: /etc/pinion/agent.toml says `{setting} = false` under [doctor].");
            self.told("skipped", "guests", &words);
        }
        let (findings, code) = self.look();
        assert!(code == 0 && findings.iter().all(|it| it.level != "problem"), "{findings:#?}");
        self.discovers();
    }

    /// What listens in the guest, by its own kernel's tables.
    fn discovers(self) {
        let told =
            self.0.well(&["pinion", "discover", "--guest", "101", "--all", "--wide"]).expect("it is told").stdout;
        let row = |place: &str| {
            let row = told.lines().find(|line| line.split_whitespace().nth(1) == Some(place));
            row.unwrap_or_else(|| panic!("{place}: {told}")).split_whitespace().skip(2).collect::<Vec<_>>()
        };
        let [program, _, managed, names, ..] = row("0.0.0.0:443")[..] else { panic!("{told}") };
        assert_eq!((program, managed, names), ("nginx", "gateway", "nginx.internal.example"), "{told}");
        assert_eq!(row("0.0.0.0:8443")[..3], row("0.0.0.0:443")[..3], "{told}");
        let pasted = self.0.well(&["pinion", "discover", "--guest", "101", "--manifest"]).expect("it is told");
        assert!(pasted.stdout.contains("\"certificates\": []"), "all of it is managed: {pasted}");
    }
}

/// What a remedy says to run: the first command after `run`, and those that are joined to it.
fn commands(remedy: &str) -> Vec<String> {
    let mut commands = Vec::new();
    let mut rest = remedy.split_once("run `").map(|(_, rest)| rest);
    while let Some((command, after)) = rest.and_then(|rest| rest.split_once('`')) {
        commands.push(command.to_owned());
        rest = after.strip_prefix(" and `");
    }
    commands
}

#[test]
fn what_to_type_is_taken_from_a_remedy() {
    assert_eq!(commands("run `a b` and `c`; `d` shows why"), ["a b", "c"]);
    assert_eq!(commands("`x` shows it; run `kill 7`, or set another port"), ["kill 7"]);
    assert!(commands("look at `dmesg`").is_empty());
}

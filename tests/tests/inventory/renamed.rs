//! Guests that the manifest means by their names, which are renamed, swapped and made anew.

use std::fs;

use pinion_proto::stage::{Halt, Trouble};
use pinion_tests::{guest::Guest, host::Host, status::StatusJson};
use serde_json::Value;

use crate::proxmox_files::{NODE, Pve, host, wait_status};

/// A host whose manifest means guest 101 by its name, which is what Proxmox lists.
fn named_host() -> (Host, Pve) {
    let mut host = host(&[("web", 101)]);
    let path = host.root().join("etc/pinion/certificate-manifest.json");
    let mut manifest: Value = serde_json::from_str(&fs::read_to_string(path).expect("a manifest")).expect("JSON");
    manifest["certificates"][0]["placements"][0]["guest"] = "gateway".into();
    host.write_manifest(&manifest).expect("written");
    let pve = Pve::for_host(&host);
    host.start_again().expect("the controller starts");
    (host, pve)
}

fn trouble(status: &StatusJson, placement: &str) -> Option<Trouble> {
    status.placement(placement).and_then(|placement| placement.trouble.clone())
}

/// Waits until the placement is held, with this in its cause.
fn wait_held(host: &Host, placement: &str, cause: &str) -> Trouble {
    let held = |status: &StatusJson| {
        trouble(status, placement).is_some_and(|found| found.halt == Halt::Blocked && found.cause.contains(cause))
    };
    trouble(&wait_status(host, cause, held), placement).expect("a trouble")
}

/// Waits until nothing holds the placement up.
fn wait_free(host: &Host, placement: &str) {
    wait_status(host, "no trouble", |status| {
        status.placement(placement).is_some() && trouble(status, placement).is_none()
    });
}

#[test]
fn the_guest_that_takes_a_name_over_gets_no_certificate_before_a_person_says_so() {
    let (mut host, mut pve) = named_host();
    let first = Guest::join(&host, 101).expect("a guest joins");
    host.ensure(&["web"], "installed").expect("installed");
    let before = first.read("/etc/ssl/web.crt").expect("a certificate");

    pve.write(101, NODE, "lxc", "hostname: gateway-old\n");
    let told = wait_held(&host, "web@101", "guest 101 was named gateway until");
    assert!(told.cause.contains("is named gateway-old now") && told.remedy.contains("write 101"), "{told}");
    pve.write(102, NODE, "lxc", "hostname: gateway\n");
    pve.power(102, true);
    let told = wait_held(&host, "web@101", "gateway is guest 102 now");
    assert!(told.remedy.contains("pinion guest accept-name gateway"), "{told}");
    let second = Guest::join(&host, 102).expect("the other guest joins");

    // Neither a renewal that a person asks for nor a restart gives it to the other guest.
    host.restart().expect("the controller starts again");
    let asked =
        host.pinion(&["ensure", "web", "--renew", "--until", "installed", "--timeout", "20s"]).expect("it runs");
    assert_eq!(asked.code(), 4, "{asked}");
    assert!(asked.stderr.contains("gateway is guest 102 now"), "{asked}");
    for command in [&["plan"][..], &["status", "web"], &["show", "web"]] {
        let shown = host.pinion(command).expect("it runs").stdout;
        let shown: Vec<_> = shown.split_whitespace().collect();
        assert!(shown.join(" ").contains("guest 101 was named gateway until"), "{command:?}: {shown:?}");
    }
    assert_eq!(first.read("/etc/ssl/web.crt").expect("a certificate"), before);
    assert!(second.read("/etc/ssl/web.crt").is_err(), "it has none");

    let accepted = host.pinion(&["guest", "accept-name", "gateway"]).expect("it runs");
    accepted.succeeded().expect("accepted");
    host.ensure(&["web"], "installed").expect("installed");
    assert!(second.read("/etc/ssl/web.crt").is_ok(), "it is the one that is meant");
    let status = host.status().expect("it answers");
    assert!(status.placement("web@101").is_some_and(|placement| placement.retired), "{status:?}");
    let unknown = host.pinion(&["guest", "accept-name", "docker"]).expect("it runs");
    assert_eq!(unknown.code(), 6, "the manifest does not name it: {unknown}");
    drop((first, second));
}

#[test]
fn two_guests_that_swap_their_names_keep_their_certificates_until_they_swap_back() {
    let (host, mut pve) = named_host();
    let first = Guest::join(&host, 101).expect("a guest joins");
    host.ensure(&["web"], "installed").expect("installed");
    pve.write(101, NODE, "lxc", "hostname: docker\n");
    pve.write(1001, NODE, "qemu-server", "agent: 1\nname: gateway\n");
    wait_held(&host, "web@101", "is named docker now; gateway is guest 1001 now");
    pve.write(1001, NODE, "qemu-server", "agent: 1\nname: docker\n");
    pve.write(101, NODE, "lxc", "hostname: gateway\n");
    wait_free(&host, "web@101");
    // A clone with the same name takes nothing from it.
    pve.write(120, NODE, "lxc", "hostname: gateway\n");
    wait_status(&host, "the clone", |status| status.guest("101").is_some() && trouble(status, "web@101").is_none());
    let before = first.read("/etc/ssl/web.crt").expect("a certificate");
    let renewed =
        host.pinion(&["ensure", "web", "--renew", "--until", "installed", "--timeout", "60s"]).expect("it runs");
    renewed.succeeded().expect("renewed");
    assert_ne!(first.read("/etc/ssl/web.crt").expect("a certificate"), before);
}

#[test]
fn a_guest_that_is_made_anew_under_another_number_takes_its_predecessors_name_over() {
    let (host, mut pve) = named_host();
    let first = Guest::join(&host, 101).expect("a guest joins");
    host.ensure(&["web"], "installed").expect("installed");
    pve.power(101, false);
    pve.destroy(101);
    pve.write(102, NODE, "lxc", "hostname: gateway\n");
    pve.power(102, true);
    wait_status(&host, "the new guest", |status| status.placement("web@102").is_some());
    let second = Guest::join(&host, 102).expect("the new guest joins");
    host.ensure(&["web"], "installed").expect("nobody is asked");
    assert!(second.read("/etc/ssl/web.crt").is_ok());
    drop((first, second));
}

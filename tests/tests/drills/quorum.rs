//! The cluster has no quorum for half an hour, which is longer than any certificate here lives.

use std::{fs, os::unix::fs::PermissionsExt, time::Instant};

use pinion_tests::{
    guest::Guest,
    site::{Site, manifest},
    wait::{self, PATIENCE},
};
use serde_json::json;

use crate::{asked::Asked, length};

#[test]
fn certificates_that_live_five_minutes_are_renewed_without_quorum() {
    let site = Site::served().expect("the certificate is served");
    let mut certificate = site.certificate();
    certificate["duration"] = json!("5m");
    site.host.write_manifest(&manifest(json!([certificate]))).expect("the manifest is written");
    site.host.renew(&[], "served").expect("served");

    set_quorum(&site, false);
    let (client, begun, before) = (Asked::begin(&site), Instant::now(), site.issued().expect("events"));
    wait::until("the drill's end", length() + PATIENCE, || {
        let left = length().saturating_sub(begun.elapsed());
        if left.is_zero() { Ok(()) } else { Err(format!("{} s are left", left.as_secs())) }
    })
    .expect("the time passes");
    let (asked, renewed) = (client.end(), site.issued().expect("events") - before);
    let least = usize::try_from(length().as_secs() / MAX_BETWEEN_RENEWALS).expect("a few");
    assert!(renewed >= least, "{renewed} renewals instead of {least}");
    println!("without quorum for {:?}: {renewed} renewals, {asked} handshakes, none failed", length());

    // Joins need what is shared; they go on as soon as it can be written.
    let refused = site.host.pinion(&["token", "create", "1002"]).expect("it runs");
    assert_ne!(refused.code(), 0, "nothing is written to the shared state: {refused}");
    set_quorum(&site, true);
    wait::until("the host to be well", PATIENCE, || {
        let status = site.host.status().map_err(|error| format!("{error:#}"))?;
        if status.troubles.is_empty() { Ok(()) } else { Err(format!("{:?}", status.troubles)) }
    })
    .expect("it is well again");
    Guest::join(&site.host, 1002).expect("a guest joins");
    site.serial().expect("all agree");
}

/// As pmxcfs shows its directories with quorum and without.
fn set_quorum(site: &Site, quorate: bool) {
    let mode = if quorate { 0o700 } else { 0o555 };
    let shared = site.host.root().join("var/lib/pinion/shared");
    fs::set_permissions(shared, fs::Permissions::from_mode(mode)).expect("set");
}

/// Two thirds of five minutes, and what a loaded machine takes to sign, install and probe.
const MAX_BETWEEN_RENEWALS: u64 = 240;

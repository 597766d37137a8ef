//! A few small guests with a file each: enough for stories about enrolling them.

use pinion_proto::stage::{Halt, Trouble};
use pinion_tests::{
    lab::{
        Lab, Role, Spec,
        installation::{Installation, LONG, wait_for},
    },
    status::StatusJson,
};
use serde_json::{Value, json};

/// A container with nothing of its own.
pub(crate) fn container(vmid: u32) -> Spec {
    Spec::container(vmid, &format!("guest-{vmid}"), Role::Empty)
}

/// A manifest with a certificate for each of these guests; a name for a guest does as well as its number.
pub(crate) fn manifest(guests: &[Value]) -> Value {
    let certificate = |guest: &Value| {
        let label = guest.as_str().map_or_else(|| guest.to_string(), ToOwned::to_owned);
        json!({ "name": format!("for-{label}"), "common_name": format!("{label}.internal.example"),
                "placements": [{ "guest": guest, "files": {
                    "fullchain": { "path": "/etc/ssl/story/fullchain.pem" },
                    "key": { "path": "/etc/ssl/story/key.pem", "mode": "0600" } } }] })
    };
    let certificates: Vec<Value> = guests.iter().map(certificate).collect();
    json!({ "version": 1, "defaults": { "issuer": "embedded", "duration": "24h" }, "certificates": certificates })
}

/// The same, by numbers.
pub(crate) fn numbered(guests: &[u32]) -> Value {
    manifest(&guests.iter().map(|vmid| json!(vmid)).collect::<Vec<_>>())
}

/// Whether the guest is linked and its certificate is where it can come to.
pub(crate) fn is_well(status: &StatusJson, vmid: u32) -> bool {
    let placement = status.placement(&placement(vmid));
    status.is_linked(&vmid.to_string()) && placement.is_some_and(|placement| placement.goal == Some(placement.stage))
}

/// Waits until all of these guests are linked and have their certificates.
pub(crate) fn wait_well(lab: &Lab, installation: &Installation, guests: &[u32]) {
    wait_for(lab, installation, &format!("guests {guests:?} to be well"), LONG, |status| {
        guests.iter().all(|vmid| is_well(status, *vmid)).then_some(())
    })
    .expect("they are well");
}

/// Waits until the guest's placement is held up with all of these words, and asserts that nothing takes it for more.
pub(crate) fn wait_held_up(lab: &Lab, installation: &Installation, vmid: u32, halt: Halt, words: &[&str]) -> Trouble {
    let what = format!("guest {vmid} to be {halt} with {words:?}");
    let (status, trouble) = wait_for(lab, installation, &what, LONG, |status| {
        let trouble = status.placement(&placement(vmid))?.trouble.clone()?;
        let text = trouble.to_string();
        (trouble.halt == halt && words.iter().all(|word| text.contains(word))).then(|| (status.clone(), trouble))
    })
    .expect("its trouble is told");
    assert!(!status.is_linked(&vmid.to_string()) && !is_well(&status, vmid), "{status:?}");
    assert!(!trouble.remedy.is_empty(), "{trouble}");
    trouble
}

/// The name of a numbered guest's placement.
pub(crate) fn placement(vmid: u32) -> String {
    format!("for-{vmid}@{vmid}")
}

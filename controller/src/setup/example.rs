//! What to write into the manifest first: an entry for a guest that there is.

use pinion_proto::id::{Vmid, is_plain_name};

use crate::channel::protocol::ListedGuest;

/// An example for the manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Example {
    /// The guest, where one is known.
    pub guest: Option<Vmid>,
    /// Its name on Proxmox.
    pub name: Option<String>,
    /// The whole manifest.
    pub text: String,
}

/// The entry for the guest of these that a person would try first: one that runs here, a container before a VM, the one with
/// the lowest number.
#[must_use]
pub fn example(guests: &[ListedGuest], issuer: &str) -> Example {
    let usable = guests.iter().filter(|guest| !guest.template && guest.node.is_none() && guest.kind.is_some());
    let order = |guest: &&ListedGuest| (guest.running != Some(true), guest.agent, guest.vmid);
    let first = usable.min_by_key(order);
    let name = first.and_then(|guest| guest.name.clone());
    // The first label of the guest's name, in the spelling of a certificate's name.
    let label = name.as_deref().unwrap_or("web").split('.').next().unwrap_or("web").to_ascii_lowercase();
    let is_label = is_plain_name(&label) && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let label = if is_label { label } else { "web".to_owned() };
    let guest = first.map_or_else(|| "1001".to_owned(), |guest| guest.vmid.to_string());
    let text = format!(
        "{{ \"version\": 1,\n  \"defaults\": {{ \"issuer\": \"{issuer}\" }},\n  \"certificates\": [\n    {{ \"name\": \
         \"{label}\", \"common_name\": \"{label}.internal.example\",\n      \"placements\": [ {{ \"guest\": {guest}, \
         \"recipe\": \"nginx\" }} ] }} ] }}\n"
    );
    Example { guest: first.map(|guest| guest.vmid), name, text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        inventory::{GuestInfo, GuestKind, Node},
        manifest::Manifest,
    };

    fn listed(number: u32, name: &str, change: impl FnOnce(&mut GuestInfo)) -> ListedGuest {
        let mut info = GuestInfo {
            kind: Some(GuestKind::Lxc),
            name: Some(name.into()),
            running: Some(true),
            ..GuestInfo::default()
        };
        change(&mut info);
        ListedGuest::of(Vmid::try_from(number).expect("a VMID"), &info)
    }

    #[test]
    fn the_example_names_a_guest_that_runs_here() {
        let guests = [
            listed(100, "template", |info| info.template = true),
            listed(101, "stopped", |info| info.running = Some(false)),
            listed(102, "away", |info| info.node = Node::Elsewhere("pve2".into())),
            listed(104, "Gateway.lan", |_| {}),
            listed(105, "later", |_| {}),
        ];
        let example = example(&guests, "step-ca");
        assert_eq!(example.guest.map(|guest| guest.to_string()).as_deref(), Some("104"));
        let manifest = Manifest::parse(example.text.as_bytes()).expect("a good manifest");
        let certificate = &manifest.certificates[0];
        assert_eq!(
            (certificate.name.as_str(), certificate.issuer.as_ref().map(|issuer| issuer.as_str())),
            ("gateway", Some("step-ca"))
        );
    }

    #[test]
    fn without_guests_and_with_odd_names_it_is_a_good_manifest_too() {
        for guests in [vec![], vec![listed(104, "-- \"odd\" --", |_| {})], vec![listed(104, "", |_| {})]] {
            let example = example(&guests, "embedded");
            Manifest::parse(example.text.as_bytes()).unwrap_or_else(|error| panic!("{error}: {}", example.text));
        }
    }
}

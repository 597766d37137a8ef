//! How far the next identity root is, in words for `pinion status`.

use pinion_proto::causes::chain;

use crate::identity::{Identities, RolloverProgress};

/// How many guests are named that hold up the next identity root.
const MAX_NAMED: usize = 8;

/// How far the next identity root is, while there is one.
pub(super) fn note(identities: &Identities) -> Option<String> {
    if let Some(late) = identities.rollover_late() {
        return Some(late.to_owned());
    }
    match identities.rollover() {
        Ok(progress) => Some(next_root(&progress?)),
        Err(error) => Some(format!("cannot find out which guests trust the next identity root: {}", chain(&error))),
    }
}

fn next_root(progress: &RolloverProgress) -> String {
    let RolloverProgress { next, held_by_root_process, guests, missing } = progress;
    if missing.is_empty() {
        let pin = if *held_by_root_process {
            ""
        } else {
            " (if there is /etc/pinion/identity-root, write the next root into it first)"
        };
        return format!(
            "every guest trusts the next identity root {next}: it takes over when you restart the controller{pin}"
        );
    }
    let named: Vec<_> = missing.iter().take(MAX_NAMED).map(ToString::to_string).collect();
    let more = match missing.len() - named.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!(
        "{} of {guests} guests trust the next identity root {next}; missing: {}{more}. It does not take over before they do, or \
         are forgotten",
        guests - missing.len(),
        named.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use pinion_proto::{
        bundle::Fingerprint,
        id::{Guest, Vmid},
    };

    use super::*;

    #[test]
    fn who_holds_up_the_next_root_is_named() {
        let guest = |number| Guest::Vmid(Vmid::try_from(number).expect("a VMID"));
        let next = Fingerprint::of(b"x");
        let note = |missing: u32| {
            let missing = (101..101 + missing).map(guest).collect();
            next_root(&RolloverProgress { next, held_by_root_process: true, guests: 40, missing })
        };
        let one = note(1);
        assert!(
            one.starts_with("39 of 40 guests trust the next identity root") && one.contains("missing: 101. It"),
            "{one}"
        );
        assert!(note(10).contains("missing: 101, 102, 103, 104, 105, 106, 107, 108 and 2 more. It"), "{}", note(10));
        assert!(note(0).starts_with("every guest trusts") && !note(0).contains("/etc/pinion"), "{}", note(0));
    }
}

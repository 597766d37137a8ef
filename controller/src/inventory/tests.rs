//! What the manifest's names for guests lead to.

use pinion_proto::stage::Halt;

use super::*;

fn vmid(number: u32) -> Vmid {
    Vmid::try_from(number).expect("a VMID")
}

fn named(text: &str) -> GuestRef {
    GuestRef::Name(text.parse().expect("a guest's name"))
}

fn guest(number: u32, name: &str) -> (Vmid, GuestInfo) {
    (vmid(number), GuestInfo { name: Some(name.to_owned()), ..GuestInfo::default() })
}

#[test]
fn names_are_found_whatever_their_case() {
    let inventory = Inventory::from_names([("Gateway".to_owned(), vmid(101))].into());
    assert_eq!(inventory.resolve(&named("gateWAY")), Ok(Guest::Vmid(vmid(101))));
    assert_eq!(inventory.resolve(&GuestRef::Host), Ok(Guest::Host));
}

#[test]
fn a_number_is_taken_as_it_is() {
    assert_eq!(Inventory::default().resolve(&GuestRef::Vmid(vmid(4711))), Ok(Guest::Vmid(vmid(4711))));
}

#[test]
fn a_placement_may_be_named_with_its_guests_name() {
    let inventory = Inventory::new([guest(200, "web"), guest(201, "twin"), guest(202, "twin")].into());
    for (typed, meant) in [
        ("docker", "docker"),
        ("docker@200", "docker@200"),
        ("docker@WEB", "docker@200"),
        ("docker@host", "docker@host"),
        ("docker@999", "docker@999"),
        // Nobody can say which is meant.
        ("docker@twin", "docker@twin"),
        ("docker@other", "docker@other"),
        ("docker@", "docker@"),
    ] {
        assert_eq!(inventory.placement_name(typed), meant, "{typed}");
    }
}

#[test]
fn a_word_on_the_command_line_is_the_host_a_vmid_or_a_name() {
    let inventory = Inventory::new([guest(200, "web"), guest(201, "twin"), guest(202, "twin")].into());
    for (word, meant) in [("host", Guest::Host), ("4711", Guest::Vmid(vmid(4711))), ("web", Guest::Vmid(vmid(200)))] {
        assert_eq!(inventory.guest_of(word), Ok(meant), "{word}");
    }
    for (word, why, is_word) in [
        ("+200", "`+200` is not a VMID", true),
        ("7", "use a VMID from 100", true),
        ("a b", "`a b` is neither a VMID nor a guest's name", true),
        ("twin", "2 guests are named twin: 201, 202", false),
        ("other", "no guest named other", false),
    ] {
        let error = inventory.guest_of(word).expect_err(word);
        assert!(error.to_string().contains(why), "{error}");
        assert_eq!(matches!(error, NoGuest::NotAGuest(_)), is_word, "{word}");
    }
}

#[test]
fn a_name_must_lead_to_one_guest() {
    let inventory = Inventory::new([guest(200, "web"), guest(201, "web")].into());
    let error = inventory.resolve(&named("web")).expect_err("two guests have it");
    assert_eq!(error.to_string(), "2 guests are named web: 200, 201");
    let error = inventory.resolve(&named("wbe")).expect_err("none has it");
    assert_eq!(error.to_string(), "this host knows no guest named wbe; did you mean `web`?");
    assert_eq!(error.trouble().halt, Halt::Blocked);
}

#[test]
fn a_configured_name_fills_in_and_proxmox_wins() {
    let names = [("web".to_owned(), vmid(300)), ("alias".to_owned(), vmid(200)), ("late".to_owned(), vmid(4711))];
    let inventory = Inventory::complete([guest(200, "web")].into(), &names.into());
    assert_eq!(inventory.resolve(&named("web")), Ok(Guest::Vmid(vmid(200))), "Proxmox's guest has the name");
    assert_eq!(inventory.resolve(&named("alias")), Ok(Guest::Vmid(vmid(200))));
    assert_eq!(inventory.resolve(&named("late")), Ok(Guest::Vmid(vmid(4711))));
    assert_eq!(inventory.guest(vmid(4711)), None, "a name makes no guest where Proxmox tells them all");
    assert_eq!(inventory.name(vmid(200)), Some("web"));
}

#[test]
fn a_network_cards_address_is_the_same_in_any_case() {
    let upper = HwAddr::parse("BC:24:11:AA:00:01").expect("an address");
    assert_eq!(HwAddr::parse("bc:24:11:aa:00:01"), Some(upper));
    assert_eq!(upper.to_string(), "BC:24:11:AA:00:01");
    for wrong in ["", "BC:24:11:AA:00", "BC:24:11:AA:00:01:02", "BC:24:11:AA:00:0", "BC:24:11:AA:00:+1", "BC-24-11"] {
        assert_eq!(HwAddr::parse(wrong), None, "{wrong}");
    }
}

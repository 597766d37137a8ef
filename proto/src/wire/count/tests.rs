use std::collections::BTreeMap;

use proptest::{collection::vec, prelude::*};
use prost::Message;

use super::*;
use crate::wire::{
    limits::Bounded,
    pb::{self, to_agent, to_controller},
};

/// As `google.protobuf.FieldDescriptorProto` numbers them.
const REPEATED: i32 = 3;
const MESSAGE: i32 = 11;
const TEXTS: [i32; 2] = [9, 12];

fn shapes(shape: &'static Shape, all: &mut BTreeMap<&'static str, &'static Shape>) {
    if all.insert(shape.name, shape).is_none() {
        for field in shape.fields {
            if let Holds::Message(inner) = field.holds {
                shapes(inner, all);
            }
        }
    }
}

#[test]
fn the_table_is_the_contracts() {
    let include = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("proto");
    let files = ["pinion/v1/join.proto", "pinion/v1/link.proto"];
    let contract = protox::compile(files, [&include]).expect("the contract compiles");
    let mut table = BTreeMap::new();
    for shape in [pb::JoinRequest::SHAPE, pb::JoinResponse::SHAPE, pb::ToController::SHAPE, pb::ToAgent::SHAPE] {
        shapes(shape, &mut table);
    }
    let messages = || contract.file.iter().flat_map(|file| &file.message_type);
    for message in messages() {
        let name = message.name.as_deref().unwrap_or_default();
        assert!(message.nested_type.is_empty(), "{name} has messages inside: teach this test and the table");
        let shape = table.get(name).unwrap_or_else(|| panic!("{name} is not in wire/limits.rs"));
        for field in &message.field {
            let (tag, kind) = (field.number.expect("a tag"), field.r#type.expect("a type"));
            let (repeated, holds_message) = (field.label == Some(REPEATED), kind == MESSAGE);
            let what = format!("{name}.{}", field.name());
            let listed = shape.fields.iter().find(|listed| i32::try_from(listed.tag) == Ok(tag));
            if !repeated && !holds_message {
                assert!(listed.is_none(), "{what} needs no line in wire/limits.rs");
                continue;
            }
            let listed = listed.unwrap_or_else(|| panic!("{what} has no limit in wire/limits.rs"));
            assert_eq!(listed.repeated.is_some(), repeated, "{what}");
            assert!(listed.name.ends_with(&format!(".{}", field.name())), "{what} is called {}", listed.name);
            assert!(
                holds_message || TEXTS.contains(&kind),
                "{what} is a repeated number, which may be packed: teach wire/count.rs"
            );
            let inner = match listed.holds {
                Holds::Message(shape) => format!(".pinion.v1.{}", shape.name),
                Holds::Bytes => String::new(),
            };
            assert_eq!(inner, field.type_name.clone().unwrap_or_default(), "{what}");
        }
    }
    assert_eq!(messages().count(), table.len(), "the table has messages that the contract has not: {table:?}");
    let names: Vec<&str> = table.values().flat_map(|shape| shape.fields).map(|field| field.name).collect();
    let unique: std::collections::BTreeSet<_> = names.iter().collect();
    assert_eq!(names.len(), unique.len(), "a name is in the table twice");
}

/// A field with these bytes.
fn field(tag: u32, inner: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    encode_key(tag, WireType::LengthDelimited, &mut out);
    encode_varint(inner.len() as u64, &mut out);
    out.extend(inner);
    out
}

fn many(tag: u32, times: usize) -> Vec<u8> {
    field(tag, &[]).repeat(times)
}

#[test]
fn two_million_empty_elements_are_refused_wherever_they_are() {
    const MANY: usize = 2_000_000;
    let hello = |inner: &[u8]| field(1, inner);
    let report = |inner: &[u8]| field(2, inner);
    for (what, bytes) in [
        ("reports", hello(&many(3, MANY))),
        ("cards", hello(&field(1, &many(5, MANY)))),
        ("roots of a report", report(&many(11, MANY))),
        ("files of a report", report(&many(8, MANY))),
        ("files of a report in a hello", hello(&field(3, &many(8, MANY)))),
        ("files", field(3, &many(2, MANY))),
        // prost merges what occurs twice.
        ("reports in merged hellos", hello(&many(3, 900)).repeat(2)),
        ("reports in many merged hellos", hello(&many(3, 2)).repeat(501)),
        ("cards in merged facts", hello(&field(1, &many(5, 40)).repeat(2))),
        (
            "a hello, a report, and the rest of the hello",
            [hello(&many(3, 900)), report(&[]), hello(&many(3, 900))].concat(),
        ),
    ] {
        let error = check(&bytes, pb::ToController::SHAPE).expect_err(what);
        assert!(matches!(error, CountError::TooMany { .. }), "{what}: {error}");
    }
    let spec = |inner: &[u8]| field(1, &field(1, inner));
    for (what, bytes) in [
        ("placements", field(1, &many(1, MANY))),
        ("names", spec(&many(3, MANY))),
        ("names of many placements", field(1, &field(1, &many(3, 200)).repeat(900))),
        ("file parts", spec(&many(8, MANY))),
        ("roots", spec(&many(18, MANY))),
        ("openings", spec(&field(16, &many(1, MANY)))),
        ("secrets", spec(&field(10, &field(8, &many(2, MANY))))),
        ("a chain", field(2, &many(3, MANY))),
        ("an identity's chain", field(4, &many(1, MANY))),
        ("placements in merged messages", field(1, &many(1, 600)).repeat(2)),
    ] {
        let error = check(&bytes, pb::ToAgent::SHAPE).expect_err(what);
        assert!(matches!(error, CountError::TooMany { .. }), "{what}: {error}");
    }
}

#[test]
fn what_is_within_each_limit_and_too_much_together_is_refused() {
    let spec = [many(3, 130), many(8, 16), many(18, 16), field(16, &many(1, 64))].concat();
    let error = check(&field(1, &field(1, &spec).repeat(1000)), pb::ToAgent::SHAPE).expect_err("far too much");
    assert_eq!(error, CountError::TooMuch);
}

#[test]
fn what_is_cut_off_or_malformed_is_refused() {
    let group = |depth: usize| [[0xf3, 1].repeat(depth), [0xf4, 1].repeat(depth)].concat();
    for (what, bytes) in [
        ("a cut-off key", vec![0x8a]),
        ("an endless number", vec![0xff; 11]),
        ("a number of more than 64 bits", vec![0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2]),
        ("a key of more than 32 bits", vec![0x8a, 0x80, 0x80, 0x80, 0x10, 0]),
        ("field 0", vec![0x02, 0]),
        ("a length past the end", vec![0x0a, 5, 0]),
        ("a length past every end", vec![0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]),
        ("a hello that is a number", vec![0x08, 1]),
        ("a hello that is a group", vec![0x0b, 0x0c]),
        ("wire type 6", vec![0xf6, 1]),
        ("a group that ends only", vec![0xf4, 1]),
        ("a group that ends as another", vec![0xf3, 1, 0xfc, 1]),
        ("a group without an end", vec![0xf3, 1]),
        ("groups too deep", group(MAX_GROUPS + 1)),
        ("a cut-off fixed number", vec![0xf1, 1, 0, 0]),
    ] {
        let error = check(&bytes, pb::ToController::SHAPE).expect_err(what);
        assert!(matches!(error, CountError::Malformed(_)), "{what}: {error}");
    }
    check(&group(MAX_GROUPS), pb::ToController::SHAPE).expect("unknown groups are passed over");
    check(&field(1, &[0xf3, 1, 0x18, 1, 0xf4, 1]), pb::ToController::SHAPE).expect("inside as well");
}

/// The largest that honest programs say to each other.
#[test]
fn large_honest_messages_pass() {
    let report = pb::PlacementReport {
        certificate: "a-certificate-with-a-long-name".into(),
        held: Some(pb::Held { leaf_der: vec![0x30; 8 * 1024], ..Default::default() }),
        left_behind: vec!["/etc/ssl/earlier/fullchain.pem".into(); 5],
        roots: vec![vec![7; 32]; 16],
        ..Default::default()
    };
    let hello = pb::Hello { reports: vec![report; 400], ..Default::default() };
    let hello = pb::ToController { message: Some(to_controller::Message::Hello(hello)) }.encode_to_vec();
    assert!(hello.len() > 3_000_000 && hello.len() < super::super::MAX_MESSAGE, "{}", hello.len());
    check(&hello, pb::ToController::SHAPE).expect("400 placements with large leaves");
    let spec = |names: usize, roots: usize| pb::PlacementSpec {
        certificate: "a-certificate-with-a-long-name".into(),
        names: (0..names).map(|n| format!("dns:host-{n}.internal.example")).collect(),
        files: vec![pb::FileSpec { path: Some("/etc/ssl/private/web.key".into()), ..Default::default() }; 6],
        window: Some(pb::Window { openings: vec![pb::Opening { opens: 1 << 31, closes: 1 << 32 }; 64] }),
        roots_der: vec![vec![0x30; 900]; roots],
        ..Default::default()
    };
    for (count, names, roots) in [(300, 380, 0), (200, 500, 0), (200, 20, 16), (1000, 50, 1)] {
        let desired = pb::Desired { placements: vec![spec(names, roots); count] };
        let desired = pb::ToAgent { message: Some(to_agent::Message::Desired(desired)) }.encode_to_vec();
        assert!(desired.len() > 2_000_000 && desired.len() < super::super::MAX_MESSAGE, "{}", desired.len());
        check(&desired, pb::ToAgent::SHAPE).expect("many placements with many names");
    }
}

/// Bytes that are nearly a message: pieces of messages, one after and inside another.
fn nearly_messages() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        (1_u32..20, vec(any::<u8>(), 0..6)).prop_map(|(tag, inner)| field(tag, &inner)),
        (1_u32..20, 1_u32..20, 0_usize..40).prop_map(|(outer, inner, times)| field(outer, &many(inner, times))),
        (1_u32..20, 1_u32..20, 1_u32..20, 0_usize..40)
            .prop_map(|(a, b, c, times)| field(a, &field(b, &many(c, times)))),
        vec(any::<u8>(), 0..12),
    ];
    vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

proptest! {
    /// Whatever prost reads is read here too, and has no more elements than were counted.
    #[test]
    fn nothing_that_prost_makes_is_missed(bytes in nearly_messages(), cut in any::<prop::sample::Index>()) {
        for bytes in [&bytes[..], &bytes[..cut.index(bytes.len() + 1)]] {
            let count = Count::of(bytes, pb::ToController::SHAPE);
            prop_assert!(!matches!(count, Err(CountError::TooMuch)), "so few bytes");
            // What has too many elements is refused whatever prost makes of it.
            if let Ok(decoded) = pb::ToController::decode(bytes)
                && !matches!(count, Err(CountError::TooMany { .. }))
            {
                let count = count.unwrap_or_else(|error| panic!("{error}: {decoded:?}"));
                let reports = match &decoded.message {
                    Some(to_controller::Message::Hello(hello)) => {
                        prop_assert!(hello.reports.len() <= count.elements("hello.reports"));
                        let cards = hello.facts.as_ref().map_or(0, |facts| facts.hwaddrs.len());
                        prop_assert!(cards <= count.elements("facts.hwaddrs"));
                        hello.reports.as_slice()
                    }
                    Some(to_controller::Message::Report(report)) => std::slice::from_ref(report),
                    Some(to_controller::Message::Purged(purged)) => {
                        prop_assert!(purged.left.len() <= count.elements("purged.left"));
                        &[]
                    }
                    _ => &[],
                };
                let left: usize = reports.iter().map(|report| report.left_behind.len()).sum();
                let roots: usize = reports.iter().map(|report| report.roots.len()).sum();
                prop_assert!(left <= count.elements("report.left_behind") && roots <= count.elements("report.roots"));
            }
            let count = Count::of(bytes, pb::ToAgent::SHAPE);
            if let Ok(decoded) = pb::ToAgent::decode(bytes)
                && !matches!(count, Err(CountError::TooMany { .. }))
            {
                let count = count.unwrap_or_else(|error| panic!("{error}: {decoded:?}"));
                if let Some(to_agent::Message::Desired(desired)) = &decoded.message {
                    let names: usize = desired.placements.iter().map(|spec| spec.names.len()).sum();
                    prop_assert!(desired.placements.len() <= count.elements("desired.placements"));
                    prop_assert!(names <= count.elements("spec.names"));
                }
            }
        }
    }
}

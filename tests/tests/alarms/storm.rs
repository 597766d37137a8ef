//! Two hundred placements that fail at once are a few messages.

use pinion_tests::{
    receiver::{Manner, Receiver},
    wait::{self, PATIENCE},
};
use serde_json::{Value, json};

use super::site::{Site, certificate, manifest};

const COUNT: u64 = 200;

#[test]
fn a_storm_of_failures_is_a_few_messages() {
    let receiver = Receiver::start(Manner::Answer(200)).expect("a receiver");
    let target = format!("[notify.targets.x]\ntype = \"webhook\"\nurl = \"{}\"\n", receiver.url("x"));
    let site = Site::start(&target);
    let all = |directory: &str| -> Value {
        (0..COUNT).map(|number| certificate(&format!("c{number}"), directory)).collect::<Vec<_>>().into()
    };
    site.host.write_manifest(&manifest(&all("/forbidden"))).expect("written");
    site.wait_target("x", |target| target["told"] == COUNT);
    let messages = receiver.received();
    let firing = messages.iter().filter(|message| message.body["state"] == "firing").count();
    assert!(firing <= 10, "{firing} messages");
    for message in &messages {
        let alarms = message.body["alarms"].as_array().expect("a list");
        assert!(alarms.len() <= 60 && message.body.to_string().len() < 60_000, "{}", alarms.len());
        assert!(message.body["text"].as_str().is_some_and(|text| text.len() <= 2800));
    }
    site.host.write_manifest(&manifest(&json!([]))).expect("written");
    site.wait_target("x", |target| target["told"] == 0);
    let clear = receiver.received().iter().filter(|message| message.body["state"] == "clear").count();
    assert!((1..=10).contains(&clear), "{clear} messages");
    wait::until("silence", PATIENCE, || {
        let last = receiver.received().last().map(|message| message.body["remaining"].clone());
        if last == Some(json!(0)) { Ok(()) } else { Err(format!("{last:?}")) }
    })
    .expect("no alarm is left");
}

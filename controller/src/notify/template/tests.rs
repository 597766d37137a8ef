//! Bodies that no text can leave.

use proptest::prelude::*;

use super::*;
use crate::notify::alarm::{Alarm, Kind};
use pinion_proto::clock::Timestamp;

fn message(subject: &str, text: &str) -> Message {
    let alarm = Alarm { kind: Kind::Expired, subject: subject.into(), text: text.into() };
    let at = Timestamp::from_unix(1_800_000_000);
    Message::new(at, vec![Entry::of(&alarm, at)], vec![], vec![], 1)
}

#[test]
fn a_text_that_is_one_placeholder_is_its_value() {
    let template = Template::parse(
        r#"{"a": "{{priority}}", "b": "p{{priority}}", "c": ["{{ host }}", 7, null], "d": "{{alarms}}", "{{host}}": "{{firing}}/{{remaining}}"}"#,
    );
    let body = template.expect("a template").body(&message("web@101", "why"), "pve1", None).expect("a body");
    assert_eq!((&body["a"], &body["b"], &body["c"]), (&json!(5), &json!("p5"), &json!(["pve1", 7, null])));
    assert_eq!(body["d"][0]["subject"], "web@101");
    assert_eq!(body["d"][0]["kind"], "expired");
    assert_eq!(body["{{host}}"], "1/1", "a name is no text");
}

#[test]
fn what_is_no_template_is_refused_before_it_is_used() {
    for (text, why) in [
        ("{", "not JSON"),
        (r#"{"a": "{{titel}}"}"#, "no placeholder `titel`"),
        (r#"{"a": "{{title"}"#, "has no end"),
        (r#"{"a": "{{title|html}}"}"#, "`html` is neither"),
        (r#"{"a": "{{title|0}}"}"#, "`0` is neither"),
    ] {
        let error = Template::parse(text).expect_err(why).to_string();
        assert!(error.contains(why), "{error}");
    }
    let deep = format!("{}1{}", "[".repeat(40), "]".repeat(40));
    assert_eq!(Template::parse(&deep), Err(TemplateError::Deep));
}

#[test]
fn what_is_put_in_is_no_template_and_no_markup() {
    let hostile = r#""},{{host}} <!channel> <http://x|y> [a](http://x) `*_@everyone"#;
    let template = Template::parse(r#"{"s": "x {{text|slack}}", "m": "x {{text|markdown}}", "p": "x {{text}}"}"#);
    let body = template.expect("a template").body(&message("web", hostile), "pve1", None).expect("a body");
    let text = |name: &str| body[name].as_str().expect("text").to_owned();
    assert!(text("p").contains(hostile), "{body}");
    assert!(text("s").contains("&lt;!channel&gt; &lt;http://x|y&gt;") && !text("s").contains(['<', '>']), "{body}");
    assert!(text("m").contains(r"\[a\]\(http\://x\) \`\*\_\@everyone"), "{body}");
}

#[test]
fn a_cut_text_is_as_long_as_it_may_be() {
    let filter = |escape, max| Filter { escape, max: Some(max) };
    for (text, escape, max, cut) in [
        ("abc", Escape::No, 3, "abc"),
        ("abcd", Escape::No, 3, "ab…"),
        ("a&b", Escape::Slack, 7, "a&amp;b"),
        ("a&bc", Escape::Slack, 7, "a&amp;…"),
        ("a&bc", Escape::Slack, 5, "a…"),
        ("a*b-", Escape::Markdown, 6, r"a\*b\-"),
        ("😀😀", Escape::No, 3, "😀…"),
    ] {
        assert_eq!(filter(escape, max).apply(text), cut, "{text} {max}");
    }
}

proptest! {
    #[test]
    fn no_text_leaves_its_place(subject in ".*", text in ".*", host in ".*") {
        let template = Template::parse(r#"{"one": "a {{title}} b", "two": {"three": ["{{text|markdown|50}}", "{{text|slack}}", "{{text}}"]}}"#);
        let body = template.expect("a template").body(&message(&subject, &text), &host, None).expect("a body");
        let again: Value = serde_json::from_str(&body.to_string()).expect("JSON");
        prop_assert_eq!(&again, &body);
        prop_assert_eq!(body.as_object().map(Map::len), Some(2));
        prop_assert_eq!(body["two"]["three"].as_array().map(Vec::len), Some(3));
        prop_assert!(body["two"]["three"][0].as_str().is_some_and(|cut| cut.encode_utf16().count() <= 50));
    }
}

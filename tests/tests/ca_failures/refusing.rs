//! A CA that refuses, or is not the one that was configured: the placement is blocked until a person has mended
//! that, and then goes on without being told.

use std::fs;

use pinion_proto::stage::{Halt, Stage};
use pinion_tests::ca::{PASSWORD, StepCa};
use serde_json::json;

use super::{
    proxy::Proxy,
    site::{NAME, Site, issuer, issuer_of},
};

#[test]
fn a_wrong_password_blocks_until_the_file_is_corrected() {
    let ca = StepCa::start().expect("a CA");
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(file.path(), "hunter2").expect("written");
    let site = Site::start(issuer(&ca.url(), ca.fingerprint().expect("a root"), file.path()));
    let seen = site.wait_trouble(Halt::Blocked, "password does not open it");
    let remedy = seen.trouble.expect("a trouble").remedy;
    assert!(remedy.contains(&file.path().display().to_string()), "{remedy}");
    let told = site.host.pinion(&["status"]).expect("pinion runs").stdout + &site.host.log_tail();
    assert!(!told.contains("hunter2"), "the password is nobody's: {told}");

    fs::write(file.path(), format!("{PASSWORD}\n")).expect("corrected");
    site.bring_up().expect("it continues by itself");
}

#[test]
fn a_name_against_the_policy_blocks_and_leaves_the_old_until_it_is_allowed() {
    let mut ca = StepCa::start().expect("a CA");
    let site = Site::served(issuer_of(&ca), "");
    let before = site.installed().expect("installed and served");
    ca.change(|config| {
        config["authority"]["policy"] = json!({ "x509": { "allow": { "dns": ["*.other.example"] } } });
    })
    .expect("the policy is changed");
    ca.restart().expect("the CA reads it");
    let asked = site.host.pinion(&["ensure", "web", "--renew", "--timeout", "20s"]).expect("pinion runs");
    assert_eq!(asked.code(), 4, "it needs a person: {asked}");
    let seen = site.wait_trouble(Halt::Blocked, NAME);
    assert_eq!(seen.stage, Stage::Served, "the old one is still served");
    assert_eq!(site.installed().expect("still there"), before);

    ca.change(|config| config["authority"]["policy"] = json!(null)).expect("the policy is lifted");
    ca.restart().expect("the CA reads it");
    site.wait_renewed(&before);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_root_under_the_same_url_is_never_believed() {
    let (ours, theirs) = (StepCa::start().expect("a CA"), StepCa::start().expect("another CA"));
    let proxy = Proxy::to(&ours.url()).await;
    let site = Site::served(issuer(&proxy.url(), ours.fingerprint().expect("a root"), &ours.password_file()), "");
    let before = site.installed().expect("installed and served");
    proxy.lead_to(&theirs.url());
    let asked = site.host.pinion(&["ensure", "web", "--renew", "--timeout", "20s"]).expect("pinion runs");
    assert_eq!(asked.code(), 4, "it needs a person: {asked}");
    let seen = site.wait_trouble(Halt::Blocked, &theirs.fingerprint().expect("a root").to_string());
    assert_eq!(seen.stage, Stage::Served, "the old one is still served");
    assert_eq!(site.installed().expect("still there"), before);
    let signed = theirs.log();
    assert!(!signed.contains("/sign"), "nothing was asked of a stranger: {signed}");

    proxy.lead_to(&ours.url());
    site.wait_renewed(&before);
}

//! `pinion-agent join` at a keyboard: the token is asked for and not shown, and another guest's is not taken by mistake.

use pinion_tests::{
    guest::{Guest, GuestOptions},
    host::{Host, HostOptions},
    process::Finished,
    terminal,
    wait::PATIENCE,
};

const TOKEN: &str = "Join token";

fn join(guest: &Guest, answers: &[(&str, &str)]) -> Finished {
    terminal::converse(&mut guest.command(&["join"]).expect("it is built"), answers, PATIENCE).expect("it ends")
}

#[test]
fn a_token_is_typed_unseen_and_one_of_another_guest_is_asked_about() {
    let host = Host::start(&HostOptions::default()).expect("a host");
    let guest = Guest::prepare("1001", &GuestOptions::default()).expect("a guest");
    let nothing = join(&guest, &[(TOKEN, "")]);
    assert!(nothing.code() == 2 && nothing.stdout.contains("no token was typed"), "{nothing}");
    let token = host.token("1001").expect("a token");
    let joined = join(&guest, &[(TOKEN, &token)]);
    assert!(joined.code() == 0 && joined.stdout.contains("joined as guest 1001"), "{joined}");
    assert!(!joined.stdout.contains(&token), "it is not shown: {joined}");

    let (others, question) = (host.token("1002").expect("a token"), "Join as guest 1002? [y/N]");
    let refused = join(&guest, &[(TOKEN, &others), (question, "n")]);
    assert!(refused.code() == 2 && refused.stdout.contains("nothing was changed"), "{refused}");
    assert!(refused.stdout.contains("[y/N] n"), "what is typed is shown again: {refused}");
    let taken = join(&guest, &[(TOKEN, &others), (question, "y")]);
    assert!(taken.code() == 0 && taken.stdout.contains("joined as guest 1002"), "the token was not spent: {taken}");
}

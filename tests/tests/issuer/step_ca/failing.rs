//! A step-ca that is configured wrongly, away, changed, or answers nonsense.

use super::*;

#[tokio::test]
async fn a_wrong_configuration_says_what_to_change() {
    let ca = StepCa::start_with(|config| {
        let provisioners = config["authority"]["provisioners"].as_array_mut().expect("a list");
        provisioners.push(json!({ "type": "ACME", "name": "acme" }));
    })
    .expect("a CA");
    let fingerprint = ca.fingerprint().expect("a root");
    let right = ca.password_file();
    let wrong = tempfile::NamedTempFile::new().expect("a file");
    fs::write(wrong.path(), "hunter2").expect("written");
    let clock = || Arc::new(SystemClock);
    let other = Fingerprint::of(b"another root");
    let sign = async |fixture: Fixture| fixture.sign(&["a.example"], HOUR).await.expect_err("refused");

    let error = sign(Fixture::new(&ca.url(), fingerprint, "admin", wrong.path(), clock())).await;
    misconfigured(&error, &["password does not open it", "provisioner `admin`"]);
    let error = sign(Fixture::new(&ca.url(), fingerprint, "admin", Path::new("none"), clock())).await;
    misconfigured(&error, &["cannot read the password file", "No such file"]);
    let error = sign(Fixture::new(&ca.url(), other, "admin", &right, clock())).await;
    misconfigured(&error, &[&other.to_string(), &fingerprint.to_string()]);
    let error = sign(Fixture::new(&ca.url(), fingerprint, "nobody", &right, clock())).await;
    misconfigured(&error, &["no provisioner `nobody`", "admin"]);
    let error = sign(Fixture::new(&ca.url(), fingerprint, "acme", &right, clock())).await;
    misconfigured(&error, &["`acme` has type ACME"]);
    let url = ca.url().replace("127.0.0.1", "127.0.0.2");
    let error = sign(Fixture::new(&url, fingerprint, "admin", &right, clock())).await;
    unavailable(&error, &["127.0.0.2", "refused"]);
    let fixture = Fixture::of(&ca);
    let unknown = "elsewhere".parse().expect("a name");
    let error = fixture.issuers.check(&unknown).await.expect_err("no such issuer");
    misconfigured(&error, &["embedded, step-ca"]);
}

#[tokio::test]
async fn a_corrected_password_file_helps_at_once() {
    let ca = StepCa::start().expect("a CA");
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(file.path(), "wrong").expect("written");
    let fixture =
        Fixture::new(&ca.url(), ca.fingerprint().expect("a root"), "admin", file.path(), Arc::new(SystemClock));
    fixture.sign(&["a.example"], HOUR).await.expect_err("a wrong password");
    fs::write(file.path(), format!("{PASSWORD}\n")).expect("written");
    fixture.sign(&["a.example"], HOUR).await.expect("signed");
}

#[tokio::test]
async fn a_ca_that_was_down_is_used_again_and_one_made_anew_is_noticed() {
    let mut ca = StepCa::start().expect("a CA");
    let fixture = Fixture::of(&ca);
    fixture.sign(&["a.example"], HOUR).await.expect("signed");
    ca.stop();
    let error = fixture.sign(&["a.example"], HOUR).await.expect_err("down");
    unavailable(&error, &["sign", "refused"]);
    assert_eq!(error.halt(), Halt::Waiting);
    ca.restart().expect("started");
    fixture.sign(&["a.example"], HOUR).await.expect("signed again");

    let before = ca.fingerprint().expect("a root");
    ca.reinitialise().expect("another CA");
    let after = ca.fingerprint().expect("a root");
    let error = fixture.sign(&["a.example"], HOUR).await.expect_err("another root");
    misconfigured(&error, &[&before.to_string(), &after.to_string()]);
}

#[tokio::test]
async fn a_replaced_provisioner_key_is_read_anew() {
    let mut ca = StepCa::start().expect("a CA");
    let other = StepCa::start().expect("another CA, for its provisioner");
    let fixture = Fixture::of(&ca);
    fixture.sign(&["a.example"], HOUR).await.expect("signed");
    let provisioners = other.config().expect("its configuration")["authority"]["provisioners"].clone();
    ca.change(|config| config["authority"]["provisioners"] = provisioners).expect("changed");
    ca.restart().expect("started");
    fixture.sign(&["a.example"], HOUR).await.expect("signed with the new key");
}

#[tokio::test]
async fn the_provisioner_is_found_on_any_page() {
    let ca = StepCa::start_with(|config| {
        let provisioners = config["authority"]["provisioners"].as_array_mut().expect("a list");
        provisioners.extend((0..240).map(|n| json!({ "type": "ACME", "name": format!("acme-{n}") })));
        // Two on different pages, wherever the hash of its id puts each.
        for n in 0..4 {
            let mut copy = provisioners[0].clone();
            copy["name"] = json!(format!("copy-{n}"));
            provisioners.push(copy);
        }
    })
    .expect("a CA");
    let fingerprint = ca.fingerprint().expect("a root");
    for provisioner in ["admin", "copy-0", "copy-1", "copy-2", "copy-3"] {
        let fixture = Fixture::new(&ca.url(), fingerprint, provisioner, &ca.password_file(), Arc::new(SystemClock));
        fixture.sign(&["a.example"], HOUR).await.expect(provisioner);
    }
}

#[tokio::test]
async fn a_host_with_a_wrong_clock_still_gets_certificates_that_are_valid_there() {
    let ca = StepCa::start().expect("a CA");
    for seconds in [-400, -90, 90, 400] {
        let clock = Arc::new(Skewed(seconds));
        let fingerprint = ca.fingerprint().expect("a root");
        let fixture = Fixture::new(&ca.url(), fingerprint, "admin", &ca.password_file(), clock.clone());
        let signed = fixture.sign(&["a.example"], 24 * HOUR).await.expect("signed");
        assert!(signed.chain.leaf().not_before() <= clock.now(), "{seconds}");
        let check = fixture.issuers.check(&fixture.name).await.expect("checked");
        let difference = check.clock_difference.expect("a difference");
        assert!((difference + seconds).abs() <= 2, "{difference} for {seconds}");
        assert!(check.warnings.iter().any(|warning| warning.contains("clock")), "{:?}", check.warnings);
    }
}

#[tokio::test]
async fn many_at_once_are_all_signed() {
    let ca = StepCa::start().expect("a CA");
    let fixture = Arc::new(Fixture::of(&ca));
    let mut calls = tokio::task::JoinSet::new();
    for n in 0..200 {
        let fixture = fixture.clone();
        calls.spawn(async move { fixture.sign(&[&format!("host-{n}.example")], HOUR).await });
    }
    while let Some(signed) = calls.join_next().await {
        signed.expect("no panic").expect("signed");
    }
}

#[tokio::test]
async fn a_ca_that_answers_nonsense_is_waited_for() {
    let real = StepCa::start().expect("a CA, for its provisioner");
    let provisioners = real.config().expect("its configuration")["authority"]["provisioners"].clone();
    let provisioners = json!({ "provisioners": provisioners, "nextCursor": "" }).to_string();
    let ca = HostileCa::start().await.expect("a hostile CA");
    let fixture = Fixture::hostile(&ca);
    let page = "<html>502 Bad Gateway</html>".to_owned();
    let hostile: [(Manner, &[&str]); 9] = [
        (Manner::Silence, &["did not answer in time"]),
        (
            Manner::Answer(500, json!({ "status": 500, "message": "database is full" }).to_string()),
            &["database is full"],
        ),
        (Manner::Answer(502, page.clone()), &["502", "Bad Gateway"]),
        (Manner::Answer(429, String::new()), &["429"]),
        (Manner::Answer(200, page), &["cannot read its answer", "<html>"]),
        (Manner::Answer(200, String::new()), &["cannot read its answer"]),
        (Manner::Endless, &["longer than"]),
        (Manner::Garbage, &[]),
        (Manner::CutOff, &[]),
    ];
    for (manner, words) in hostile {
        ca.behave("/provisioners", manner.clone());
        ca.behave("/1.0/sign", manner.clone());
        let error = fixture.sign(&["a.example"], HOUR).await.expect_err("no provisioners");
        unavailable(&error, words);
        unavailable(&error, &["list the provisioners"]);
        ca.behave("/provisioners", Manner::Answer(200, provisioners.clone()));
        let error = fixture.sign(&["a.example"], HOUR).await.expect_err("no signature");
        unavailable(&error, words);
        // A session that was opened once is kept: begin anew with the next kind.
        ca.behave("/1.0/sign", Manner::Answer(401, json!({ "message": "token" }).to_string()));
        ca.behave("/provisioners", Manner::Answer(200, "{}".into()));
        fixture.sign(&["a.example"], HOUR).await.expect_err("no provisioner any more");
    }
    // A cursor that leads in circles ends.
    let circle = json!({ "provisioners": [], "nextCursor": "aa" }).to_string();
    ca.behave("/provisioners", Manner::Answer(200, circle));
    let error = fixture.sign(&["a.example"], HOUR).await.expect_err("no end of pages");
    unavailable(&error, &["invalid cursor"]);
}

#[tokio::test]
async fn what_was_not_ordered_is_not_taken() {
    let real = StepCa::start().expect("a CA, for its provisioner");
    let provisioners = real.config().expect("its configuration")["authority"]["provisioners"].clone();
    let ca = HostileCa::start().await.expect("a hostile CA");
    let page = json!({ "provisioners": provisioners, "nextCursor": "" }).to_string();
    ca.behave("/provisioners", Manner::Answer(200, page));
    let fixture = Fixture::hostile(&ca);
    // A chain for another's key.
    let other = Fixture::of(&real).sign(&["a.example"], HOUR).await.expect("signed by the real one");
    let pem = pinion_proto::bundle::certificates_to_pem(other.chain.certificates());
    ca.behave("/1.0/sign", Manner::Answer(201, json!({ "certChain": [pem] }).to_string()));
    let error = fixture.sign(&["a.example"], HOUR).await.expect_err("another's key");
    unfit(&error, &["not for the request's key", "template of provisioner `admin`"]);
    // The right key and names under a root that is not the pinned one.
    let order = order(KeyAlgorithm::EcdsaP256, &["a.example"], HOUR);
    let signed = Fixture::of(&real);
    let signed = signed.issuers.sign(&signed.name, order.clone(), None).await.expect("signed by the real one");
    let pem = pinion_proto::bundle::certificates_to_pem(signed.chain.certificates());
    ca.behave("/1.0/sign", Manner::Answer(201, json!({ "crt": pem, "ca": "" }).to_string()));
    let error = fixture.issuers.sign(&fixture.name, order, None).await.expect_err("another root");
    unavailable(&error, &["check what was signed"]);
}

#[tokio::test]
async fn what_a_refusal_teaches_is_known_although_the_ca_is_looked_at_meanwhile() {
    let ca = HostileCa::start_signing().await.expect("a CA");
    let words = "requested duration of 720h1m0s is more than the authorized maximum certificate duration of 24h1m0s.";
    let refusal = Manner::Answer(403, json!({ "status": 403, "message": words }).to_string());
    ca.behave_in_turn("/1.0/sign", [refusal.after(Duration::from_secs(2)), Manner::Sign]);
    let fixture = Fixture::hostile(&ca);
    // The new session of who looks has begun before the refusal is there.
    let look = async {
        while ca.calls_of("/1.0/sign") == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        fixture.issuers.check(&fixture.name).await
    };
    let (signed, looked) = tokio::join!(fixture.sign(&["a.example"], 720 * HOUR), look);
    looked.expect("it could sign");
    assert_eq!(signed.expect("signed").shortened_to, Some(24 * HOUR));
}

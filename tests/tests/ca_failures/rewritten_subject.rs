//! A CA that puts something else into the subject than was ordered: taken as it is, and never asked in a circle.

use pinion_controller::events::Kind;
use pinion_tests::{
    ca::StepCa,
    journal, openssl,
    wait::{self, PATIENCE},
};
use serde_json::json;

use super::site::{NAME, PLACEMENT, Site, issuer_of};

const OTHER: &str = "other.internal.example";

#[test]
fn a_ca_that_writes_its_own_subject_is_asked_once_for_each_change() {
    for subject in [r#""subject": {"commonName": "somebody else"},"#, ""] {
        let ca = StepCa::start_with(|config| {
            let template = format!(
                r#"{{{subject} "sans": {{{{ toJson .SANs }}}}, "keyUsage": ["digitalSignature"],
                    "extKeyUsage": ["serverAuth", "clientAuth"]}}"#
            );
            config["authority"]["provisioners"][0]["options"] = json!({ "x509": { "template": template } });
        })
        .expect("a CA");
        let mut site = Site::try_start(issuer_of(&ca), "", json!({ "sans": [OTHER] })).expect("the site starts");
        site.bring_up().expect("the first certificate is served");
        for (signed, common_name, other) in [(2, OTHER, NAME), (3, NAME, OTHER)] {
            let before = site.installed().expect("installed and served");
            let placement = site.server.placement(&site.guest, "reload");
            let certificate =
                json!({ "name": "web", "common_name": common_name, "sans": [other], "placements": [placement] });
            let manifest = json!({ "version": 1, "defaults": { "issuer": "step-ca" }, "certificates": [certificate] });
            site.host.write_manifest(&manifest).expect("the manifest is written");
            wait::until("the change to be acted on", PATIENCE, || match journal::issued(&site.host, PLACEMENT) {
                Ok(issued) if issued.len() == signed => Ok(()),
                other => Err(format!("{other:?}")),
            })
            .expect("it is ordered anew");
            site.wait_renewed(&before);
            let served = openssl::subject(&site.guest.read("/etc/ssl/web/web.crt").expect("a chain")).expect("a leaf");
            assert!(!served.contains(NAME) && !served.contains(OTHER), "the CA has its own idea: {served}");
            site.guest.restart().expect("the agent restarts");
            site.host.restart().expect("the controller restarts");
            site.guest.wait_linked(&site.host).expect("linked");
            for _ in 0..5 {
                site.host.ensure(&[], "served").expect("served");
            }
            assert_eq!(ca.signed(), signed, "one for each change, by the CA's own log");
        }
        let refused = journal::events(&site.host).expect("events").into_iter().find(|e| e.kind == Kind::Refused);
        assert_eq!(refused, None);
    }
}

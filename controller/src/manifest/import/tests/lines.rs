//! Every shape of line that is known: what it becomes.

use serde_json::{Value, json};

use super::{documents, entry, look_at};

/// The placement that one line becomes, without its guest.
fn placement(line: &str) -> Value {
    let (certificates, report) = documents(&json!([entry(line)]));
    assert_eq!(report["hooks"], json!([]), "{line}\n{}", look_at(&report));
    let mut placement = certificates[0]["placements"][0].clone();
    let guest = placement.as_object_mut().and_then(|fields| fields.remove("guest"));
    assert_eq!(guest, Some(json!(101)), "{line}");
    placement
}

/// In the guest, with a shell.
fn inside(script: &str) -> String {
    format!("pct exec 101 -- bash -c '{script}'")
}

const PAIR: &str = "mv /tmp/cert.pem /etc/ssl/app/app.crt && mv /tmp/key.pem /etc/ssl/app/app.key";

fn files() -> Value {
    json!({ "fullchain": { "path": "/etc/ssl/app/app.crt" }, "key": { "path": "/etc/ssl/app/app.key" } })
}

#[test]
fn nginx_in_every_way_that_it_is_notified() {
    let pair = "mv /tmp/cert.pem /etc/nginx/ssl/web.internal.example.crt; mv /tmp/key.pem /etc/nginx/ssl/web.internal.example.key";
    for notified in [
        "systemctl reload nginx",
        "systemctl restart nginx.service",
        "/usr/bin/systemctl --quiet reload-or-restart nginx",
        "nginx -t && systemctl reload nginx",
        "nginx -t && nginx -s reload",
        "service nginx reload",
        "rc-service nginx restart",
        "sudo systemctl reload nginx || true",
        "systemctl reload nginx || systemctl restart nginx",
        "systemctl reload nginx >/dev/null 2>&1",
        "systemctl reload nginx 2>/dev/null || :",
        "(nginx -t; systemctl reload nginx)",
        "systemctl stop nginx; systemctl start nginx",
        "sleep 2; echo reloading; systemctl reload nginx # at last",
    ] {
        assert_eq!(placement(&inside(&format!("{pair} && {notified}"))), json!({ "recipe": "nginx" }), "{notified}");
    }
    // The recipe knows the paths; without any, the line is as good.
    assert_eq!(placement("pct exec 101 -- systemctl reload nginx"), json!({ "recipe": "nginx" }));
    assert_eq!(placement("pct exec 101 systemctl reload nginx"), json!({ "recipe": "nginx" }));
    assert_eq!(placement("lxc-attach -n 101 -- nginx -s reload"), json!({ "recipe": "nginx" }));
    assert_eq!(
        placement("lxc-attach --name=101 -- sh -c \"nginx -t && nginx -s reload\""),
        json!({ "recipe": "nginx" })
    );
}

#[test]
fn files_elsewhere_override_the_recipe() {
    let line = inside(
        "install -o root -g ssl -m 0644 /tmp/cert.pem /etc/nginx/certs/web.crt && install -D -m600 /tmp/key.pem \
         /etc/nginx/certs/web.key && systemctl reload nginx",
    );
    assert_eq!(
        placement(&line),
        json!({ "recipe": "nginx", "files": {
            "fullchain": { "path": "/etc/nginx/certs/web.crt", "group": "ssl" },
            "key": { "path": "/etc/nginx/certs/web.key", "mode": "0600" } } })
    );
    let (_, report) = documents(&json!([entry(&line)]));
    assert_eq!(report["allow"], json!({ "101": { "extra_directories": ["/etc/nginx/certs"] } }));
}

#[test]
fn dockerd_is_restarted_whatever_was_done_with_it() {
    let pair = "mkdir -p /etc/docker/tls && mv /tmp/cert.pem /tmp/key.pem /tmp/ca.pem /etc/docker/tls/ && chmod 600 /etc/docker/tls/key.pem";
    for notified in [
        "(systemctl is-active --quiet docker && systemctl reload docker || systemctl start docker)",
        "systemctl is-active --quiet docker && systemctl restart docker || systemctl start docker",
        "systemctl restart docker",
    ] {
        for exec in ["qm guest exec 101 -- /bin/bash -c", "qm guest exec 101 --timeout 60 -- bash -lc"] {
            let line = format!("{exec} '{pair} && {notified}'");
            assert_eq!(placement(&line), json!({ "recipe": "docker" }), "{line}");
        }
    }
}

#[test]
fn traefik_and_its_client_pair() {
    let server = "cp /tmp/cert.pem /etc/traefik/certs/web.internal.example.crt && cp /tmp/key.pem \
                  /etc/traefik/certs/web.internal.example.key && systemctl start traefik";
    assert_eq!(placement(&inside(server)), json!({ "recipe": "traefik" }));
    let client = "mv /tmp/cert.pem /etc/traefik/certs/client-cert.pem && mv /tmp/key.pem /etc/traefik/certs/client-key.pem \
                  && mv /tmp/ca.pem /etc/traefik/certs/ca.pem && systemctl restart traefik";
    // By its files, whatever cert_type says.
    assert_eq!(placement(&inside(client)), json!({ "recipe": "traefik-client" }));
}

#[test]
fn secrets_of_a_swarm_service() {
    let secrets = |prefix: &str| {
        ["cert", "key", "ca"]
            .map(|part| {
                let name = format!("{prefix}_{part}.pem");
                format!("docker secret rm {name}; docker secret create {name} /tmp/{part}.pem; ")
            })
            .concat()
    };
    let line = inside(&format!("{}docker service update --force portainer_portainer", secrets("portainer_tls")));
    assert_eq!(placement(&line), json!({ "recipe": "portainer-swarm" }));
    let line = inside(&format!("{}docker service update --force --detach web_app", secrets("tls")));
    assert_eq!(
        placement(&line),
        json!({ "recipe": "files", "reload": { "swarm": { "service": "web_app",
            "secrets": { "fullchain": "tls_cert.pem", "key": "tls_key.pem", "ca": "tls_ca.pem" } } } })
    );
    let (_, report) = documents(&json!([entry(&line)]));
    assert_eq!(report["allow"], json!({ "101": { "extra_swarm_services": ["web_app"] } }));
    let line = inside(
        "docker secret create k2 /tmp/key.pem && docker service update --secret-rm k1 --secret-add source=k2,target=tls.key web_app",
    );
    assert_eq!(
        placement(&line),
        json!({ "recipe": "files", "reload": { "swarm": { "service": "web_app", "secrets": { "key": "tls.key" } } } })
    );
}

#[test]
fn containers_and_signals() {
    let line = inside(&format!("{PAIR} && docker restart -t 5 registry"));
    let expected = json!({ "recipe": "docker-container", "files": files(), "reload": { "container": "registry" } });
    assert_eq!(placement(&line), expected);
    assert_eq!(placement(&inside(&format!("{PAIR}; docker container restart registry"))), expected);
    let expected = json!({ "recipe": "docker-container", "files": files(),
        "reload": { "signal": { "container": "web", "signal": "HUP" } } });
    for kill in ["docker kill -s HUP web", "docker kill --signal=SIGHUP web", "docker container kill --signal HUP web"]
    {
        assert_eq!(placement(&inside(&format!("{PAIR} && {kill}"))), expected, "{kill}");
    }
    let portainer = "mv /tmp/cert.pem /etc/portainer/certs/cert.pem; mv /tmp/key.pem /etc/portainer/certs/key.pem; docker restart portainer";
    assert_eq!(placement(&inside(portainer)), json!({ "recipe": "portainer" }));
}

#[test]
fn any_other_unit_and_several_of_them() {
    let line = inside(&format!(
        "{PAIR} && chown -R app:app /etc/ssl/app && chmod 640 /etc/ssl/app/*.key && systemctl restart app"
    ));
    assert_eq!(
        placement(&line),
        json!({ "recipe": "systemd-unit", "reload": { "restart": "app.service" }, "files": {
            "fullchain": { "path": "/etc/ssl/app/app.crt", "owner": "app", "group": "app" },
            "key": { "path": "/etc/ssl/app/app.key", "mode": "0640", "owner": "app", "group": "app" } } })
    );
    let (_, report) = documents(&json!([entry(&line)]));
    assert_eq!(report["allow"], json!({ "101": { "extra_units": ["app.service"] } }));
    let line = inside(&format!("{PAIR} && systemctl reload nginx && systemctl restart app"));
    assert_eq!(placement(&line)["reload"], json!([{ "reload": "nginx.service" }, { "restart": "app.service" }]));
}

#[test]
fn plain_moves_copies_and_pushes() {
    let line = inside(&format!("{PAIR} && chgrp www-data /etc/ssl/app/app.key && chmod 0640 /etc/ssl/app/app.key"));
    let expected = json!({ "files": { "fullchain": { "path": "/etc/ssl/app/app.crt" },
        "key": { "path": "/etc/ssl/app/app.key", "mode": "0640", "group": "www-data" } } });
    assert_eq!(placement(&line), expected);
    // Owners before the move are those after it.
    let line = inside(&format!("chown root:www-data /tmp/key.pem && chmod 640 /tmp/key.pem && {PAIR}"));
    assert_eq!(placement(&line), expected);
    let line = "pct push 101 /tmp/cert.pem /etc/ssl/app/app.crt --perms 0644 && pct push 101 /tmp/key.pem /etc/ssl/app/app.key \
                --group www-data --perms 0640 && rm -f /tmp/key.pem";
    assert_eq!(placement(line), expected);
    // Pushed under names of their own, and moved there.
    let line = "pct push 101 /tmp/cert.pem /tmp/app.crt; pct push 101 /tmp/key.pem /tmp/app.key; pct exec 101 -- mv /tmp/app.crt \
                /etc/ssl/app/app.crt; pct exec 101 -- mv /tmp/app.key /etc/ssl/app/app.key; pct exec 101 -- rm -f /tmp/app.key";
    assert_eq!(placement(line), json!({ "files": files() }));
}

#[test]
fn odd_quoting_says_the_same() {
    for line in [
        "pct exec 101 -- bash -c \"mv '/tmp/cert.pem' \\\"/etc/ssl/app/app.crt\\\" && mv /tmp/key.pem /etc/ssl/app/app.key\"",
        "pct exec 101 -- 'bash' -c 'mv \"/tmp/cert.pem\" /etc/ssl/'\"app/app.crt\"'; mv /tmp/key.pem /etc/ssl/app/app.key'",
        "pct exec 101 -- bash -c 'mv /tmp/cert.pem '\"'\"'/etc/ssl/app/app.crt'\"'\"' && mv /tmp/key.pem /etc/ssl/app/app.key'",
        "pct exec 101 -- bash -c 'mv /tmp/cert.pem \\\n/etc/ssl/app/app.crt\nmv /tmp/key.pem /etc/ssl/app/app.key'",
        "sudo pct exec 101 -- sudo sh -c 'sh -c \"mv /tmp/cert.pem /etc/ssl/app/app.crt; mv /tmp/key.pem /etc/ssl/app/app.key\"'",
    ] {
        assert_eq!(placement(line), json!({ "files": files() }), "{line}");
    }
}

#[test]
fn what_is_not_known_becomes_a_hook_and_a_line_of_the_report() {
    // What is left of the line, why, and whether it can be taken out of it.
    let cases = [
        ("curl -fsS 'http://x/a b'", "does not know `curl`", Some("curl -fsS 'http://x/a b'")),
        (
            "ssh root@10.0.0.5 'systemctl reload nginx'",
            "another machine",
            Some("ssh root@10.0.0.5 'systemctl reload nginx'"),
        ),
        ("docker exec web nginx -s reload", "nothing in a container", Some("docker exec web nginx -s reload")),
        (
            "docker compose -f /srv/x.yml restart web",
            "docker compose -f",
            Some("docker compose -f /srv/x.yml restart web"),
        ),
        ("docker stack deploy -c x.yml web", "docker stack deploy", Some("docker stack deploy -c x.yml web")),
        ("update-ca-certificates", "\"trust\": true", Some("update-ca-certificates")),
        ("systemctl daemon-reload", "this use of `systemctl`", Some("systemctl daemon-reload")),
        ("systemctl enable app", "does not enable units", Some("systemctl enable app")),
        ("systemctl stop app", "does not stop units", Some("systemctl stop app")),
        ("systemctl restart app.socket", "not a service", Some("systemctl restart app.socket")),
        (
            "cp /etc/passwd /etc/ssl/app/passwd.txt",
            "no file of this certificate",
            Some("cp /etc/passwd /etc/ssl/app/passwd.txt"),
        ),
        ("chmod u=rw,go= /etc/ssl/app/app.key", "octal", Some("chmod 'u=rw,go=' /etc/ssl/app/app.key")),
        ("chown root:root /etc/hosts", "not this certificate", Some("chown root:root /etc/hosts")),
        ("rm -rf /etc/ssl/old", "removes files", Some("rm -rf /etc/ssl/old")),
        ("cp /tmp/cert.pem /srv/copy.pem", "second copy", Some("cp /etc/ssl/app/app.crt /srv/copy.pem")),
        ("/opt/after.sh", "does not know `after.sh`", Some("/opt/after.sh")),
        ("bash /opt/after.sh", "runs a script", Some("sh /opt/after.sh")),
        ("docker secret create x /tmp/key.pem", "updates no service", None),
        ("docker service update --force web", "makes no secret", None),
        ("cat /tmp/cert.pem /tmp/key.pem > /etc/ssl/app/both.pem", "redirected", None),
        ("systemctl is-active app | grep -q active", "a pipe", None),
        ("systemctl reload $UNIT", "a variable (`$UNIT`)", None),
        ("systemctl reload ${UNIT}", "`${UNIT}` means something else", None),
        ("UNIT=app systemctl reload app", "sets a variable", None),
        ("UNIT=app", "sets a variable", None),
        ("systemctl restart $(cat /run/unit)", "a command substitution", None),
        ("systemctl restart `cat /run/unit`", "a command substitution", None),
        ("systemctl restart app &", "in the background", None),
        ("! systemctl reload app", "negated", None),
        ("if true; then systemctl reload app; fi", "cannot be read as shell", None),
        ("test -e /x && systemctl reload app || systemctl restart other", "`||`", None),
        ("cp ~/x /etc/ssl/app/x.pem", "home directory", None),
        ("cp /tmp/{cert,key}.pem /etc/ssl/app/", "braces", None),
        ("rm /etc/ssl/old*", "file pattern", None),
    ];
    for (line, why, command) in cases {
        // In double quotes, as the cases have single ones.
        let script = format!("{PAIR}; {line}")
            .replace('\\', "\\\\")
            .replace('"', "\\\"")
            .replace('$', "\\$")
            .replace('`', "\\`");
        let (certificates, report) = documents(&json!([entry(&format!("pct exec 101 -- bash -c \"{script}\""))]));
        let placement = &certificates[0]["placements"][0];
        let looked = look_at(&report);
        assert!(looked.contains(why), "{line}: {looked}");
        assert_eq!(report["hooks"][0]["file"], json!("101/web-reload"), "{line}");
        let reloads = placement["reload"].to_string();
        assert!(reloads.contains("{\"hook\":\"web-reload\"}"), "{line}: {reloads}");
        let hook = report["hooks"][0]["content"].as_str().expect("text");
        let alive: Vec<_> = hook.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
        let guard = ["echo 'web-reload: not reviewed yet' >&2", "exit 1"];
        assert_eq!(alive[..2], guard, "{hook}");
        assert_eq!(alive.get(2).copied(), command, "{line}: {hook}");
        // Whatever it is, the whole line is there to read.
        assert!(hook.contains(&format!("#     pct exec 101 -- bash -c \"{script}\"")), "{hook}");
    }
}

#[test]
fn more_than_a_placement_can_have_is_left() {
    let units = (0..40).map(|number| format!("app{number}")).collect::<Vec<_>>().join(" ");
    let (certificates, report) = documents(&json!([entry(&inside(&format!("{PAIR}; systemctl restart {units}")))]));
    assert_eq!(certificates[0]["placements"][0]["reload"].as_array().map(Vec::len), Some(15));
    assert!(look_at(&report).contains("at most 16 services"), "{}", look_at(&report));
    let twice = "docker secret create x /tmp/key.pem; docker secret create x /tmp/cert.pem; docker secret create y /tmp/key.pem; \
                 docker service update --force web";
    let (certificates, report) = documents(&json!([entry(&inside(twice))]));
    assert_eq!(certificates[0]["placements"][0]["reload"][0]["swarm"]["secrets"], json!({ "key": "x" }));
    assert!(look_at(&report).contains("sees this secret or this part already"), "{}", look_at(&report));
}

#[test]
fn a_hook_has_a_name_however_long_the_certificates_is() {
    let mut long = entry("pct exec 101 -- curl http://x/");
    long["common_name"] = "*.a-very-long-name-of-an-organisation.internal.example".into();
    long["cert_type"] = "client".into();
    let mut again = long.clone();
    again["sans"] = json!(["10.0.0.1"]);
    let (certificates, report) = documents(&json!([long, again]));
    for certificate in certificates.as_array().expect("a list") {
        let reload = certificate["placements"][0]["reload"].clone();
        let name = format!("{}-reload", certificate["name"].as_str().expect("a name"));
        assert_eq!(reload, json!({ "hook": name }));
    }
    assert_eq!(report["hooks"].as_array().map(Vec::len), Some(2));
}

#[test]
fn several_commands_of_which_one_is_not_known() {
    let line = inside(&format!("{PAIR} && systemctl restart app && curl http://x/ && chmod 600 /etc/ssl/app/app.key"));
    let (certificates, report) = documents(&json!([entry(&line)]));
    assert_eq!(
        certificates[0]["placements"][0]["reload"],
        json!([{ "restart": "app.service" }, { "hook": "web-reload" }])
    );
    let hook = report["hooks"][0]["content"].as_str().expect("text");
    assert!(hook.contains("\nset -e\n") && hook.contains("\ncurl http://x/\n"), "{hook}");
    assert!(hook.contains("#     systemctl restart app\n"), "what Pinion does is a comment: {hook}");
}

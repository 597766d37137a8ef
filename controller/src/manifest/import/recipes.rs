//! The shipped recipes that old entries become, as far as the import must know them: files, and what is notified.
//!
//! Invariant: the recipes themselves are the agent's; a test compares this table with them.

use std::collections::BTreeMap;

use pinion_proto::{
    containers::SwarmSecrets,
    names::SubjectName,
    spec::{Part, Reload},
};

/// A recipe, as far as it matters here.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Recipe {
    pub(super) name: &'static str,
    /// Its files: part, path, mode, owner and group.
    pub(super) files: &'static [(Part, &'static str, &'static str, &'static str, &'static str)],
    pub(super) notifies: Notifies,
    /// Where it looks at what is served.
    pub(super) probe: Option<&'static str>,
    /// Its certificate is a client's.
    pub(super) client: bool,
    /// What it does otherwise than the old scripts.
    pub(super) note: Option<&'static str>,
}

/// What a recipe notifies.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Notifies {
    Nothing,
    /// What the placement says, and it must.
    Placement,
    Reload(&'static str),
    Restart(&'static str),
    Container(&'static str),
    Touch(&'static str),
    Swarm(&'static str, &'static [(Part, &'static str)]),
}

/// Where Pinion puts files of no service in particular.
pub(super) const OWN_DIRECTORY: &str = "/etc/pinion/certs";

const fn plain(
    part: Part,
    path: &'static str,
    mode: &'static str,
) -> (Part, &'static str, &'static str, &'static str, &'static str) {
    (part, path, mode, "root", "root")
}

const OWN: &[(Part, &str, &str, &str, &str)] = &[
    plain(Part::Fullchain, "/etc/pinion/certs/{common_name}.crt", "0644"),
    plain(Part::Key, "/etc/pinion/certs/{common_name}.key", "0600"),
    plain(Part::Ca, "/etc/pinion/certs/{common_name}.ca.crt", "0644"),
];

/// All of them.
pub(super) const RECIPES: &[Recipe] = &[
    Recipe {
        name: "nginx",
        files: &[
            (Part::Fullchain, "/etc/nginx/ssl/{common_name}.crt", "0644", "root", "www-data"),
            (Part::Key, "/etc/nginx/ssl/{common_name}.key", "0640", "root", "www-data"),
        ],
        notifies: Notifies::Reload("nginx.service"),
        probe: Some("127.0.0.1:443"),
        client: false,
        note: None,
    },
    Recipe {
        name: "nginx-client",
        files: &[
            (Part::Fullchain, "/etc/nginx/ssl/nginx-client.crt", "0644", "root", "www-data"),
            (Part::Key, "/etc/nginx/ssl/nginx-client.key", "0640", "root", "www-data"),
        ],
        notifies: Notifies::Reload("nginx.service"),
        probe: None,
        client: true,
        note: None,
    },
    Recipe {
        name: "docker",
        files: &[
            plain(Part::Fullchain, "/etc/docker/tls/cert.pem", "0644"),
            plain(Part::Key, "/etc/docker/tls/key.pem", "0600"),
            plain(Part::Ca, "/etc/docker/tls/ca.pem", "0644"),
        ],
        notifies: Notifies::Restart("docker.service"),
        probe: Some("127.0.0.1:2376"),
        client: false,
        note: Some("dockerd loads its certificate only when it starts, so Pinion restarts it"),
    },
    Recipe {
        name: "docker-client",
        files: &[
            plain(Part::Fullchain, "/root/.docker/cert.pem", "0644"),
            plain(Part::Key, "/root/.docker/key.pem", "0600"),
            plain(Part::Ca, "/root/.docker/ca.pem", "0644"),
        ],
        notifies: Notifies::Nothing,
        probe: None,
        client: true,
        note: None,
    },
    Recipe {
        name: "traefik",
        files: &[
            plain(Part::Fullchain, "/etc/traefik/certs/{common_name}.crt", "0644"),
            plain(Part::Key, "/etc/traefik/certs/{common_name}.key", "0600"),
        ],
        notifies: Notifies::Touch("/etc/traefik/dynamic"),
        probe: Some("127.0.0.1:443"),
        client: false,
        note: Some(
            "Traefik does not watch certificates: Pinion touches /etc/traefik/dynamic, the directory of its dynamic configuration",
        ),
    },
    Recipe {
        name: "traefik-client",
        files: &[
            plain(Part::Fullchain, "/etc/traefik/certs/client-cert.pem", "0644"),
            plain(Part::Key, "/etc/traefik/certs/client-key.pem", "0600"),
            plain(Part::Ca, "/etc/traefik/certs/ca.pem", "0644"),
        ],
        notifies: Notifies::Restart("traefik.service"),
        probe: None,
        client: true,
        note: Some("Traefik reads this pair only when it starts"),
    },
    Recipe {
        name: "portainer",
        files: &[
            plain(Part::Fullchain, "/etc/portainer/certs/cert.pem", "0644"),
            plain(Part::Key, "/etc/portainer/certs/key.pem", "0600"),
            plain(Part::Ca, "/etc/portainer/certs/ca.pem", "0644"),
        ],
        notifies: Notifies::Container("portainer"),
        probe: Some("127.0.0.1:9443"),
        client: false,
        note: None,
    },
    Recipe {
        name: "portainer-swarm",
        files: OWN,
        notifies: Notifies::Swarm(
            "portainer_portainer",
            &[
                (Part::Fullchain, "portainer_tls_cert.pem"),
                (Part::Key, "portainer_tls_key.pem"),
                (Part::Ca, "portainer_tls_ca.pem"),
            ],
        ),
        probe: Some("127.0.0.1:9443"),
        client: false,
        note: Some(
            "secrets that are in use cannot be replaced: Pinion makes new versions, which the service sees under the same names",
        ),
    },
    Recipe {
        name: "pveproxy",
        // Its files are Proxmox's, which this part of the controller does not know: an entry names them.
        files: &[],
        notifies: Notifies::Reload("pveproxy.service"),
        probe: Some("127.0.0.1:8006"),
        client: false,
        note: None,
    },
    Recipe { name: "systemd-unit", files: OWN, notifies: Notifies::Placement, probe: None, client: false, note: None },
    Recipe {
        name: "docker-container",
        files: OWN,
        notifies: Notifies::Placement,
        probe: None,
        client: false,
        note: None,
    },
    Recipe { name: "files", files: OWN, notifies: Notifies::Nothing, probe: None, client: false, note: None },
];

/// Units with a recipe of their own that no old entry becomes, because its files are elsewhere.
pub(super) const MORE: &[(&str, &str)] = &[
    ("apache2.service", "apache"),
    ("caddy.service", "caddy"),
    ("dovecot.service", "dovecot"),
    ("haproxy.service", "haproxy"),
    ("mariadb.service", "mariadb"),
    ("mosquitto.service", "mosquitto"),
    ("postfix.service", "postfix"),
    ("postgresql.service", "postgresql"),
    ("redis-server.service", "redis"),
    ("slapd.service", "openldap"),
];

/// The recipe that a person may choose for a unit.
pub(super) fn for_unit(unit: &str) -> Option<&'static str> {
    MORE.iter().find(|(known, _)| *known == unit).map(|(_, recipe)| *recipe)
}

/// The recipe of this name.
pub(super) fn named(name: &str) -> &'static Recipe {
    RECIPES.iter().find(|recipe| recipe.name == name).unwrap_or(&RECIPES[RECIPES.len() - 1])
}

impl Recipe {
    /// Where a part is, for a certificate of this common name.
    pub(super) fn path(&self, part: Part, common_name: &SubjectName) -> Option<String> {
        let (_, path, ..) = self.files.iter().find(|file| file.0 == part)?;
        Some(path.replace("{common_name}", &common_name.plain().replace('*', "_wildcard")))
    }

    /// What it notifies, as a placement would say it; none where the placement must.
    pub(super) fn reload(&self) -> Option<Reload> {
        const PROOF: &str = "the table's names are checked by a test";
        Some(match &self.notifies {
            Notifies::Nothing | Notifies::Placement => return None,
            Notifies::Reload(unit) => Reload::Reload(unit.parse().expect(PROOF)),
            Notifies::Restart(unit) => Reload::Restart(unit.parse().expect(PROOF)),
            Notifies::Container(name) => Reload::Container(name.parse().expect(PROOF)),
            Notifies::Touch(path) => Reload::Touch(path.parse().expect(PROOF)),
            Notifies::Swarm(service, secrets) => {
                let secrets = secrets.iter().map(|(part, name)| (*part, name.parse().expect(PROOF)));
                let secrets: BTreeMap<_, _> = secrets.collect();
                Reload::Swarm(SwarmSecrets { service: service.parse().expect(PROOF), secrets })
            }
        })
    }

    /// The unit that it notifies sooner or later.
    pub(super) fn unit(&self) -> Option<&'static str> {
        match self.notifies {
            Notifies::Reload(unit) | Notifies::Restart(unit) => Some(unit),
            Notifies::Touch(_) => Some("traefik.service"),
            _ => None,
        }
    }

    /// Whether its files are those of no service in particular.
    pub(super) fn is_general(&self) -> bool {
        self.files.as_ptr() == OWN.as_ptr()
    }
}

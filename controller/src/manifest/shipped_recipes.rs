//! The recipes that every agent has.

/// Their names, sorted.
pub(crate) const SHIPPED_RECIPES: [&str; 34] = [
    "apache",
    "ca-certificates",
    "ca-trust",
    "caddy",
    "cups",
    "docker",
    "docker-client",
    "docker-container",
    "docker-context",
    "dovecot",
    "files",
    "forgejo",
    "gitea",
    "grafana",
    "haproxy",
    "mariadb",
    "mosquitto",
    "nginx",
    "nginx-client",
    "openldap",
    "portainer",
    "portainer-swarm",
    "postfix",
    "postgresql",
    "proxmox-backup",
    "proxmox-datacenter-manager",
    "proxmox-mail-gateway",
    "pveproxy",
    "rabbitmq",
    "redis",
    "samba",
    "systemd-unit",
    "traefik",
    "traefik-client",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_the_agents() {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../agent/recipes");
        let entries = std::fs::read_dir(directory).expect("the agent's recipes");
        let names = entries.map(|entry| entry.expect("an entry").path());
        let mut names: Vec<_> = names.filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned())).collect();
        names.sort_unstable();
        assert_eq!(names, SHIPPED_RECIPES);
    }
}

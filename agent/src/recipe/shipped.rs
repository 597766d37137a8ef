//! The recipes in the binary.

/// Their names and texts, in the order that they are documented in.
pub(super) const SHIPPED: [(&str, &str); 18] = [
    ("files", include_str!("../../recipes/files.toml")),
    ("systemd-unit", include_str!("../../recipes/systemd-unit.toml")),
    ("nginx", include_str!("../../recipes/nginx.toml")),
    ("nginx-client", include_str!("../../recipes/nginx-client.toml")),
    ("haproxy", include_str!("../../recipes/haproxy.toml")),
    ("caddy", include_str!("../../recipes/caddy.toml")),
    ("traefik", include_str!("../../recipes/traefik.toml")),
    ("traefik-client", include_str!("../../recipes/traefik-client.toml")),
    ("postgresql", include_str!("../../recipes/postgresql.toml")),
    ("docker", include_str!("../../recipes/docker.toml")),
    ("docker-client", include_str!("../../recipes/docker-client.toml")),
    ("docker-context", include_str!("../../recipes/docker-context.toml")),
    ("docker-container", include_str!("../../recipes/docker-container.toml")),
    ("portainer", include_str!("../../recipes/portainer.toml")),
    ("portainer-swarm", include_str!("../../recipes/portainer-swarm.toml")),
    ("pveproxy", include_str!("../../recipes/pveproxy.toml")),
    ("ca-certificates", include_str!("../../recipes/ca-certificates.toml")),
    ("ca-trust", include_str!("../../recipes/ca-trust.toml")),
];

/// The text of a shipped recipe.
pub(super) fn text(name: &str) -> Option<&'static str> {
    SHIPPED.iter().find(|(shipped, _)| *shipped == name).map(|(_, text)| *text)
}

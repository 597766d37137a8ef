//! Each recipe with its real service: what is renewed is served, and a service that is not there is waited for.

mod place;
mod asked;
mod nginx;
mod haproxy;
mod caddy;
mod postgresql;
mod traefik;
mod units;
mod dockerd;
mod containers;
mod swarm;
mod own;

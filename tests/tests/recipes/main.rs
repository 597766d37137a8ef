//! Each recipe with its real service: what is renewed is served, a service that is not there is waited for, and
//! whatever goes wrong leaves the old certificate served.

mod fixture;
mod client_certificates;
mod nginx;
mod haproxy;
mod caddy;
mod postgresql;
mod traefik;
mod units;
mod dockerd;
mod containers;
mod swarm;
mod operators_recipe;
mod matrix;

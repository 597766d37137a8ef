//! Every service through every story: what is promised when something goes wrong, kept by each of them.
//!
//! Answers: is the old certificate served for as long as the new one cannot be, is it said why, and does all go on by
//! itself? The rows are in [`services`], the stories in [`stories`]; each row goes through all of them, in one place.
//! Invariant: recipes are the shipped ones, with less patience for what a service shows.

mod container;
mod services;
mod stories;
mod subject;
mod trial;
mod watched;

use anyhow::Context;
use stories::STORIES;
use trial::Trial;

fn goes_through(row: anyhow::Result<Trial>) {
    let mut trial = row.unwrap_or_else(|error| panic!("{error:#}"));
    for (story, told) in STORIES {
        let told = told(&mut trial).with_context(|| format!("{}: {story}", trial.row.recipe));
        told.unwrap_or_else(|error| panic!("{error:#}\nthe agent's log ends:\n{}", trial.place.guest.log_tail()));
    }
}

macro_rules! rows {
    ($($service:ident),*) => { $(#[test] fn $service() { goes_through(services::$service()); })* };
}

rows!(nginx, haproxy, caddy, postgresql, dockerd, portainer, systemd_unit, traefik, pveproxy);

//! What is released, where people install it: packages on fresh Debian 12 and 13 machines with a real systemd, and the agent's
//! archive in guests with other service managers.
#![allow(clippy::print_stdout, reason = "what was measured is something to know")]

mod ansible;
mod apt;
mod archive;
mod by_hand;
mod cloud_init;
mod doctor;
mod facts;
mod life;
mod tutorial;
mod upgrade;

//! Everyone who means ill, at the real port and at a real agent: strangers, broken guests, a broken controller.
//!
//! Each is refused, learns nothing, is told to the operator, and harms nobody else.

mod allow_list;
mod compromised_controller;
mod malformed_connections;
mod earlier_agents;
mod fake_controller;
mod connection_flood;
mod malicious_guests;
mod bad_identities;
mod large_messages;
mod lying_controller;
mod rogue_agent;
mod bad_join_tokens;
mod untrusted_text;

//! What a CA can do to Pinion, through the real programs: be away, be slow, lie, refuse, be another one.
//!
//! Each ends in the state that `pinion status` should show, heals by itself when the cause is gone, without a restart,
//! and leaves alone what is installed and served.

mod unavailable;
mod killed_before_delivery;
mod call_limits;
mod proxy;
mod refusing;
mod ending_authority;
mod site;
mod rewritten_subject;
mod durations_and_clocks;

//! A month in some seconds: the controller and an agent by a clock whose hands the test moves.

mod expiry;
mod hundred_days;
mod alarms;
mod clock_jumps;
mod one_process;
mod month_of_renewals;
mod clock_set_wrong;
mod next_root;

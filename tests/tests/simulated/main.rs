//! A month in some seconds: the controller and an agent by a clock whose hands the test moves.

mod hundred_days;
mod jumps;
mod lab;
mod month;
mod steps;

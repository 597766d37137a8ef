//! `pct`, `qm` or `pvesh` of a host that boots in the lab, by the name under which it is installed.

use std::process::ExitCode;

fn main() -> ExitCode {
    pinion_tests::lab::relay::main()
}

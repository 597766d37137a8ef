//! The lab's `pct`.

use std::process::ExitCode;

fn main() -> ExitCode {
    pinion_tests::lab::tools::pct::main()
}

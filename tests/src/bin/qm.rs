//! The lab's `qm`.

use std::process::ExitCode;

fn main() -> ExitCode {
    pinion_tests::lab::tools::qm::main()
}

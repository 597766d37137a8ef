//! The lab's `pmxcfs`.

use std::process::ExitCode;

fn main() -> ExitCode {
    pinion_tests::lab::pmxcfs::main()
}

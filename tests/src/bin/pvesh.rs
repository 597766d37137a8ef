//! The lab's `pvesh`.

use std::process::ExitCode;

fn main() -> ExitCode {
    pinion_tests::lab::tools::pvesh::main()
}

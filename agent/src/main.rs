//! `pinion-agent`: keeps this guest's certificates alive.

use std::process::ExitCode;

fn main() -> ExitCode {
    pinion_agent::cli::main()
}

//! `pinion`: keeps the certificates of a Proxmox host's guests alive.

use std::process::ExitCode;

fn main() -> ExitCode {
    pinion_controller::cli::main()
}

//! The man pages and the reference of `pinion` and `pinion-agent`, from what the programs are.
//!
//! Both programs are here at once, and neither has what writes the pages in it: the agent is small. Completions they
//! print themselves.

pub mod pages;
pub mod reference;

use clap::Command;

/// Both programs' commands, complete.
fn programs() -> [Command; 2] {
    [pinion_controller::cli::command(), pinion_agent::cli::command()].map(|command| {
        // `help COMMAND` says what the pages say.
        let mut command = command.disable_help_subcommand(true);
        command.build();
        command
    })
}

//! `pinion-agent completions`.

use clap::{Command, ValueEnum};
use clap_complete::shells;
use pinion_proto::{exit::Exit, out};

/// The shells that it is completed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// Prints the script with which a shell completes this program's command lines.
pub(super) fn completions(shell: Shell, mut command: Command) -> Exit {
    let (name, mut script) = (command.get_name().to_owned(), Vec::new());
    match shell {
        Shell::Bash => clap_complete::generate(shells::Bash, &mut command, name, &mut script),
        Shell::Zsh => clap_complete::generate(shells::Zsh, &mut command, name, &mut script),
        Shell::Fish => clap_complete::generate(shells::Fish, &mut command, name, &mut script),
    }
    // clap_complete takes the hyphen of our name for one between a command and its subcommand, in half of the places.
    out!("{}", String::from_utf8_lossy(&script).replace("pinion__subcmd__agent", "pinion__agent"));
    Exit::Reached
}

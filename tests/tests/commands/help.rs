//! What `--help` of both programs explains.

#[test]
fn every_command_and_option_is_explained() {
    for (mut command, program) in
        [(pinion_controller::cli::command(), "pinion"), (pinion_agent::cli::command(), "pinion-agent")]
    {
        command.clone().debug_assert();
        let help = command.render_long_help().to_string();
        for (code, meaning) in
            ["reached", "internal", "usage", "timed out", "blocked", "can't be reached", "no such name"]
                .into_iter()
                .enumerate()
        {
            // Lines are broken where the terminal ends.
            let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
            let (_, rest) = help.split_once(&format!(" {code} ")).unwrap_or_else(|| panic!("{program} {code}: {help}"));
            assert!(rest.split(',').next().is_some_and(|words| words.contains(meaning)), "{program} {code}: {rest}");
        }
        explained(&command, program);
    }
}

/// Each command says what it does, and each of its arguments what it is for.
fn explained(command: &clap::Command, path: &str) {
    assert!(command.get_about().is_some_and(|about| !about.to_string().is_empty()), "{path}");
    for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
        assert!(argument.get_help().is_some(), "{path} {}", argument.get_id());
    }
    for inner in command.get_subcommands() {
        explained(inner, &format!("{path} {}", inner.get_name()));
    }
}

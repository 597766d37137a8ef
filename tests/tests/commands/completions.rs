//! Shells complete the command lines of both programs.

use std::{collections::BTreeSet, fs, process::Command};

use pinion_tests::{
    process::{self, Finished},
    program,
    wait::PATIENCE,
};

/// What bash offers for the last word of a command line, as its own machinery asks for it.
fn bash_offers(script: &str, line: &[&str]) -> BTreeSet<String> {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("script");
    fs::write(&file, script).expect("written");
    // The function that the script has registered is called as bash calls it (bash(1), "Programmable Completion").
    let ask = r#"
        source "$1"; shift
        spec=$(complete -p "$1") && function=${spec#*-F } && function=${function%% *} || exit 1
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_LINE="$*" COMP_POINT=${#COMP_LINE}
        "$function" "$1" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let mut bash = Command::new(program::found("bash").expect("bash"));
    bash.args(["--noprofile", "--norc", "-c", ask, "bash"]).arg(&file).args(line);
    let offered = process::run(&mut bash, b"", PATIENCE).and_then(Finished::succeeded).expect("it completes");
    assert_eq!(offered.stderr, "", "{line:?}");
    offered.stdout.split_whitespace().map(ToOwned::to_owned).collect()
}

fn script(program: &str, shell: &str) -> String {
    let mut command = Command::new(program::own(program).expect("it is built"));
    // No configuration is needed: a package is built where there is none.
    command.args(["--root", "/nonexistent", "completions", shell]);
    process::run(&mut command, b"", PATIENCE).and_then(Finished::succeeded).expect("a script").stdout
}

#[test]
fn bash_completes_commands_options_and_stages() {
    let pinion = script("pinion", "bash");
    let agent = script("pinion-agent", "bash");
    for (script, line, offered) in [
        (&pinion, &["pinion", "sta"][..], &["status"][..]),
        (&pinion, &["pinion", "guest", "e"], &["enroll", "evict"]),
        (&pinion, &["pinion", "status", "--ch"], &["--check"]),
        (&pinion, &["pinion", "ensure", "web", "--until", ""], &["issued", "installed", "reloaded", "served"]),
        (&agent, &["pinion-agent", "re"], &["recipe"]),
        (&agent, &["pinion-agent", "recipe", "s"], &["show"]),
        (&agent, &["pinion-agent", "await", "web", "--until", "s"], &["served"]),
        (&agent, &["pinion-agent", "completions", ""], &["bash", "zsh", "fish"]),
    ] {
        let found = bash_offers(script, line);
        let missing: Vec<_> = offered.iter().filter(|word| !found.contains(**word)).collect();
        assert!(missing.is_empty(), "{line:?} offers {found:?}");
    }
    // One letter of it is enough.
    assert_eq!(bash_offers(&pinion, &["pinion", "sta"]), ["status".to_owned()].into());
}

#[test]
fn every_shell_gets_a_script_that_knows_every_command() {
    for (program, command) in
        [("pinion", pinion_controller::cli::command()), ("pinion-agent", pinion_agent::cli::command())]
    {
        for shell in ["bash", "zsh", "fish"] {
            let script = script(program, shell);
            for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
                assert!(script.contains(verb.get_name()), "{program} {shell}: {}", verb.get_name());
            }
            // Where the shell is installed, it is asked whether it understands the script.
            if let Ok(shell) = program::found(shell) {
                let syntax = process::run(Command::new(&shell).args(["-n", "/dev/stdin"]), script.as_bytes(), PATIENCE);
                let syntax = syntax.and_then(Finished::succeeded).expect("it is understood");
                assert_eq!(syntax.stderr, "", "{program} {}", shell.display());
            }
        }
    }
}

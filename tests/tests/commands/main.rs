//! What people and scripts call, on the host and in guests: what it shows, what it means, and how it ends.

mod await_certificate;
mod broken_pipe;
mod check;
mod completions;
mod permissions;
mod phoenix_scripts;
mod discovered;
mod doctor;
mod ensure;
mod explained;
mod failures;
mod feature_script;
mod join_prompt;
mod looked_at;
mod manifest_directory;
mod manual;
mod help;
mod import;
mod operator;
mod plan_file;
mod setup;
mod shown;
mod support_bundle;
mod timed;
mod watched;
mod impostor_daemons;

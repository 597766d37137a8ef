//! docs/reference/exit-codes.md: how both programs end.

use pinion_proto::exit::Exit;

use super::text::{cell, page, table};

const ABOUT: &str = "\
Both programs end with these codes, with and without `--json`. With `--json`, a command that fails prints the code as \
`exit_code` of its [`error`](json.md#errors).";

/// The page.
pub(super) fn write() -> String {
    let rows = Exit::ALL.map(|exit| vec![exit.code().to_string(), cell(exit.words()), cell(exit.meaning())]);
    format!("{}\n{}", page("Exit codes", ABOUT), table(&["code", "", "meaning"], rows))
}

//! docs/reference/json.md and schemas/: what the commands print with `--json`.

use std::collections::BTreeMap;

use pinion_proto::schema::Document;
use serde_json::Value;

use super::{
    text::{anchor, page, paragraphs},
    types::{self, Definitions},
};

const ABOUT: &str = "\
With `--json`, a command of either program prints one JSON document on standard output, and text for people on standard \
error. `pinion events` prints one document for each event, each on a line of its own.

Each document has a JSON Schema (draft 2020-12) in [schemas](schemas/). Members and words may be added. They are never \
renamed or removed, and a member that is `always` there stays: a test compares the schemas with the code, and what running \
programs print with the schemas. So ignore members that you do not know.

A time is RFC 3339 in UTC (`2026-12-22T03:12:33Z`). A length of time is written as in the manifest (`30d`, `1d12h`). A \
member that is `not always` there is absent, never `null`, where there is nothing to say.";

const ERRORS: &str = "\
If a command fails, its document is an object with the member `error`, and the exit code is the same as without `--json`:

    $ pinion status --json
    {\"error\":{\"exit_code\":5,\"message\":\"the controller can't be reached: …\",\"remedy\":\"start it …\"}}

A command that has an answer all the same adds `error` to it: its table below has the member. Wrong usage is reported in \
the same way if `--json` is on the command line. `issuer check` and `issuer root` print a list in any case; an issuer that \
cannot sign has a `trouble` in it, and the exit code tells you that there is one. If `events --follow` loses the \
controller, the last line has the `error`.";

/// All documents, those of errors first.
pub(super) fn documents() -> Vec<Document> {
    let mut documents = vec![Document::error()];
    documents.extend(pinion_controller::cli::documents());
    documents.extend(pinion_agent::cli::documents());
    documents
}

/// The page.
pub(super) fn write(documents: &[Document]) -> String {
    let mut text = page("JSON", ABOUT);
    let mut shared: BTreeMap<String, Value> = BTreeMap::new();
    for document in documents {
        let definitions = Definitions::of(&document.schema);
        let link = format!("[schema](schemas/{}.json)", document.name);
        if document.commands.is_empty() {
            text += &format!("\n## Errors\n\n{}\n\n{link}\n\n", paragraphs(ERRORS));
        } else {
            let commands: Vec<_> =
                document.commands.iter().map(|name| format!("[`{name}`](commands.md#{})", section(name))).collect();
            text += &format!("\n## {}\n\n", document.commands.join(", "));
            text += &format!("{}:\n{link}\n\n", commands.join(",\n"));
        }
        let about = document.schema["description"].as_str();
        if let Some(about) = about {
            text += &format!("{}\n\n", paragraphs(about));
        }
        text += &if document.schema["type"] == "array" {
            format!("A {}.\n", types::of(&document.schema, &definitions))
        } else {
            types::members(&document.schema, &definitions, false)
        };
        shared.extend(definitions.0);
    }
    let definitions = Definitions(shared.into_iter().collect());
    text += "\n## Objects in several documents\n";
    for (name, schema) in definitions.0.iter().filter(|(_, schema)| types::is_object(schema)) {
        text += &format!("\n### {name}\n\n");
        if let Some(about) = schema["description"].as_str() {
            text += &format!("{}\n\n", paragraphs(about));
        }
        text += &types::members(schema, &definitions, false);
    }
    text
}

/// The anchor of a command's section, whose heading has no options.
fn section(command: &str) -> String {
    anchor(command.split(" --").next().unwrap_or(command))
}

/// A schema's file.
pub(super) fn file(document: &Document) -> String {
    let text = serde_json::to_string_pretty(&document.schema).unwrap_or_default();
    format!("{text}\n")
}

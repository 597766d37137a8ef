//! docs/reference/configuration.md: controller.toml and agent.toml.

use pinion_proto::settings::{Otherwise, Table};

use super::text::{cell, page, paragraphs, table};

const ABOUT: &str = "\
Both files are TOML. A setting that Pinion does not know is a mistake. `pinion config check` and `pinion-agent config \
check` report every mistake at once, each with line and column. Restart the daemon after a change.

[The controller](../controller.md) and [the agent](../agent.md) explain what to choose. A duration is written as `\"90s\"`, \
`\"5m\"` or `\"1h\"`.";

/// The page.
pub(super) fn write() -> String {
    let mut text = page("Configuration", ABOUT);
    text += &file("controller.toml", "`/etc/pinion/controller.toml`, on the host.", &pinion_controller::config::TABLES);
    text += &file("agent.toml", "`/etc/pinion/agent.toml`, in each guest.", &pinion_agent::config::TABLES);
    text
}

fn file(name: &str, about: &str, tables: &[Table]) -> String {
    let mut text = format!("\n## {name}\n\n{about}\n");
    for one in tables {
        if !one.name.is_empty() {
            text +=
                &format!("\n### {name}: `[{}]`\n", one.name.replacen(", with ", "]`, with `", 1).trim_end_matches('`'))
                    .replace("\"]`\n", "\"`\n");
        }
        text += &format!("\n{}\n", paragraphs(one.about));
        if !one.settings.is_empty() {
            let rows = one.settings.iter().map(|setting| {
                let default = match setting.default {
                    Otherwise::Required => "required".to_owned(),
                    Otherwise::Value(value) => format!("`{value}`"),
                    Otherwise::Words(words) => cell(words),
                };
                vec![format!("`{}`", setting.name), cell(setting.kind), default, cell(setting.meaning)]
            });
            text += &format!("\n{}", table(&["setting", "type", "default", "meaning"], rows));
        }
    }
    text
}

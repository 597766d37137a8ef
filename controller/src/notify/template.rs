//! The bodies of webhooks: JSON documents with placeholders in their texts.
//!
//! Answers: which JSON does a service get?
//! A template is read as JSON first, and placeholders are replaced in the texts of the document that came of it, which is
//! then written as JSON again. So no library of templates is needed, and nothing that is put in can leave its text, whatever
//! its characters. A text that is one placeholder and nothing else becomes its value: a number, a list.
//! Invariant: what is put in is never read as a template again.

use pinion_proto::id::shown;
use serde_json::{Map, Value, json};
use thiserror::Error;

use super::{
    alarm::Severity,
    message::{Entry, MAX_LISTED, Message, State},
};

/// The longest text of a webhook (bytes): ntfy takes 4096 and makes a file of more, Slack's blocks take 3000.
const MAX_TEXT: usize = 2800;

/// Arrays and objects within each other, at most.
const MAX_DEPTH: usize = 32;

/// The names that may be put in.
const NAMES: [&str; 15] = [
    "title",
    "text",
    "state",
    "severity",
    "host",
    "time",
    "firing",
    "cleared",
    "remaining",
    "alarms",
    "priority",
    "priority_of_10",
    "emoji",
    "color",
    "teams_color",
];

/// What has a meaning in Markdown, and what addresses and mentions need.
const MARKDOWN: &str = r"\`*_{}[]()<>#+-!|~@:";

/// The name that only a body of ntfy's has: the topic, which is in the URL.
const TOPIC: &str = "topic";

/// A template that can be used.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Template(Value);

/// Why a text is no template.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum TemplateError {
    /// It is no JSON.
    #[error("it is not JSON: {0}")]
    Json(String),
    /// A placeholder has a name that there is not.
    #[error("there is no placeholder `{}`; there are: {}", shown(.0), NAMES.join(", "))]
    Name(String),
    /// What follows a name is nothing that may be done with it.
    #[error("`{}` is neither `slack`, `markdown` nor a number of characters", shown(.0))]
    Filter(String),
    /// A placeholder does not end.
    #[error("a placeholder `{{{{` has no end `}}}}`")]
    Open,
    /// It is too deep.
    #[error("it has more than {MAX_DEPTH} arrays and objects within each other")]
    Deep,
}

/// How a text is changed before it is put in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Filter {
    escape: Escape,
    max: Option<usize>,
}

/// For which reader a text is made harmless.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Escape {
    #[default]
    No,
    /// Slack's `&`, `<` and `>`, with which links and mentions begin.
    Slack,
    /// What Markdown, links and mentions begin with gets a backslash (CommonMark 2.4).
    Markdown,
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// It is no JSON, or has a placeholder that there is not.
    pub(super) fn parse(text: &str) -> Result<Self, TemplateError> {
        let value = serde_json::from_str(text).map_err(|error| TemplateError::Json(error.to_string()))?;
        let nothing = Map::from_iter(NAMES.iter().chain([&TOPIC]).map(|name| ((*name).to_owned(), Value::Null)));
        fill(&value, &nothing, 0)?;
        Ok(Self(value))
    }

    /// The body for a message, as JSON; `topic` is ntfy's.
    ///
    /// # Errors
    /// None that reading the template would not have found.
    pub(super) fn body(&self, message: &Message, host: &str, topic: Option<&str>) -> Result<Value, TemplateError> {
        let mut values = values(message, host);
        values.insert(TOPIC.to_owned(), topic.into());
        fill(&self.0, &values, 0)
    }
}

/// What may be put in, by name.
fn values(message: &Message, host: &str) -> Map<String, Value> {
    let (state, severity) = (message.state(), message.severity());
    let (priority, of_10, emoji, color, teams) = match (state, severity) {
        (State::Test, _) => (3, 5, "bell", 0x5B_8D_EF, "Accent"),
        (_, Severity::Critical) => (5, 9, "rotating_light", 0xD1_34_38, "Attention"),
        (_, Severity::Warning) => (4, 6, "warning", 0xE3_8B_06, "Warning"),
        (_, Severity::Info) => (3, 4, "white_check_mark", 0x2E_8B_57, "Good"),
    };
    let time = message.at().to_string();
    let values = json!({
        "title": message.title(host), "text": message.text(MAX_TEXT), "state": state, "severity": severity,
        "host": host, "time": time, "firing": message.fired().len() + message.repeated().len(),
        "cleared": message.cleared().len(), "remaining": message.remaining(), "alarms": listed(message),
        "priority": priority, "priority_of_10": of_10, "emoji": emoji, "color": color, "teams_color": teams,
    });
    match values {
        Value::Object(values) => values,
        _ => Map::new(),
    }
}

/// The alarms of a message as data, at most [`MAX_LISTED`] of each list.
pub(super) fn listed(message: &Message) -> Value {
    let lists = [("firing", message.fired()), ("repeated", message.repeated()), ("clear", message.cleared())];
    let entry = |state: &str, entry: &Entry| {
        let alarm = &entry.alarm;
        json!({
            "state": state, "kind": alarm.kind, "severity": alarm.kind.severity(), "subject": alarm.subject,
            "since": entry.since, "text": alarm.text,
        })
    };
    let all =
        lists.into_iter().flat_map(|(state, list)| list.iter().take(MAX_LISTED).map(move |one| entry(state, one)));
    Value::Array(all.collect())
}

fn fill(value: &Value, values: &Map<String, Value>, depth: usize) -> Result<Value, TemplateError> {
    if depth > MAX_DEPTH {
        return Err(TemplateError::Deep);
    }
    Ok(match value {
        Value::String(text) => fill_text(text, values)?,
        Value::Array(items) => {
            let items: Result<_, _> = items.iter().map(|item| fill(item, values, depth + 1)).collect();
            Value::Array(items?)
        }
        Value::Object(members) => {
            let member = |(name, value): (&String, &Value)| Ok((name.clone(), fill(value, values, depth + 1)?));
            let members: Result<_, TemplateError> = members.iter().map(member).collect();
            Value::Object(members?)
        }
        other => other.clone(),
    })
}

fn fill_text(text: &str, values: &Map<String, Value>) -> Result<Value, TemplateError> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        let (inside, end) = after.split_once("}}").ok_or(TemplateError::Open)?;
        let (name, filter) = placeholder(inside)?;
        let value = values.get(name).ok_or_else(|| TemplateError::Name(name.to_owned()))?;
        if before.is_empty() && end.is_empty() && out.is_empty() && filter == Filter::default() {
            return Ok(value.clone());
        }
        out += before;
        match value {
            Value::String(text) => out += &filter.apply(text),
            Value::Null => {}
            other => out += &filter.apply(&other.to_string()),
        }
        rest = end;
    }
    Ok(Value::String(out + rest))
}

fn placeholder(inside: &str) -> Result<(&str, Filter), TemplateError> {
    let mut parts = inside.split('|').map(str::trim);
    let name = parts.next().unwrap_or_default();
    let mut filter = Filter::default();
    for part in parts {
        match part {
            "slack" => filter.escape = Escape::Slack,
            "markdown" => filter.escape = Escape::Markdown,
            other => match other.parse() {
                Ok(max) if max > 0 => filter.max = Some(max),
                _ => return Err(TemplateError::Filter(other.to_owned())),
            },
        }
    }
    Ok((name, filter))
}

impl Filter {
    /// The text, escaped, and cut between two characters.
    fn apply(self, text: &str) -> String {
        let max = self.max.unwrap_or(usize::MAX);
        let (mut out, mut length) = (String::with_capacity(text.len()), 0);
        let mut characters = text.chars().peekable();
        while let Some(character) = characters.next() {
            let mut buffer = [0; 4];
            let plain = &*character.encode_utf8(&mut buffer);
            let escaped = match (self.escape, character) {
                (Escape::Slack, '&') => "&amp;".to_owned(),
                (Escape::Slack, '<') => "&lt;".to_owned(),
                (Escape::Slack, '>') => "&gt;".to_owned(),
                (Escape::Markdown, special) if MARKDOWN.contains(special) => format!("\\{plain}"),
                _ => plain.to_owned(),
            };
            // What services count are UTF-16's units.
            let units = escaped.encode_utf16().count();
            let reserve = usize::from(characters.peek().is_some());
            if length + units + reserve > max {
                out.push('…');
                break;
            }
            length += units;
            out += &escaped;
        }
        out
    }
}

#[cfg(test)]
mod tests;

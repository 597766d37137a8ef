//! What values of arguments and options may be.
//!
//! Invariant: in the order in which `JSONSchema.pm` looks: type, format, bounds, enumeration.

/// What a value may be.
#[derive(Debug, Clone, Copy)]
pub(in super::super) enum Kind {
    Vmid,
    Text,
    Flag,
    /// Of at least 0.
    Count,
    OneOf(&'static [&'static str]),
    /// A command line: everything that is left.
    Rest,
}

/// Why a value is refused.
pub(super) enum Wrong {
    /// The whole line, without naming the option.
    Flag,
    /// This value, for this reason.
    Value(String),
}

impl Kind {
    /// The value as the tool goes on with it.
    pub(super) fn check(self, value: &str) -> Result<String, Wrong> {
        let fine = Ok(value.to_owned());
        match self {
            Self::Text | Self::Rest => fine,
            Self::Vmid if !is_integer(value) => Err(Wrong::Value(no_integer(value))),
            Self::Vmid => {
                let digits = value.bytes().all(|byte| byte.is_ascii_digit());
                if digits && (3..=9).contains(&value.len()) && !value.starts_with('0') {
                    fine
                } else {
                    Err(Wrong::Value("invalid format - value does not look like a valid VM ID\n".into()))
                }
            }
            Self::Count if !is_integer(value) => Err(Wrong::Value(no_integer(value))),
            Self::Count if value.starts_with('-') => Err(Wrong::Value("value must have a minimum value of 0".into())),
            Self::Count => fine,
            Self::Flag => match value.to_lowercase().as_str() {
                "" | "1" | "on" | "yes" | "true" => Ok("1".into()),
                "0" | "off" | "no" | "false" => Ok("0".into()),
                _ => Err(Wrong::Flag),
            },
            Self::OneOf(words) if words.contains(&value) => fine,
            Self::OneOf(words) => Err(Wrong::Value(format!(
                "value '{value}' does not have a value in the enumeration '{}'",
                words.join(", ")
            ))),
        }
    }
}

fn is_integer(value: &str) -> bool {
    let digits = value.strip_prefix(['+', '-']).unwrap_or(value);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

fn no_integer(value: &str) -> String {
    format!("type check ('integer') failed - got '{value}'")
}

//! Lengths of time as people write them: `30d`, `12h 30m`.

use std::time::Duration;

use pinion_proto::{length::Length, spec::Settle};

use super::node::Node;

/// Nothing renews reliably that is valid for less: step-ca's own minimum, too.
const LEAST_DURATION: Duration = Duration::from_secs(5 * 60);

/// Longer is a slip of the pen; authorities themselves live ten years.
const MAX_DURATION: Duration = Duration::from_secs(3_652 * 24 * 60 * 60);

/// How long a certificate is valid.
pub(super) fn duration(node: Node<'_>) -> Option<Duration> {
    within(node, LEAST_DURATION, MAX_DURATION)
}

/// How long before its end a certificate is renewed.
pub(super) fn renew_before(node: Node<'_>) -> Option<Duration> {
    within(node, Duration::from_secs(60), MAX_DURATION)
}

/// How long a service may take to come back after it was notified.
pub(super) fn settle(node: Node<'_>) -> Option<Settle> {
    let length = within(node, Duration::from_secs(1), Settle::MAX)?;
    Settle::try_from(length.as_secs()).ok()
}

fn within(node: Node<'_>, least: Duration, max: Duration) -> Option<Duration> {
    let text = node.text("a duration in quotes such as \"30d\" or \"12h\"")?;
    let Ok(duration) = humantime::parse_duration(text) else {
        let text = pinion_proto::id::shown(text);
        node.problem(format_args!("`{text}` is not a duration: write for example 30d, 12h or 90m"));
        return None;
    };
    if duration < least {
        node.problem(format_args!("{} is too short: at least {}", Length(duration), Length(least)));
        None
    } else if duration > max {
        let limit = if max == MAX_DURATION { "3652d, which is ten years".into() } else { Length(max).to_string() };
        node.problem(format_args!("{text} is too long: at most {limit}"));
        None
    } else if duration.subsec_nanos() != 0 {
        node.problem("only whole seconds count: leave out the fraction");
        None
    } else {
        Some(duration)
    }
}

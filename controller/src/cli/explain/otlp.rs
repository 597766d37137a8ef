//! `pinion explain --timing --otlp`: the last renewals as traces, for the viewers that people have.
//!
//! One `ExportTraceServiceRequest` in OTLP's JSON encoding (OTLP specification, "JSON Protobuf Encoding"): ids are hex,
//! 64-bit integers are decimal strings, values of enumerations are numbers. Only the fields that are used are here: the
//! messages of the crate `opentelemetry-proto` come with a tracing SDK.
//! Invariant: a renewal is always the same trace with the same ids, so that it may be exported twice.

use std::collections::BTreeMap;

use pinion_proto::{bundle::Fingerprint, id::Guest, printable::Shown};
use serde::Serialize;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::admin::{
    protocol::PlacementStatus,
    timing::{RenewalStep, RenewalTiming, StepName},
};

/// `ExportTraceServiceRequest`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TraceRequest {
    resource_spans: Vec<ResourceSpans>,
}

/// The spans of one program.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ResourceSpans {
    resource: Resource,
    scope_spans: [ScopeSpans; 1],
}

#[derive(Debug, Serialize)]
struct Resource {
    attributes: Vec<KeyValue>,
}

#[derive(Debug, Serialize)]
struct ScopeSpans {
    scope: Scope,
    spans: Vec<Span>,
}

#[derive(Debug, Serialize)]
struct Scope {
    name: &'static str,
    version: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Span {
    trace_id: String,
    span_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_span_id: Option<String>,
    name: String,
    kind: u8,
    start_time_unix_nano: String,
    end_time_unix_nano: String,
    attributes: Vec<KeyValue>,
}

#[derive(Debug, Serialize)]
struct KeyValue {
    key: &'static str,
    value: AnyValue,
}

#[derive(Debug, Serialize)]
enum AnyValue {
    #[serde(rename = "stringValue")]
    Text(String),
    #[serde(rename = "boolValue")]
    Bool(bool),
    #[serde(rename = "intValue")]
    Int(String),
}

/// `SPAN_KIND_INTERNAL`.
const INTERNAL: u8 = 1;

/// In a millisecond.
const NANOSECONDS: i128 = 1_000_000;

/// Whose time a span is: the controller's, or that of the agent in a guest.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Program {
    Controller,
    Agent(Guest),
}

impl TraceRequest {
    /// The last renewal of each placement that had one.
    pub(super) fn of(placements: &[PlacementStatus]) -> Self {
        let mut spans: BTreeMap<Program, Vec<Span>> = BTreeMap::new();
        for placement in placements {
            if let Some(renewal) = &placement.renewal {
                add(placement, renewal, &mut spans);
            }
        }
        Self { resource_spans: spans.into_iter().map(|(program, spans)| program.resource_spans(spans)).collect() }
    }
}

/// Adds a renewal: one span for all of it, and below that one for each step.
fn add(placement: &PlacementStatus, renewal: &RenewalTiming, spans: &mut BTreeMap<Program, Vec<Span>>) {
    let RenewalTiming { generation, began, milliseconds, is_done, from_guest: _, steps } = renewal;
    let name = &placement.placement;
    let of_this = |part: &str| Fingerprint::of(format!("{name} {generation} {began} {part}").as_bytes()).to_string();
    let id = |part: &str, digits: usize| of_this(part).chars().take(digits).collect::<String>();
    let (trace_id, whole) = (id("trace", 32), id("whole", 16));
    let about = || {
        vec![
            text("pinion.placement", Shown(name).to_string()),
            KeyValue { key: "pinion.generation", value: AnyValue::Int(generation.to_string()) },
        ]
    };
    let mut attributes = about();
    attributes.push(text("pinion.stage", placement.stage.to_string()));
    attributes.push(KeyValue { key: "pinion.done", value: AnyValue::Bool(*is_done) });
    let (start_time_unix_nano, end_time_unix_nano) = times(began, *milliseconds);
    let renewal = Span {
        trace_id: trace_id.clone(),
        span_id: whole.clone(),
        parent_span_id: None,
        name: "renewal".to_owned(),
        kind: INTERNAL,
        start_time_unix_nano,
        end_time_unix_nano,
        attributes,
    };
    spans.entry(Program::Controller).or_default().push(renewal);
    for (index, RenewalStep { step, began, milliseconds }) in steps.iter().enumerate() {
        let guest = placement.guest.filter(|_| step.is_timed_by_agent());
        let (start_time_unix_nano, end_time_unix_nano) = times(began, *milliseconds);
        spans.entry(guest.map_or(Program::Controller, Program::Agent)).or_default().push(Span {
            trace_id: trace_id.clone(),
            span_id: id(&index.to_string(), 16),
            parent_span_id: Some(whole.clone()),
            name: word(*step),
            kind: INTERNAL,
            start_time_unix_nano,
            end_time_unix_nano,
            attributes: about(),
        });
    }
}

impl Program {
    fn resource_spans(self, spans: Vec<Span>) -> ResourceSpans {
        let attributes = match self {
            Self::Controller => vec![text("service.name", "pinion")],
            // Semantic conventions: it tells programs of one name apart.
            Self::Agent(guest) => {
                vec![text("service.name", "pinion-agent"), text("service.instance.id", guest.to_string())]
            }
        };
        let scope = Scope { name: "pinion", version: env!("CARGO_PKG_VERSION") };
        ResourceSpans { resource: Resource { attributes }, scope_spans: [ScopeSpans { scope, spans }] }
    }
}

fn text(key: &'static str, value: impl Into<String>) -> KeyValue {
    KeyValue { key, value: AnyValue::Text(value.into()) }
}

/// A step's name, as `--json` has it.
fn word(step: StepName) -> String {
    serde_json::to_value(step).ok().and_then(|word| Some(word.as_str()?.to_owned())).unwrap_or_default()
}

/// The beginning and the end of something, in nanoseconds since 1970.
fn times(began: &str, milliseconds: u64) -> (String, String) {
    let began = OffsetDateTime::parse(began, &Rfc3339).unwrap_or(OffsetDateTime::UNIX_EPOCH).unix_timestamp_nanos();
    (began.to_string(), (began + i128::from(milliseconds) * NANOSECONDS).to_string())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use serde_json::{Value, json};

    use super::*;
    use crate::cli::explain::tests::placement;

    /// 2026-12-01T01:00:00Z.
    const BEGAN: u64 = 1_796_086_800_000_000_000;

    /// A renewal of 451 ms, from 123 ms on.
    fn renewed() -> PlacementStatus {
        let mut from = 123;
        let steps = [(StepName::Key, 1), (StepName::Sign, 150), (StepName::Check, 300)].map(|(step, milliseconds)| {
            let began = format!("2026-12-01T01:00:00.{from}Z");
            from += milliseconds;
            RenewalStep { step, began, milliseconds }
        });
        let renewal = RenewalTiming {
            generation: 3,
            began: "2026-12-01T01:00:00.123Z".into(),
            milliseconds: 451,
            is_done: true,
            from_guest: true,
            steps: steps.to_vec(),
        };
        PlacementStatus { renewal: Some(renewal.into()), ..placement() }
    }

    fn written(placements: &[PlacementStatus]) -> Value {
        serde_json::to_value(TraceRequest::of(placements)).expect("it is written")
    }

    /// The spans with the name of the program that each is of.
    fn spans(request: &Value) -> Vec<(&str, &Value)> {
        let mut all = Vec::new();
        for resource in request["resourceSpans"].as_array().expect("a list") {
            let service = &resource["resource"]["attributes"][0];
            assert_eq!(service["key"], "service.name");
            let service = service["value"]["stringValue"].as_str().expect("text");
            let scopes = resource["scopeSpans"].as_array().expect("a list");
            let spans = scopes.iter().flat_map(|scope| scope["spans"].as_array().expect("a list"));
            all.extend(spans.map(|span| (service, span)));
        }
        all
    }

    fn nanoseconds(span: &Value, which: &str) -> u64 {
        // A decimal string: a number would lose digits in readers that have none but floating-point ones.
        span[which].as_str().and_then(|text| text.parse().ok()).expect("a number")
    }

    #[test]
    fn each_step_is_below_its_renewal_and_within_it_and_all_add_up() {
        let request = written(&[renewed()]);
        let spans = spans(&request);
        let services = |name: &str| spans.iter().find(|(_, span)| span["name"] == name).map(|(service, _)| *service);
        assert_eq!(
            ["renewal", "key", "sign", "check"].map(services),
            [Some("pinion"), Some("pinion-agent"), Some("pinion"), Some("pinion-agent")]
        );
        let (roots, steps): (Vec<_>, Vec<_>) =
            spans.iter().map(|(_, span)| span).partition(|span| span["parentSpanId"].is_null());
        let [root] = roots[..] else { panic!("{roots:?}") };
        let times = |span: &Value| ["startTimeUnixNano", "endTimeUnixNano"].map(|which| nanoseconds(span, which));
        let [begin, end] = times(root);
        assert_eq!([begin, end], [BEGAN + 123_000_000, BEGAN + 574_000_000]);
        let mut lengths: Vec<_> = steps.iter().map(|step| times(step)).collect();
        lengths.sort_unstable();
        let follow = lengths.windows(2).all(|pair| pair[0][1] == pair[1][0]);
        assert!(follow && lengths[0][0] == begin && lengths[2][1] == end, "{lengths:?}");

        let is_hex = |value: &Value, digits: usize| {
            let text = value.as_str().unwrap_or_default();
            text.len() == digits && text.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
        };
        for (_, span) in &spans {
            assert!(is_hex(&span["traceId"], 32) && span["traceId"] == root["traceId"], "{span}");
            assert!(is_hex(&span["spanId"], 16) && span["kind"] == 1, "{span}");
        }
        assert!(steps.iter().all(|step| step["parentSpanId"] == root["spanId"]), "{steps:?}");
        let ids: HashSet<_> = spans.iter().map(|(_, span)| span["spanId"].as_str()).collect();
        assert_eq!(ids.len(), spans.len());
        let attributes = json!([
            { "key": "pinion.placement", "value": { "stringValue": "docker@1001" } },
            { "key": "pinion.generation", "value": { "intValue": "3" } },
            { "key": "pinion.stage", "value": { "stringValue": "served" } },
            { "key": "pinion.done", "value": { "boolValue": true } },
        ]);
        assert_eq!(root["attributes"], attributes);
        assert_eq!(request["resourceSpans"][1]["resource"]["attributes"][1]["value"]["stringValue"], "1001");
    }

    #[test]
    fn a_renewal_keeps_its_ids_and_another_one_has_others() {
        let ids = |placement: PlacementStatus| {
            let request = written(&[placement]);
            spans(&request).iter().map(|(_, span)| span["spanId"].to_string()).collect::<HashSet<_>>()
        };
        assert_eq!(ids(renewed()), ids(renewed()));
        let later = renewed().renewal.map(|renewal| Box::new(RenewalTiming { generation: 4, ..*renewal }));
        assert!(ids(PlacementStatus { renewal: later, ..renewed() }).is_disjoint(&ids(renewed())));
        assert!(ids(PlacementStatus { placement: "docker@1002".into(), ..renewed() }).is_disjoint(&ids(renewed())));
        assert_eq!(written(&[placement()]), json!({ "resourceSpans": [] }), "there was none");
    }
}

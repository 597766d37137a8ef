//! The provisioner that signs for Pinion, as the CA's `/provisioners` lists it.
//!
//! Invariant: fields that are not needed are not read, so that a CA with other kinds of provisioners, or newer
//! ones, stays readable.

use std::{collections::BTreeSet, time::Duration};

use pinion_proto::id::shown;
use serde::Deserialize;

use super::{
    http::Http,
    settings::{Settings, call_failed, json},
};
use crate::issuer::IssuerError;

/// More pages of a hundred than any CA has provisioners.
const MAX_PAGES: usize = 100;

/// Provisioners that a message names at most.
const MAX_SHOWN: usize = 20;

/// One page of `GET /provisioners`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    #[serde(default)]
    provisioners: Vec<Listed>,
    #[serde(default)]
    next_cursor: String,
}

/// A provisioner of any kind.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Listed {
    #[serde(rename = "type", default)]
    pub(super) kind: String,
    #[serde(default)]
    pub(super) name: String,
    #[serde(default)]
    pub(super) key: Option<PublicJwk>,
    #[serde(default)]
    pub(super) encrypted_key: Option<String>,
    #[serde(default)]
    pub(super) claims: Option<Claims>,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct PublicJwk {
    #[serde(default)]
    pub(super) kid: String,
    #[serde(default)]
    pub(super) x: String,
    #[serde(default)]
    pub(super) y: String,
}

/// What a provisioner says of durations itself. The authority's own claims, which stand where it says nothing, are
/// not in the API (smallstep/certificates `authority/provisioner/claims.go`), so absent means unknown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Claims {
    #[serde(rename = "minTLSCertDuration", default, deserialize_with = "go_duration")]
    pub(super) min: Option<Duration>,
    #[serde(rename = "defaultTLSCertDuration", default, deserialize_with = "go_duration")]
    pub(super) default: Option<Duration>,
    #[serde(rename = "maxTLSCertDuration", default, deserialize_with = "go_duration")]
    pub(super) max: Option<Duration>,
}

/// The JWK provisioner of the configured name, from all pages; with a published key, where there is one.
pub(super) async fn find_provisioner(settings: &Settings, http: &Http) -> Result<Listed, IssuerError> {
    const DOING: &str = "list the provisioners";
    let mut cursor = String::new();
    let mut found: Option<Listed> = None;
    let (mut usable, mut others) = (Vec::new(), BTreeSet::new());
    for _ in 0..MAX_PAGES {
        let path = format!("/provisioners?limit=100&cursor={cursor}");
        let answer = http.get(&path).await.map_err(|e| call_failed(settings, DOING, &e))?;
        let page: Page = json(settings, DOING, &answer)?;
        for listed in page.provisioners {
            let is_usable = listed.kind == "JWK" && (listed.encrypted_key.is_some() || settings.key_file.is_some());
            if listed.name == settings.provisioner {
                if is_usable {
                    return Ok(listed);
                }
                // One without a published key is closer to what was meant than one of another kind.
                if found.is_none() || listed.kind == "JWK" {
                    found = Some(listed);
                }
            } else if listed.kind == "JWK" && usable.len() < MAX_SHOWN {
                usable.push(shown(&listed.name));
            } else if others.len() < MAX_SHOWN {
                others.insert(shown(&listed.kind));
            }
        }
        // Cursors are hexadecimal and grow; anything else would be asked for in vain.
        let next = page.next_cursor;
        if next.is_empty() {
            break;
        }
        if next == cursor || next.len() > 64 || !next.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err(settings.unavailable(DOING, format!("the CA sent an invalid cursor: `{}`", shown(&next))));
        }
        cursor = next;
    }
    let wanted = shown(&settings.provisioner);
    let create = "create one on the CA with `step ca provisioner add pinion --type JWK --create`, restart step-ca";
    match found {
        // Why its key is not to be had is said where the key is opened.
        Some(listed) if listed.kind == "JWK" => Ok(listed),
        Some(listed) => Err(settings.misconfigured(
            &format!("provisioner `{wanted}` has type {}, but Pinion needs a JWK provisioner", shown(&listed.kind)),
            format!("{create}, and set `provisioner` of [issuers.{}] in controller.toml to it", settings.name),
        )),
        None if usable.is_empty() => {
            let kinds: Vec<String> = others.into_iter().collect();
            let has = if kinds.is_empty() { "none at all".to_owned() } else { format!("only {}", kinds.join(", ")) };
            Err(settings.misconfigured(
                &format!("it has no provisioner `{wanted}`, and no other of type JWK, which Pinion needs: {has}"),
                format!("{create}, and set `provisioner` of [issuers.{}] in controller.toml to it", settings.name),
            ))
        }
        None => Err(settings.misconfigured(
            &format!("it has no provisioner `{wanted}`; its JWK provisioners: {}", usable.join(", ")),
            format!("correct `provisioner` of [issuers.{}] in controller.toml, or add it on the CA", settings.name),
        )),
    }
}

fn go_duration<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    Ok(text.as_deref().and_then(parse_go_duration))
}

/// A duration as Go prints it, `24h0m0s` or `1.5h`, in whole seconds; none for one that is negative or malformed.
pub(super) fn parse_go_duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut nanoseconds: u128 = 0;
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(digits);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() || whole.len() > 12 || fraction.len() > 9 {
            return None;
        }
        let unit = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit);
        let scale: u128 = match unit {
            "h" => 3_600_000_000_000,
            "m" => 60_000_000_000,
            "s" => 1_000_000_000,
            "ms" => 1_000_000,
            "us" | "µs" | "μs" => 1_000,
            "ns" => 1,
            _ => return None,
        };
        nanoseconds = nanoseconds.checked_add(whole.parse::<u128>().ok()?.checked_mul(scale)?)?;
        if !fraction.is_empty() {
            let divisor = 10u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
            nanoseconds = nanoseconds.checked_add(fraction.parse::<u128>().ok()? * scale / divisor)?;
        }
        rest = tail;
    }
    Some(Duration::from_secs(u64::try_from(nanoseconds / 1_000_000_000).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_as_go_prints_them() {
        for (text, seconds) in [
            ("24h0m0s", Some(86_400)),
            ("720h", Some(2_592_000)),
            ("5m", Some(300)),
            ("1h30m", Some(5_400)),
            ("1.5h", Some(5_400)),
            ("1500ms", Some(1)),
            ("0", Some(0)),
            ("-1h", None),
            ("", None),
            ("h", None),
            ("10", None),
            ("10d", None),
            ("1.2.3h", None),
            ("9999999999999999999h", None),
        ] {
            assert_eq!(parse_go_duration(text), seconds.map(Duration::from_secs), "{text}");
        }
    }

    #[test]
    fn what_is_unknown_in_the_list_is_passed_over() {
        let page: Page = serde_json::from_str(
            r#"{"provisioners":[{"type":"ACME","name":"acme","forceCN":true},{"type":"JWK","name":"admin",
                "key":{"use":"sig","kty":"EC","kid":"k","crv":"P-256"},"encryptedKey":"a.b.c.d.e",
                "claims":{"maxTLSCertDuration":"720h0m0s","disableRenewal":false},"options":{"x509":{}}}],"nextCursor":"7"}"#,
        )
        .expect("a page");
        let admin = page.provisioners.last().expect("two provisioners");
        assert_eq!(admin.claims.expect("claims").max, Some(Duration::from_secs(2_592_000)));
        assert_eq!(page.next_cursor, "7");
        assert!(page.provisioners[0].key.is_none());
    }
}

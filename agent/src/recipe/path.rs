//! A recipe's paths: text with placeholders, which a placement fills in.
//!
//! Invariant: whatever a certificate is called, a [`PathTemplate`] comes out as a path in the directory that its text
//! says: what is filled in has no slash.

use std::str::FromStr;

use pinion_proto::{
    bundle::{Fingerprint, RootCertificate},
    content::{Content, NO_COMMON_NAME},
    id::{CertificateName, shown},
    names::SubjectName,
    spec::{GuestPath, PlacementSpec, SpecError},
};
use serde::{Deserialize, Deserializer, de};
use thiserror::Error;

/// The certificate's common name, fit for a file name.
const COMMON_NAME: &str = "{common_name}";

/// SHA-256 of the certificate's name in the manifest, in hexadecimal: so docker calls the directory of what belongs
/// to the context of that name (docker/cli, `cli/context/store`: `contextdirOf`).
const CONTEXT: &str = "{context}";

/// The SHA-256 of a root, in hexadecimal, its first half: then each root has a file of its own.
const ROOT: &str = "{root}";

/// As much of it tells two roots apart.
const ROOT_DIGITS: usize = 32;

/// A path as a recipe writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PathTemplate(Box<str>);

impl PathTemplate {
    /// The path for a placement.
    pub(super) fn of(&self, spec: &PlacementSpec, root: Option<&RootCertificate>) -> Result<GuestPath, SpecError> {
        let root = root.map(RootCertificate::fingerprint);
        match &spec.content {
            Content::Leaf(leaf) => self.fill(&leaf.common_name, &spec.certificate, root),
            Content::Roots | Content::Watched => {
                self.fill(&NO_COMMON_NAME.parse().expect("it is a name"), &spec.certificate, root)
            }
        }
    }

    /// As the recipe writes it, with this common name where there is one.
    pub(super) fn shown(&self, common_name: Option<&SubjectName>) -> String {
        match common_name {
            Some(name) => self.0.replace(COMMON_NAME, &file_name(name)),
            None => self.0.to_string(),
        }
    }

    /// Whether each root has a path of its own.
    pub(super) fn is_for_each_root(&self) -> bool {
        self.0.contains(ROOT)
    }

    /// The path for some placement or other: its directory is every placement's.
    pub(super) fn sample(&self) -> Result<GuestPath, SpecError> {
        let name = "name.example".parse().expect("the constant is a name");
        self.fill(&name, &"name".parse().expect("the constant is a name"), Some(Fingerprint::of(&[])))
    }

    fn fill(
        &self,
        common_name: &SubjectName,
        certificate: &CertificateName,
        root: Option<Fingerprint>,
    ) -> Result<GuestPath, SpecError> {
        let context = Fingerprint::of(certificate.as_str().as_bytes()).to_string();
        let root = root.map(|root| root.to_string().chars().take(ROOT_DIGITS).collect::<String>()).unwrap_or_default();
        self.0.replace(COMMON_NAME, &file_name(common_name)).replace(CONTEXT, &context).replace(ROOT, &root).parse()
    }
}

impl FromStr for PathTemplate {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, TemplateError> {
        let bare = text.replace(COMMON_NAME, "").replace(CONTEXT, "").replace(ROOT, "");
        if bare.contains(['{', '}']) {
            return Err(TemplateError::Placeholder(shown(text)));
        }
        let template = Self(text.into());
        template.sample()?;
        Ok(template)
    }
}

impl<'de> Deserialize<'de> for PathTemplate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// Text that is no path of a recipe's.
#[derive(Debug, Error)]
pub(super) enum TemplateError {
    #[error("`{0}` has braces around an unknown word: use {{common_name}}, {{context}} or {{root}}")]
    Placeholder(String),
    #[error(transparent)]
    Path(#[from] SpecError),
}

/// A name as part of a file name: `*.example` becomes `_wildcard.example`.
fn file_name(name: &SubjectName) -> String {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '@');
    name.plain().replace('*', "_wildcard").chars().map(|c| if legal(c) { c } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_become_names_and_nothing_else_does() {
        let path = |text: &str, name: &str| {
            let template: PathTemplate = text.parse().expect(text);
            template.fill(&name.parse().expect(name), &"local".parse().expect("a name"), None).expect(name).to_string()
        };
        assert_eq!(path("/etc/x/{common_name}.crt", "*.a.example"), "/etc/x/_wildcard.a.example.crt");
        assert_eq!(path("/etc/x/{common_name}", "spiffe://a/../../b"), "/etc/x/spiffe___a_.._.._b");
        let context = "25bf8e1a2393f1108d37029b3df5593236c755742ec93465bbafa9b290bddcf6";
        assert_eq!(path("/root/{context}/docker", "a.example"), format!("/root/{context}/docker"));
        for bad in ["/etc/{name}.crt", "/etc/{common_name", "etc/{common_name}", "/etc/../{common_name}", "/etc/x/"] {
            assert!(bad.parse::<PathTemplate>().is_err(), "{bad}");
        }
    }

    proptest::proptest! {
        /// Whatever a certificate is called, its file is in the directory that the recipe says.
        #[test]
        fn what_is_filled_in_stays_in_its_directory(
            name in "(\\*\\.|\\.|-)?[a-z0-9_.-]{1,12}|(spiffe|https)://[a-z./%*-]{1,12}|[a-z.]{1,8}@[a-z.]{1,8}|[0-9.]{7}|[0-9a-f:]{3,9}",
            template in "(/[a-z.]{1,3}|/\\{common_name\\}|/\\{context\\}[a-z.]{0,2}|/x\\{common_name\\}\\.crt){1,4}",
        ) {
            let (Ok(name), Ok(template)) = (name.parse(), template.parse::<PathTemplate>()) else { return Ok(()) };
            let Ok(path) = template.fill(&name, &"local".parse().expect("a name"), None) else { return Ok(()) };
            let (written, filled): (Vec<_>, Vec<_>) = (template.0.split('/').collect(), path.as_str().split('/').collect());
            proptest::prop_assert_eq!(written.len(), filled.len());
            for (written, filled) in written.iter().zip(&filled) {
                proptest::prop_assert!(written.contains('{') || written == filled, "{} for {}", filled, written);
                proptest::prop_assert!(*filled != "." && *filled != "..");
            }
        }
    }
}

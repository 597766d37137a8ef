//! What a placement consists of: a certificate with its key, an issuer's roots, or nothing but a look at what is served.
//!
//! Invariant: what only a certificate has (names, key, request) is reached through [`Content::Leaf`] alone. On the wire and
//! in documents they differ by the fields `trust` and `watch`; `FlatContent` is the one place that knows this.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{
    key::KeyPolicy,
    names::{SubjectName, SubjectNames},
    spec::Part,
};

/// What a placement consists of. `L` says what is known of a certificate that Pinion manages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content<L = LeafSpec> {
    /// A certificate and its key.
    Leaf(L),
    /// The issuer's roots: nothing is ordered, and there are files of [`Part::Ca`] only.
    Roots,
    /// A certificate that somebody else renews: nothing is ordered and there are no files, only looks at what is served.
    Watched,
}

/// A certificate as a guest is asked to hold it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeafSpec {
    /// The subject's common name; one of `names`.
    pub common_name: SubjectName,
    /// Every name that the certificate carries.
    pub names: SubjectNames,
    /// How its key is made.
    pub key: KeyPolicy,
    /// The controller makes the key, one for all placements of the certificate.
    pub shared: bool,
}

impl<L> Content<L> {
    /// The certificate; none where Pinion manages none.
    #[must_use]
    pub fn leaf(&self) -> Option<&L> {
        match self {
            Self::Leaf(leaf) => Some(leaf),
            Self::Roots | Self::Watched => None,
        }
    }

    /// As [`Self::leaf`], to change it.
    #[must_use]
    pub fn leaf_mut(&mut self) -> Option<&mut L> {
        match self {
            Self::Leaf(leaf) => Some(leaf),
            Self::Roots | Self::Watched => None,
        }
    }

    /// Whether only roots are placed.
    #[must_use]
    pub fn is_roots(&self) -> bool {
        matches!(self, Self::Roots)
    }

    /// Whether a certificate is only watched.
    #[must_use]
    pub fn is_watched(&self) -> bool {
        matches!(self, Self::Watched)
    }

    /// Whether a placement of this may have a file of this part.
    #[must_use]
    pub fn has(&self, part: Part) -> bool {
        match self {
            Self::Leaf(_) => true,
            Self::Roots => part == Part::Ca,
            Self::Watched => false,
        }
    }

    /// A view of it.
    #[must_use]
    pub fn as_ref(&self) -> Content<&L> {
        match self {
            Self::Leaf(leaf) => Content::Leaf(leaf),
            Self::Roots => Content::Roots,
            Self::Watched => Content::Watched,
        }
    }

    /// The same with something else known of the certificate.
    #[must_use]
    pub fn map<M>(self, with: impl FnOnce(L) -> M) -> Content<M> {
        match self {
            Self::Leaf(leaf) => Content::Leaf(with(leaf)),
            Self::Roots => Content::Roots,
            Self::Watched => Content::Watched,
        }
    }
}

/// What roots have in place of a common name, where a peer, a document or a path needs one: a name that cannot exist
/// (RFC 6761 section 6.4). Agents and documents of earlier versions have it, and so the hash of a spec stays the same.
pub const NO_COMMON_NAME: &str = "roots.invalid";

/// As [`NO_COMMON_NAME`], for a certificate that is only watched.
const WATCHED_COMMON_NAME: &str = "watched.invalid";

/// Content as the wire and documents have it, in the order of their fields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FlatContent {
    pub(crate) common_name: SubjectName,
    pub(crate) names: SubjectNames,
    pub(crate) key: KeyPolicy,
    #[serde(default)]
    pub(crate) shared: bool,
    /// Only roots are placed: the fields before this one mean nothing.
    #[serde(default)]
    pub(crate) trust: bool,
    /// What is served is only watched: the fields before this one mean nothing. Not in the text of others, so that agents that
    /// do not know it compute the same hash of a spec.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) watch: bool,
}

impl FlatContent {
    /// Content without a certificate.
    fn without_leaf(common_name: &str) -> Self {
        let common_name: SubjectName = common_name.parse().expect("the constant is a name");
        let names = SubjectNames::try_from(vec![common_name.clone()]).expect("one name is enough");
        Self { common_name, names, key: KeyPolicy::default(), shared: false, trust: false, watch: false }
    }
}

impl From<Content> for FlatContent {
    fn from(content: Content) -> Self {
        match content {
            Content::Leaf(LeafSpec { common_name, names, key, shared }) => {
                Self { common_name, names, key, shared, trust: false, watch: false }
            }
            Content::Roots => Self { trust: true, ..Self::without_leaf(NO_COMMON_NAME) },
            Content::Watched => Self { watch: true, ..Self::without_leaf(WATCHED_COMMON_NAME) },
        }
    }
}

impl From<FlatContent> for Content {
    fn from(flat: FlatContent) -> Self {
        match flat {
            FlatContent { trust: true, .. } => Self::Roots,
            FlatContent { watch: true, .. } => Self::Watched,
            FlatContent { common_name, names, key, shared, .. } => {
                Self::Leaf(LeafSpec { common_name, names, key, shared })
            }
        }
    }
}

impl Serialize for Content {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        FlatContent::from(self.clone()).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        FlatContent::deserialize(deserializer).map(Into::into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::PlacementSpec;

    /// Documents as versions before [`Content`] wrote them, whose hash a guest and its controller compare.
    const LEAF: &str = r#"{"certificate":"web","common_name":"dns:a.example","names":["dns:a.example","dns:b.example"],"key":{"algorithm":"rsa-2048","rotation":"never"},"shared":true,"trust":false,"roots":[],"recipe":"nginx","files":{},"layout":null,"validate":null,"reload":null,"probe":null,"window":null,"purge":false,"ordered":7,"trouble":null}"#;
    const ROOTS: &str = r#"{"certificate":"roots","common_name":"dns:roots.invalid","names":["dns:roots.invalid"],"key":{"algorithm":"ecdsa-p256","rotation":"always"},"shared":false,"trust":true,"roots":[],"recipe":"ca-certificates","files":{},"layout":null,"validate":null,"reload":null,"probe":null,"window":null,"purge":false,"ordered":null,"trouble":null}"#;

    fn read(text: &str) -> PlacementSpec {
        serde_json::from_str(text).expect(text)
    }

    #[test]
    fn documents_of_earlier_versions_are_read_and_written_byte_for_byte() {
        for (text, is_roots) in [(LEAF, false), (ROOTS, true)] {
            let spec = read(text);
            assert_eq!(spec.content.is_roots(), is_roots, "{text}");
            assert_eq!(serde_json::to_string(&spec).expect("text"), text);
        }
        let content = read(LEAF).content;
        let leaf = content.leaf().expect("a certificate");
        assert!(leaf.shared && leaf.names.iter().len() == 2 && leaf.common_name.plain() == "a.example");
        let before_there_were_roots = LEAF.replace(r#""shared":true,"trust":false,"roots":[],"#, "");
        assert!(!read(&before_there_were_roots).content.is_roots());
    }

    #[test]
    fn peers_of_earlier_versions_see_a_name_and_the_field_trust() {
        use crate::{message::ToAgent, wire};
        let written = wire::write_to_agent(ToAgent::Desired(vec![read(ROOTS)]));
        let Some(wire::pb::to_agent::Message::Desired(desired)) = written.message else { panic!("{written:?}") };
        let [spec] = desired.placements.as_slice() else { panic!("{desired:?}") };
        assert!(spec.trust);
        assert_eq!((spec.common_name.as_str(), spec.names.len()), ("dns:roots.invalid", 1));
    }

    #[test]
    fn roots_have_one_kind_of_file() {
        let parts = |content: &Content| Part::ALL.into_iter().filter(|part| content.has(*part)).collect::<Vec<_>>();
        assert_eq!(parts(&read(ROOTS).content), [Part::Ca]);
        assert_eq!(parts(&read(LEAF).content), Part::ALL);
    }
}

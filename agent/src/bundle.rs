//! The content of one generation: a key with its certificate, or roots alone.
//!
//! Answers: what is in each file, and what goes into the ledger?
//! Invariant: a [`Credential`] holds a key and the certificate for that very key.

use pinion_proto::{
    bundle::{Chain, Leaf, RootCertificate, certificates_to_pem},
    content::Content,
    names::SubjectName,
    private_key::PrivateKey,
    spec::{Part, PlainName},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use zeroize::Zeroizing;

/// The content of one generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    generation: u64,
    content: Content<Credential>,
}

/// Key, certificate, intermediates, and the root that they end at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// The private key.
    pub key: PrivateKey,
    /// Leaf and intermediates.
    pub chain: Chain,
    /// What the chain ends at.
    pub root: RootCertificate,
    /// Who signed it.
    pub issuer: PlainName,
    /// The common name that it was ordered with; none when that was not written down.
    pub common_name: Option<SubjectName>,
}

impl Bundle {
    /// A key and its certificate.
    #[must_use]
    pub fn of(generation: u64, credential: Credential) -> Self {
        Self { generation, content: Content::Leaf(credential) }
    }

    /// Roots alone.
    #[must_use]
    pub fn of_roots(generation: u64) -> Self {
        Self { generation, content: Content::Roots }
    }

    /// The number of this content.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Key and certificate; none where only roots are placed.
    #[must_use]
    pub fn credential(&self) -> Option<&Credential> {
        self.content.leaf()
    }

    /// The certificate; none where only roots are placed.
    #[must_use]
    pub fn leaf(&self) -> Option<&Leaf> {
        self.credential().map(|credential| credential.chain.leaf())
    }

    /// The roots in a file of [`Part::Ca`]: what the certificate's own chain ends at, then what else is to be trusted.
    pub fn roots<'a>(&'a self, trusted: &'a [RootCertificate]) -> impl Iterator<Item = &'a RootCertificate> {
        let own = self.credential().map(|credential| &credential.root);
        own.into_iter().chain(trusted.iter().filter(move |root| Some(*root) != own))
    }

    /// What the file of this part contains; empty for what roots alone do not have, of which their jobs have no file, and for what
    /// is behind a password, which [`crate::keystore`] makes.
    #[must_use]
    pub fn content(&self, part: Part, trusted: &[RootCertificate]) -> Zeroizing<Vec<u8>> {
        let chain = || self.credential().into_iter().map(|credential| &credential.chain);
        let fullchain = || certificates_to_pem(chain().flat_map(Chain::certificates));
        let key = || self.credential().map(|credential| credential.key.to_pem()).unwrap_or_default();
        let text = match part {
            Part::Cert => certificates_to_pem(chain().map(|chain| chain.leaf().der())),
            Part::Chain => certificates_to_pem(chain().flat_map(Chain::intermediates)),
            Part::Fullchain => fullchain(),
            Part::Ca => certificates_to_pem(self.roots(trusted).map(RootCertificate::der)),
            Part::Der => return Zeroizing::new(chain().flat_map(|chain| chain.leaf().der()).copied().collect()),
            Part::Pkcs12 | Part::Jks | Part::EncryptedKey => return Zeroizing::default(),
            Part::Key => return Zeroizing::new(key().as_bytes().to_vec()),
            Part::Combined => {
                // Certificates first: HAProxy and lighttpd read either order, and a reader of the leaf stops early.
                let (certificates, key) = (fullchain(), key());
                let mut both = Zeroizing::new(Vec::with_capacity(certificates.len() + key.len()));
                both.extend_from_slice(certificates.as_bytes());
                both.extend_from_slice(key.as_bytes());
                return both;
            }
        };
        Zeroizing::new(text.into_bytes())
    }
}

/// A bundle as the ledger keeps it. Not an enum that is known by its fields: reading one would copy the key to where
/// nobody wipes it.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Written {
    generation: u64,
    /// There is no credential, and none is missing.
    #[serde(skip_serializing_if = "is_false")]
    roots_only: bool,
    issuer: Option<PlainName>,
    key: Option<PrivateKey>,
    chain: String,
    root: String,
    /// Absent in what was written before it was compared.
    common_name: Option<SubjectName>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_false(value: &bool) -> bool {
    !value
}

impl Serialize for Bundle {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let generation = self.generation;
        let written = match &self.content {
            Content::Roots | Content::Watched => Written { generation, roots_only: true, ..Written::default() },
            Content::Leaf(Credential { key, chain, root, issuer, common_name }) => Written {
                generation,
                roots_only: false,
                issuer: Some(issuer.clone()),
                key: Some(key.clone()),
                chain: certificates_to_pem(chain.certificates()),
                root: certificates_to_pem([root.der()]),
                common_name: common_name.clone(),
            },
        };
        written.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Bundle {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Written { generation, roots_only, issuer, key, chain, root, common_name } =
            Written::deserialize(deserializer)?;
        if roots_only {
            return Ok(Self::of_roots(generation));
        }
        let key = key.ok_or_else(|| de::Error::missing_field("key"))?;
        let issuer = issuer.ok_or_else(|| de::Error::missing_field("issuer"))?;
        let chain = Chain::from_pem(&chain).map_err(de::Error::custom)?;
        let root = RootCertificate::from_pem(&root).map_err(de::Error::custom)?;
        if chain.leaf().key() != key.public() {
            return Err(de::Error::custom("the key does not belong to the certificate"));
        }
        Ok(Self::of(generation, Credential { key, chain, root, issuer, common_name }))
    }
}

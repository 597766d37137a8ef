//! Records the certificate that a server presents in a handshake; any certificate is accepted.
//!
//! Invariant: nothing is trusted; what is noted is only as good as `proved` says.

use std::sync::{Arc, Mutex};

use pinion_proto::{bundle::MAX_CHAIN, lock::lock};
use rustls::{
    ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};

pub(super) fn client_config(witness: &Arc<Witness>) -> Result<ClientConfig, rustls::Error> {
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&witness.provider))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(witness) as Arc<dyn ServerCertVerifier>)
        .with_no_client_auth();
    // A resumed session shows no certificate.
    config.resumption = rustls::client::Resumption::disabled();
    Ok(config)
}

/// Takes every certificate, and notes it.
#[derive(Debug)]
pub(super) struct Witness {
    pub(super) provider: Arc<CryptoProvider>,
    /// What it can verify.
    pub(super) schemes: Vec<SignatureScheme>,
    pub(super) shown: Mutex<Shown>,
}

#[derive(Debug, Default)]
pub(super) struct Shown {
    pub(super) leaf: Option<Vec<u8>>,
    /// What was shown beside it, at most [`MAX_CHAIN`].
    pub(super) intermediates: Vec<Box<[u8]>>,
    /// The server has signed the handshake with the certificate's key.
    pub(super) proved: bool,
}

impl Witness {
    fn proved(
        &self,
        checked: Result<HandshakeSignatureValid, rustls::Error>,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        lock(&self.shown).proved = checked.is_ok();
        checked
    }
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let mut shown = lock(&self.shown);
        shown.leaf = Some(end_entity.to_vec());
        shown.intermediates = intermediates.iter().take(MAX_CHAIN).map(|der| der.as_ref().into()).collect();
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.proved(verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.proved(verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.clone()
    }
}

//! What can be given to `pinion setup`.

use clap::ValueEnum;
use pinion_proto::bundle::Fingerprint;

use crate::{config::Advertised, issuer::CaUrl, setup::wanted::advertised};

/// The answers that can be given in advance.
#[derive(Debug, Default, clap::Args)]
pub(in crate::cli) struct SetupArgs {
    /// An address of this host as guests see it, for example 10.0.0.13:7443. You can repeat it: one for each network with
    /// guests.
    #[arg(long, value_name = "ADDR:PORT", value_parser = advertised)]
    pub(super) advertise: Vec<Advertised>,
    /// Who signs: `embedded`, a CA inside Pinion, or `step-ca`.
    #[arg(long, value_name = "CA")]
    pub(super) issuer: Option<Kind>,
    /// Where the step-ca is: https://HOST:PORT. Use an address, not a name.
    #[arg(long)]
    pub(super) url: Option<CaUrl>,
    /// The SHA-256 of the CA's root: what `step certificate fingerprint root_ca.crt` prints on the CA.
    #[arg(long, value_name = "SHA256")]
    pub(super) fingerprint: Option<Fingerprint>,
    /// The CA's JWK provisioner that signs for Pinion. Its password comes from the terminal or from standard input.
    #[arg(long, value_name = "NAME")]
    pub(super) provisioner: Option<String>,
    /// Write and check everything, but start nothing.
    #[arg(long)]
    pub(super) no_start: bool,
    /// Ask nothing: use this host's own addresses if you give none. Never accepts a root that you did not name.
    #[arg(long)]
    pub(super) yes: bool,
}

/// Who signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Kind {
    /// A CA inside Pinion.
    Embedded,
    /// A step-ca.
    StepCa,
}

impl SetupArgs {
    /// Whether anything is given that would be written.
    pub(super) fn names_settings(&self) -> bool {
        !self.advertise.is_empty() || self.issuer.is_some() || self.names_a_ca()
    }

    /// Whether anything is given that only a step-ca has.
    pub(super) fn names_a_ca(&self) -> bool {
        self.url.is_some() || self.fingerprint.is_some() || self.provisioner.is_some()
    }
}

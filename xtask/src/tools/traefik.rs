//! Traefik without the clients of a hundred and fifty DNS providers, which are half of what Go would compile.
//!
//! They prove domain names to public CAs over ACME, which nothing here does. Everything else of Traefik is as it is.

use std::{fs, path::Path};

use anyhow::{Context, Result, ensure};

/// Changes the one line of a copy of Traefik's source that names them.
pub(super) fn leave_out_dns_providers(source: &Path) -> Result<()> {
    let user = source.join("pkg/provider/acme/provider.go");
    let text = fs::read_to_string(&user).with_context(|| format!("read {}", user.display()))?;
    ensure!(text.matches(THEIRS).count() == 1, "{} does not import {THEIRS} once", user.display());
    fs::write(&user, text.replace(THEIRS, OURS)).with_context(|| format!("write {}", user.display()))?;
    let directory = source.join("pkg/provider/acme/dns");
    fs::create_dir(&directory)
        .and_then(|()| fs::write(directory.join("dns.go"), NONE))
        .with_context(|| format!("write into {}", directory.display()))
}

const THEIRS: &str = "\"github.com/go-acme/lego/v4/providers/dns\"";

const OURS: &str = "\"github.com/traefik/traefik/v3/pkg/provider/acme/dns\"";

/// The one function that Traefik calls of theirs.
const NONE: &str = "package dns

import (
\t\"fmt\"

\t\"github.com/go-acme/lego/v4/challenge\"
)

// NewDNSChallengeProviderByName knows none.
func NewDNSChallengeProviderByName(name string) (challenge.Provider, error) {
\treturn nil, fmt.Errorf(\"this Traefik is built without DNS providers, %s among them\", name)
}
";

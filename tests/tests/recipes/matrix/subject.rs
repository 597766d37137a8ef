//! What the stories do to a service, whichever it is.

use std::{fs, net::SocketAddr, path::PathBuf};

use anyhow::{Context, Result};
use pinion_tests::{guest::Guest, unit::Unit};

/// A service that can be made to fail.
pub(super) trait Subject {
    /// Starts what the service runs in; nothing runs in it yet.
    fn prepare(&self) -> Result<()> {
        Ok(())
    }

    /// Starts it for the first time; its certificate is there.
    fn begin(&self, _guest: &Guest) -> Result<()> {
        self.start()
    }

    /// Starts it.
    fn start(&self) -> Result<()>;

    /// Ends it in order.
    fn stop(&self) -> Result<()>;

    /// How often it was told something, in whatever way and also in vain.
    fn told(&self) -> usize;

    /// How often it was told by what its recipe has as the stronger way.
    fn told_firmly(&self) -> usize;

    /// Telling it fails and does nothing, until it is said otherwise.
    fn refuse(&self, refuses: bool) -> Result<()>;

    /// Telling it fails once; false when that cannot be had.
    fn refuse_once(&self) -> Result<bool>;

    /// It is replaced by one that takes its files from another directory, both as the machine sees them.
    fn replace(&self, from: &str, to: &str) -> Result<()>;

    /// The first one is back.
    fn put_back(&self, from: &str, to: &str) -> Result<()>;
}

/// A service under a unit.
pub(super) struct ByUnit<K> {
    /// What has it; it ends with this.
    pub(super) kept: K,
    pub(super) unit: fn(&K) -> &Unit,
    /// The file that names its pair; its command line does where there is none.
    pub(super) configuration: Option<PathBuf>,
}

impl<K> ByUnit<K> {
    fn unit(&self) -> &Unit {
        (self.unit)(&self.kept)
    }
}

impl<K> Subject for ByUnit<K> {
    fn start(&self) -> Result<()> {
        self.unit().start()
    }

    fn stop(&self) -> Result<()> {
        self.unit().stop()
    }

    fn told(&self) -> usize {
        self.unit().reloads() + self.unit().restarts()
    }

    fn told_firmly(&self) -> usize {
        self.unit().restarts()
    }

    fn refuse(&self, refuses: bool) -> Result<()> {
        self.unit().refuse_next(if refuses { usize::MAX } else { 0 });
        Ok(())
    }

    fn refuse_once(&self) -> Result<bool> {
        self.unit().refuse_next(1);
        Ok(true)
    }

    fn replace(&self, from: &str, to: &str) -> Result<()> {
        match &self.configuration {
            Some(file) => {
                exchange(file, from, to)?;
                self.unit().start_with(str::to_owned)
            }
            None => self.unit().start_with(|word| word.replace(from, to)),
        }
    }

    fn put_back(&self, from: &str, to: &str) -> Result<()> {
        match &self.configuration {
            // It reads it when it is told.
            Some(file) => exchange(file, to, from),
            None => self.unit().start_with(|word| word.replace(to, from)),
        }
    }
}

fn exchange(file: &PathBuf, from: &str, to: &str) -> Result<()> {
    let text = fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
    fs::write(file, text.replace(from, to)).with_context(|| format!("write {}", file.display()))
}

/// How the certificate of a service is seen from outside.
#[derive(Clone, Copy)]
pub(super) enum Seen {
    /// By a client that trusts the issuer's root.
    Tls(SocketAddr),
    /// By `openssl s_client -starttls postgres`.
    Postgres(SocketAddr),
}

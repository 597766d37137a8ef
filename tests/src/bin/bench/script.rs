//! What a renewal script would do that has its key and certificate already: the last metre, and nothing besides.
//!
//! Answers: how long does the same nginx take to serve another pair when nobody but a script sees to it? Invariant: the same
//! commands check and reload nginx as for Pinion, and the pair counts as served by the same rule as an agent's.

use std::{
    fs::File,
    io::Write as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use pinion_proto::bundle::Leaf;
use pinion_tests::{guest::Guest, look, nginx::Nginx, wait};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

const NAME: &str = "script.internal.example";
const CERTIFICATE: &str = "/etc/nginx/ssl/script.internal.example.crt";
const KEY: &str = "/etc/nginx/ssl/script.internal.example.key";
const ROOT: &str = "/etc/nginx/ssl/script-root.crt";

/// As an agent does (`apply/settle`): so many connections in a row, and so long between two looks.
const IN_A_ROW: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// The script, with a CA of its own.
pub(crate) struct Script {
    issuer: Issuer<'static, KeyPair>,
    root: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
    test: PathBuf,
    reload: PathBuf,
    address: SocketAddr,
}

impl Script {
    /// Adds a server with the script's pair to an nginx that serves `first` and has not been started.
    pub(crate) fn prepare(guest: &Guest, nginx: &Nginx, first: [&str; 2]) -> Result<Self> {
        nginx.add_server(guest, NAME, first, [CERTIFICATE, KEY])?;
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().context("make the key of a CA")?;
        let root = params.self_signed(&key).context("make a CA")?;
        guest.write(ROOT, &root.pem())?;
        let script = Self {
            issuer: Issuer::new(params, key),
            root: guest.path(ROOT),
            certificate: guest.path(CERTIFICATE),
            key: guest.path(KEY),
            test: guest.hook_path("nginx-test"),
            reload: guest.hook_path("nginx.service"),
            address: nginx.address(),
        };
        let (certificate, key, _) = script.pair()?;
        guest.write(CERTIFICATE, &certificate)?;
        guest.write(KEY, &key)?;
        Ok(script)
    }

    /// How long it takes until another pair is served, which is made beforehand.
    pub(crate) fn renew(&self) -> Result<Duration> {
        let (certificate, key, leaf) = self.pair()?;
        let started = Instant::now();
        write(&self.certificate, &certificate)?;
        write(&self.key, &key)?;
        run(&mut Command::new(&self.test))?;
        run(Command::new(&self.reload).arg("reload"))?;
        let (mut pause, mut in_a_row) = (FIRST_PAUSE, 0);
        while in_a_row < IN_A_ROW {
            let shown = look::served(self.address, NAME, &self.root)?;
            if shown.serial() == leaf.serial() {
                in_a_row += 1;
                continue;
            }
            ensure!(started.elapsed() < wait::PATIENCE, "nginx still shows {}", shown.serial());
            if std::mem::take(&mut in_a_row) > 0 {
                pause = FIRST_PAUSE;
            }
            thread::sleep(pause);
            pause = (pause * 2).min(MAX_PAUSE);
        }
        Ok(started.elapsed())
    }

    /// A certificate and its key, as PEM.
    fn pair(&self) -> Result<(String, String, Leaf)> {
        let key = KeyPair::generate().context("make a key")?;
        let params = CertificateParams::new([NAME.to_owned()]).context("name a certificate")?;
        let signed = params.signed_by(&key, &self.issuer).context("sign a certificate")?;
        Ok((signed.pem(), key.serialize_pem(), Leaf::parse(signed.der()).context("read a certificate")?))
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    let written = File::create(path).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    written.with_context(|| format!("write {}", path.display()))
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("run {command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

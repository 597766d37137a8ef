//! A TLS server of the smallest kind: it greets, and reads its pair when it starts and on SIGHUP.
//!
//! Like nginx it keeps serving the pair it has when the new one cannot be read. It prints the port
//! that it listens on as its first line, so that `--listen 127.0.0.1:0` is of use.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line program")]

use std::{env, fs, path::PathBuf, sync::Arc};

use anyhow::{Context, Result, bail};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    signal::unix::{SignalKind, signal},
};
use tokio_rustls::TlsAcceptor;

fn main() -> Result<()> {
    let arguments = Arguments::parse(env::args().skip(1))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("start the runtime")?;
    runtime.block_on(serve(&arguments))
}

async fn serve(arguments: &Arguments) -> Result<()> {
    let mut acceptor = arguments.acceptor()?;
    let listener = TcpListener::bind(&arguments.listen).await;
    let listener = listener.with_context(|| format!("listen on {}", arguments.listen))?;
    let mut hangup = signal(SignalKind::hangup()).context("watch for SIGHUP")?;
    let mut terminate = signal(SignalKind::terminate()).context("watch for SIGTERM")?;
    println!("{}", listener.local_addr().context("read the port")?.port());
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                // A caller that has gone again is not this server's failure.
                if let Ok((stream, _)) = accepted {
                    tokio::spawn(greet(acceptor.clone(), stream));
                }
            }
            _ = hangup.recv() => match arguments.acceptor() {
                Ok(fresh) => acceptor = fresh,
                Err(error) => eprintln!("keeping the pair in use: {error:#}"),
            },
            _ = terminate.recv() => return Ok(()),
        }
    }
}

async fn greet(acceptor: TlsAcceptor, stream: TcpStream) {
    let talk = async {
        let mut stream = acceptor.accept(stream).await?;
        stream.write_all(b"a guest's TLS server\n").await?;
        stream.shutdown().await
    };
    if let Err(error) = talk.await {
        eprintln!("a connection failed: {error}");
    }
}

struct Arguments {
    listen: String,
    fullchain: PathBuf,
    key: PathBuf,
}

impl Arguments {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Self> {
        let (mut listen, mut fullchain, mut key) = ("127.0.0.1:0".to_owned(), None, None);
        while let Some(flag) = words.next() {
            let value = words.next().with_context(|| format!("{flag} needs a value; {USAGE}"))?;
            match flag.as_str() {
                "--listen" => listen = value,
                "--fullchain" => fullchain = Some(value.into()),
                "--key" => key = Some(value.into()),
                _ => bail!("{flag} is not a flag; {USAGE}"),
            }
        }
        Ok(Self { listen, fullchain: fullchain.context(USAGE)?, key: key.context(USAGE)? })
    }

    fn acceptor(&self) -> Result<TlsAcceptor> {
        let read = |path: &PathBuf| fs::read(path).with_context(|| format!("read {}", path.display()));
        let chain = CertificateDer::pem_slice_iter(&read(&self.fullchain)?).collect::<Result<Vec<_>, _>>();
        let chain = chain.with_context(|| format!("parse {}", self.fullchain.display()))?;
        let key = PrivateKeyDer::from_pem_slice(&read(&self.key)?);
        let key = key.with_context(|| format!("parse {}", self.key.display()))?;
        let config = ServerConfig::builder_with_provider(pinion_proto::tls::provider())
            .with_safe_default_protocol_versions()
            .context("choose TLS versions")?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .context("the certificate and the key are no pair")?;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

const USAGE: &str = "usage: tls-server --fullchain FILE --key FILE [--listen ADDRESS:PORT]";

//! A service that speaks TLS with the pair that it has read when its hook was last run.

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use pinion_proto::{bundle::certificates_to_pem, tls::provider};
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject};
use tokio::{io::AsyncReadExt, net::TcpListener, sync::watch, task::JoinHandle, time::timeout};

use super::guest::{DEADLINE, Guest};

/// A TLS server that has read its files when its hook was last run.
pub(super) struct Service {
    pub(super) address: SocketAddr,
    pub(super) directory: PathBuf,
    name: String,
    running: Option<JoinHandle<()>>,
    connections: watch::Sender<usize>,
}

impl Service {
    /// Starts in the guest, with its unit's hook.
    pub(super) async fn start(guest: &Guest, name: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let directory = guest.at(&format!("srv/{name}"));
        fs::create_dir_all(&directory).expect("directory is made");
        let mut service =
            Self { address, directory, name: name.into(), running: None, connections: watch::Sender::new(0) };
        service.hook(&guest.config.hooks, "");
        service.listen(listener);
        service
    }

    /// Writes the hook; `before` runs first and may end it.
    pub(super) fn hook(&mut self, hooks: &Path, before: &str) {
        let body = format!(
            "#!/bin/sh\nset -e\ncd {}\necho \"$1\" >> calls\n{before}\n\
             cp \"$PINION_FILE_KEY\" new.key && cp \"$PINION_FILE_FULLCHAIN\" new.crt && mv new.key key && mv new.crt crt\n",
            self.directory.display()
        );
        let path = hooks.join(format!("{}.service", self.name));
        let new = path.with_extension("new");
        fs::write(&new, body).expect("hook is written");
        fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).expect("hook is executable");
        fs::rename(&new, &path).expect("hook is in place");
    }

    pub(super) fn calls(&self) -> Vec<String> {
        let text = fs::read_to_string(self.directory.join("calls")).unwrap_or_default();
        text.lines().map(ToOwned::to_owned).collect()
    }

    pub(super) fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            running.abort();
        }
    }

    /// Comes back on its port.
    pub(super) async fn restart(&mut self) {
        self.stop();
        let listener = timeout(DEADLINE, async {
            loop {
                match TcpListener::bind(self.address).await {
                    Ok(listener) => return listener,
                    Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
                }
            }
        });
        let listener = listener.await.expect("the port is free again");
        self.listen(listener);
    }

    /// Shows some self-signed certificate, as a service does that is not told of Pinion's files.
    pub(super) fn show_own(&self) {
        let made = rcgen::generate_simple_self_signed(vec!["own.example".into()]).expect("a certificate");
        self.show(&made.cert.pem(), &made.signing_key.serialize_pem());
    }

    /// Shows an earlier certificate of its placement's.
    pub(super) fn show_earlier(&self, guest: &Guest) {
        let key = KeyPair::generate().expect("a key");
        let names = vec![format!("{}.example", self.name), "127.0.0.1".to_owned()];
        let request = CertificateParams::new(names).and_then(|names| names.serialize_request(&key)).expect("a request");
        let chain = guest.authority.sign(request.der(), -60, 3600);
        self.show(&certificates_to_pem(chain.certificates()), &key.serialize_pem());
    }

    /// Waits until somebody has looked at it so many times more.
    pub(super) async fn looked_at(&self, times: usize) {
        let mut connections = self.connections.subscribe();
        let enough = *connections.borrow() + times;
        let looked = timeout(DEADLINE, connections.wait_for(|count| *count >= enough)).await;
        drop(looked.expect("it is looked at").expect("it counts"));
    }

    /// Shows this pair.
    pub(super) fn show(&self, chain: &str, key: &str) {
        fs::write(self.directory.join("crt"), chain).expect("written");
        fs::write(self.directory.join("key"), key).expect("written");
    }

    fn listen(&mut self, listener: TcpListener) {
        let (directory, connections) = (self.directory.clone(), self.connections.clone());
        self.running = Some(tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                connections.send_modify(|count| *count += 1);
                // Without files a service of this kind would not have started: the caller is sent away.
                let Some(acceptor) = acceptor(&directory) else { continue };
                tokio::spawn(async move {
                    if let Ok(mut stream) = acceptor.accept(stream).await {
                        drop(stream.read(&mut [0; 1]).await);
                    }
                });
            }
        }));
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.stop();
    }
}

fn acceptor(directory: &Path) -> Option<tokio_rustls::TlsAcceptor> {
    let chain = fs::read_to_string(directory.join("crt")).ok()?;
    let chain = pinion_proto::bundle::certificates_from_pem(&chain).ok()?;
    let key = PrivatePkcs8KeyDer::from_pem_file(directory.join("key")).ok()?;
    let config = rustls::ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .ok()?
        .with_no_client_auth()
        .with_single_cert(chain.into_iter().map(Into::into).collect(), PrivateKeyDer::Pkcs8(key))
        .ok()?;
    Some(Arc::new(config).into())
}

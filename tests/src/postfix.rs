//! Debian's Postfix on a loopback port, which delivers all mail for `x.example` and `localhost` into one directory.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::{
    lab::network::Network,
    port::{self, Port},
    process::{self, Process},
    wait::{self, PATIENCE},
};

/// Its first process.
const MASTER: &str = "/usr/lib/postfix/sbin/master";

/// A mail server with one mailbox; it ends with this value.
#[derive(Debug)]
pub struct Postfix {
    /// Before its directory, because fields are dropped in this order.
    _master: Process,
    address: SocketAddr,
    root: TempDir,
    /// In this machine's own network.
    _port: Option<Port>,
}

impl Postfix {
    /// Starts it; `pair` is a certificate and its key, for STARTTLS.
    ///
    /// # Errors
    /// It is not installed, or does not come up.
    pub fn start(pair: Option<(&Path, &Path)>) -> Result<Self> {
        let port = Port::reserve()?;
        Self::run(Command::new(MASTER), port.address(), pair, Some(port))
    }

    /// Starts it where a host's own mail server is: on port 25 of loopback, in the network of a lab or of one of its guests.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_in(network: &Network, pair: Option<(&Path, &Path)>) -> Result<Self> {
        Self::run(network.command(MASTER), SocketAddr::from((Ipv4Addr::LOCALHOST, 25)), pair, None)
    }

    fn run(
        mut command: Command,
        address: SocketAddr,
        pair: Option<(&Path, &Path)>,
        port: Option<Port>,
    ) -> Result<Self> {
        let root = tempfile::Builder::new().prefix("pinion-postfix-").tempdir().context("make its directory")?;
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).context("open its directory")?;
        let path = |name: &str| root.path().join(name);
        for (name, owner) in [("etc", "root"), ("spool", "root"), ("data", "postfix"), ("mail", "nobody")] {
            fs::create_dir(path(name)).with_context(|| format!("make {name}"))?;
            give(owner, &path(name))?;
        }
        let queues = "active bounce corrupt defer deferred flush hold incoming private maildrop public saved trace";
        for queue in queues.split(' ') {
            fs::create_dir(path("spool").join(queue)).context("make a queue")?;
            give("postfix", &path("spool").join(queue))?;
        }
        fs::create_dir(path("spool/pid")).context("make a queue")?;
        let shown = root.path().display().to_string();
        let tls = pair.map_or_else(String::new, |(certificate, key)| {
            format!(
                "smtpd_tls_security_level = encrypt\nsmtpd_tls_cert_file = {}\nsmtpd_tls_key_file = {}\n",
                certificate.display(),
                key.display()
            )
        });
        let main = format!(
            "compatibility_level = 3.6\nqueue_directory = {shown}/spool\ndata_directory = {shown}/data\n\
             daemon_directory = /usr/lib/postfix/sbin\ninet_interfaces = 127.0.0.1\ninet_protocols = ipv4\n\
             myhostname = mail.x.example\nmydestination =\nalias_maps =\nmaillog_file_prefixes = {shown}\n\
             maillog_file = {shown}/mail.log\nvirtual_mailbox_domains = x.example localhost\nvirtual_mailbox_base = {shown}/mail\n\
             virtual_mailbox_maps = static:inbox/\nvirtual_uid_maps = static:65534\nvirtual_gid_maps = static:65534\n\
             virtual_minimum_uid = 1\n{tls}"
        );
        let master = format!(
            "{} inet n - n - - smtpd\nrewrite unix - - n - - trivial-rewrite\ntlsmgr unix - - n 1000? 1 tlsmgr\n\
             proxymap unix - - n - - proxymap\nanvil unix - - n - 1 anvil\npostlog unix-dgram n - n - 1 postlogd\n\
             cleanup unix n - n - 0 cleanup\nqmgr unix n - n 300 1 qmgr\nvirtual unix - n n - - virtual\n\
             bounce unix - - n - 0 bounce\ndefer unix - - n - 0 bounce\ntrace unix - - n - 0 bounce\n\
             error unix - - n - - error\nretry unix - - n - - error\n",
            address
        );
        fs::write(path("etc/main.cf"), main).context("write main.cf")?;
        fs::write(path("etc/master.cf"), master).context("write master.cf")?;
        command.args(["-d", "-c"]).arg(path("etc"));
        let mut process = Process::spawn("postfix", &mut command, &path("master.log"))?;
        wait::until("Postfix to listen", PATIENCE, || {
            process.check_running().map_err(|error| format!("{error:#}"))?;
            let log = || fs::read_to_string(path("mail.log")).unwrap_or_default();
            if port::is_listening(process.id(), address) { Ok(()) } else { Err(log()) }
        })?;
        Ok(Self { _master: process, address, root, _port: port })
    }

    /// Where it takes mail.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The mails that were delivered, the oldest first.
    ///
    /// # Errors
    /// One cannot be read.
    pub fn mails(&self) -> Result<Vec<String>> {
        let inbox = self.root.path().join("mail/inbox/new");
        let Ok(names) = fs::read_dir(&inbox) else { return Ok(Vec::new()) };
        let mut paths: Vec<PathBuf> = names.filter_map(|name| Some(name.ok()?.path())).collect();
        paths.sort_by_key(|path| path.metadata().and_then(|metadata| metadata.modified()).ok());
        paths.iter().map(|path| fs::read_to_string(path).context("read a mail")).collect()
    }

    /// Waits for the mail of this number, counted from 0.
    ///
    /// # Errors
    /// It does not come within [`PATIENCE`].
    pub fn wait(&self, number: usize) -> Result<String> {
        wait::until("a mail", PATIENCE, || {
            let mails = self.mails().map_err(|error| format!("{error:#}"))?;
            let log = || fs::read_to_string(self.root.path().join("mail.log")).unwrap_or_default();
            mails.get(number).cloned().ok_or_else(|| format!("{} mails\n{}", mails.len(), log()))
        })
    }
}

fn give(owner: &str, path: &Path) -> Result<()> {
    process::run(Command::new("chown").arg(owner).arg(path), b"", PATIENCE)?.succeeded().map(drop)
}

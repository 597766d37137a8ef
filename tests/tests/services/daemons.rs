//! Debian's servers as units of a guest, each on loopback ports of its own, with the pair that it is told.

use std::{fs, net::SocketAddr, path::Path, process::Command};

use anyhow::{Context, Result};
use pinion_tests::{
    guest::Guest,
    port::Port,
    process, program,
    unit::{ReloadBy, Unit, UnitSpec},
    wait::PATIENCE,
};
use rustix::process::Signal;

/// A pair of files at paths in the guest.
pub(crate) type Pair = (&'static str, &'static str);

/// A directory of the guest's, and where it is for this process.
pub(super) fn directory(guest: &Guest, inside: &str) -> Result<String> {
    let path = guest.path(inside);
    fs::create_dir_all(&path).with_context(|| format!("make {}", path.display()))?;
    Ok(path.display().to_string())
}

fn outside(guest: &Guest, (certificate, key): Pair) -> (String, String) {
    (guest.path(certificate).display().to_string(), guest.path(key).display().to_string())
}

pub(super) fn give(owner: &str, paths: &[&Path]) -> Result<()> {
    process::run(Command::new("chown").arg(owner).args(paths), b"", PATIENCE)?.succeeded().map(drop)
}

/// A server's unit, started by this command.
pub(crate) fn install(
    guest: &Guest,
    name: &str,
    command: &[&str],
    reload: ReloadBy,
    listens: SocketAddr,
) -> Result<Unit> {
    let (first, rest) = command.split_first().context("a command has a program")?;
    let mut words =
        vec![if first.starts_with('/') { (*first).to_owned() } else { program::found(first)?.display().to_string() }];
    words.extend(rest.iter().map(|&word| word.to_owned()));
    Unit::install(guest, UnitSpec { name: format!("{name}.service"), command: words, reload, listens })
}

/// Postfix, which turns to TLS by STARTTLS.
pub(crate) fn postfix(guest: &Guest, pair: Pair, smtp: &Port) -> Result<Unit> {
    let (certificate, key) = outside(guest, pair);
    let (spool, data) = (directory(guest, "/var/spool/postfix")?, directory(guest, "/var/lib/postfix")?);
    let queues = "active bounce corrupt defer deferred flush hold incoming private maildrop public saved trace";
    for queue in queues.split(' ') {
        let path = guest.path(&format!("/var/spool/postfix/{queue}"));
        fs::create_dir_all(&path)?;
        give("postfix", &[&path])?;
    }
    directory(guest, "/var/spool/postfix/pid")?;
    give("postfix", &[Path::new(&data)])?;
    let log = guest.path("/var/log").display().to_string();
    let main = format!(
        "compatibility_level = 3.6\nqueue_directory = {spool}\ndata_directory = {data}\n\
         daemon_directory = /usr/lib/postfix/sbin\ninet_interfaces = 127.0.0.1\ninet_protocols = ipv4\n\
         myhostname = mail.internal.example\nmydestination =\nalias_maps =\nmaillog_file_prefixes = {log}\n\
         maillog_file = {log}/mail.log\nsmtpd_tls_security_level = may\nsmtpd_tls_cert_file = {certificate}\n\
         smtpd_tls_key_file = {key}\n"
    );
    let master = format!(
        "{} inet n - n - - smtpd\nrewrite unix - - n - - trivial-rewrite\ntlsmgr unix - - n 1000? 1 tlsmgr\n\
         proxymap unix - - n - - proxymap\nanvil unix - - n - 1 anvil\npostlog unix-dgram n - n - 1 postlogd\n\
         cleanup unix n - n - 0 cleanup\n",
        smtp.address()
    );
    guest.write("etc/postfix/main.cf", &main)?;
    guest.write("etc/postfix/master.cf", &master)?;
    let configuration = guest.path("/etc/postfix").display().to_string();
    let command = ["/usr/lib/postfix/sbin/master", "-d", "-c", &configuration];
    install(guest, "postfix", &command, ReloadBy::Signal(Signal::HUP), smtp.address())
}

/// Dovecot, for IMAP and POP3, both of which turn to TLS.
pub(crate) fn dovecot(guest: &Guest, pair: Pair, imap: &Port, pop3: &Port) -> Result<Unit> {
    let (certificate, key) = outside(guest, pair);
    let run = directory(guest, "/run/dovecot")?;
    let listener = |protocol: &str, port: &Port| {
        format!(
            "service {protocol}-login {{\n  inet_listener {protocol} {{\n    port = {}\n  }}\n  \
             inet_listener {protocol}s {{\n    port = 0\n  }}\n}}\n",
            port.number()
        )
    };
    let text = format!(
        "base_dir = {run}\nstate_dir = {run}/state\nlog_path = /dev/stderr\nprotocols = imap pop3\nlisten = {}\n\
         ssl = yes\nssl_cert = <{certificate}\nssl_key = <{key}\n{}{}\
         passdb {{\n  driver = static\n  args = password=x\n}}\n\
         userdb {{\n  driver = static\n  args = uid=nobody gid=nogroup home=/tmp\n}}\n",
        imap.address().ip(),
        listener("imap", imap),
        listener("pop3", pop3)
    );
    guest.write("etc/dovecot/dovecot.conf", &text)?;
    let configuration = guest.path("/etc/dovecot/dovecot.conf").display().to_string();
    let command = ["dovecot", "-F", "-c", &configuration];
    install(guest, "dovecot", &command, ReloadBy::Signal(Signal::HUP), imap.address())
}

/// MariaDB, with no account and no database.
pub(crate) fn mariadb(guest: &Guest, pair: Pair, port: &Port) -> Result<Unit> {
    let (certificate, key) = outside(guest, pair);
    let data = directory(guest, "/var/lib/mysql")?;
    let options = [
        "--no-defaults".to_owned(),
        "--user=root".into(),
        "--skip-grant-tables".into(),
        "--bind-address=127.0.0.1".into(),
        format!("--datadir={data}"),
        format!("--socket={data}/socket"),
        format!("--pid-file={data}/pid"),
        format!("--port={}", port.number()),
        format!("--ssl-cert={certificate}"),
        format!("--ssl-key={key}"),
    ];
    let command: Vec<&str> = ["mariadbd"].into_iter().chain(options.iter().map(String::as_str)).collect();
    install(guest, "mariadb", &command, ReloadBy::Nothing, port.address())
}

/// OpenLDAP's server, with an empty directory.
pub(crate) fn slapd(guest: &Guest, pair: Pair, port: &Port) -> Result<Unit> {
    let (certificate, key) = outside(guest, pair);
    let data = directory(guest, "/var/lib/ldap")?;
    let text = format!(
        "include /etc/ldap/schema/core.schema\npidfile {data}/pid\nmodulepath /usr/lib/ldap\nmoduleload back_ldif\n\
         TLSCertificateFile {certificate}\nTLSCertificateKeyFile {key}\n\
         database ldif\nsuffix \"dc=example\"\ndirectory {data}\n"
    );
    guest.write("etc/ldap/slapd.conf", &text)?;
    let configuration = guest.path("/etc/ldap/slapd.conf").display().to_string();
    let url = format!("ldap://{}", port.address());
    let command = ["slapd", "-d", "0", "-f", &configuration, "-h", &url];
    install(guest, "slapd", &command, ReloadBy::Nothing, port.address())
}

/// vsftpd.
pub(crate) fn vsftpd(guest: &Guest, pair: Pair, port: &Port) -> Result<Unit> {
    let (certificate, key) = outside(guest, pair);
    let empty = directory(guest, "/run/vsftpd")?;
    let text = format!(
        "listen=YES\nbackground=NO\nlisten_address=127.0.0.1\nlisten_port={}\nanonymous_enable=YES\nssl_enable=YES\n\
         allow_anon_ssl=YES\nssl_ciphers=HIGH\nrsa_cert_file={certificate}\nrsa_private_key_file={key}\n\
         secure_chroot_dir={empty}\n",
        port.number()
    );
    guest.write("etc/vsftpd.conf", &text)?;
    let configuration = guest.path("/etc/vsftpd.conf").display().to_string();
    install(guest, "vsftpd", &["vsftpd", &configuration], ReloadBy::Nothing, port.address())
}

/// HAProxy, with this behind its `bind ADDRESS ssl crt FILE`.
pub(crate) fn haproxy(guest: &Guest, combined: &str, port: &Port, more: &str) -> Result<Unit> {
    let file = guest.path(combined).display().to_string();
    let text = format!(
        "global\n  maxconn 64\ndefaults\n  mode http\n  timeout connect 5s\n  timeout client 5s\n  timeout server 5s\n\
         frontend web\n  bind {} ssl crt {file} {more}\n  http-request return status 200\n",
        port.address()
    );
    guest.write("etc/haproxy/haproxy.cfg", &text)?;
    let configuration = guest.path("/etc/haproxy/haproxy.cfg").display().to_string();
    guest.write_hook("haproxy-test", &format!("#!/bin/sh\nexec haproxy -c -f {configuration}\n"))?;
    let command = ["haproxy", "-W", "-db", "-f", &configuration];
    install(guest, "haproxy", &command, ReloadBy::Signal(Signal::USR2), port.address())
}

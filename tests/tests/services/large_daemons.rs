//! Debian's RabbitMQ, CUPS and Samba as units of a guest, each with state of its own and the lines of its recipe.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    path::Path,
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result};
use pinion_tests::{
    guest::Guest,
    port::Port,
    process::{self, Process},
    program,
    unit::{ReloadBy, Unit},
    wait,
};

use super::daemons::{directory, give, install};

/// RabbitMQ and the daemon of Erlang that it asks for a node's port.
#[derive(Debug)]
pub(crate) struct RabbitMq {
    pub(crate) unit: Unit,
    _names: Process,
}

/// RabbitMQ as its own user. Erlang looks every 2 s whether a pair has changed; in its own configuration, every 2 min.
pub(crate) fn rabbitmq(guest: &Guest, lines: &str, port: &Port, [names, node]: [&Port; 2]) -> Result<RabbitMq> {
    let [home, log] = ["/var/lib/rabbitmq", "/var/log/rabbitmq"].map(|inside| directory(guest, inside));
    let (home, log) = (home?, log?);
    give("rabbitmq", &[Path::new(&home), Path::new(&log)])?;
    let lines = lines.replace("listeners.ssl.default = 5671", &format!("listeners.ssl.1 = {}", port.address()));
    guest.write("etc/rabbitmq/rabbitmq.conf", &format!("{lines}\nlisteners.tcp = none\n"))?;
    let configuration = guest.path("/etc/rabbitmq").display().to_string();
    let settings = [
        format!("HOME={home}"),
        format!("RABBITMQ_MNESIA_BASE={home}/mnesia"),
        format!("RABBITMQ_LOG_BASE={log}"),
        format!("RABBITMQ_CONFIG_FILE={configuration}/rabbitmq.conf"),
        format!("RABBITMQ_CONF_ENV_FILE={configuration}/rabbitmq-env.conf"),
        format!("RABBITMQ_ENABLED_PLUGINS_FILE={configuration}/enabled_plugins"),
        "RABBITMQ_NODENAME=test@localhost".into(),
        format!("RABBITMQ_DIST_PORT={}", node.number()),
        format!("ERL_EPMD_PORT={}", names.number()),
        "ERL_EPMD_ADDRESS=127.0.0.1".into(),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=-ssl ssl_pem_cache_clean 2000".into(),
        // Erlang takes the place of the script, as under systemd.
        "RUNNING_UNDER_SYSTEMD=true".into(),
    ];
    let user = ["setpriv", "--reuid=rabbitmq", "--regid=rabbitmq", "--clear-groups", "env"];
    let settings = settings.iter().map(String::as_str);
    let command: Vec<&str> =
        user.into_iter().chain(settings).chain(["/usr/lib/rabbitmq/bin/rabbitmq-server"]).collect();
    // Without it, RabbitMQ would start one that stays.
    let mut daemon = Command::new(program::found("epmd")?);
    daemon.args(["-address", "127.0.0.1", "-port", &names.number().to_string()]);
    let names = Process::spawn("epmd", &mut daemon, &guest.path("/var/log/epmd.log"))?;
    Ok(RabbitMq {
        unit: install(guest, "rabbitmq-server", &command, ReloadBy::Nothing, port.address())?,
        _names: names,
    })
}

/// CUPS's scheduler, without printers. Of the recipe's lines, one is for the one file and one for the other.
pub(crate) fn cups(guest: &Guest, lines: &str, port: &Port) -> Result<Unit> {
    let root = directory(guest, "/etc/cups")?;
    let [spool, cache, state, log] =
        ["/var/spool/cups", "/var/cache/cups", "/run/cups", "/var/log/cups"].map(|inside| directory(guest, inside));
    let (spool, cache, state, log) = (spool?, cache?, state?, log?);
    let (files, scheduler): (Vec<&str>, Vec<&str>) = lines.lines().partition(|line| line.starts_with("CreateSelf"));
    let files = format!(
        "{}\nServerRoot {root}\nRequestRoot {spool}\nTempDir {spool}\nCacheDir {cache}\nStateDir {state}\n\
         ErrorLog {log}/error_log\nAccessLog {log}/access_log\nPageLog {log}/page_log\n",
        files.join("\n")
    );
    guest.write("etc/cups/cups-files.conf", &files)?;
    let scheduler = format!("{}\nListen {}\nBrowsing Off\n", scheduler.join("\n"), port.address());
    guest.write("etc/cups/cupsd.conf", &scheduler)?;
    let [scheduler, files] = ["cupsd.conf", "cups-files.conf"].map(|file| format!("{root}/{file}"));
    install(guest, "cups", &["cupsd", "-f", "-c", &scheduler, "-s", &files], ReloadBy::Nothing, port.address())
}

/// Where a domain controller of Samba's serves LDAP over TLS: it knows no other port, but takes any address.
pub(crate) fn ldaps(port: &Port) -> SocketAddr {
    let [high, low] = port.number().to_be_bytes();
    SocketAddrV4::new(Ipv4Addr::new(127, 77, high, low), 636).into()
}

/// A domain controller of Samba's with a new domain, of which only the LDAP server runs.
pub(crate) fn samba(guest: &Guest, lines: &str, listens: SocketAddr) -> Result<Unit> {
    let state = directory(guest, "/var/lib/samba")?;
    let options = [
        format!("interfaces={}/8", listens.ip()),
        "bind interfaces only=yes".into(),
        "server services=ldap".into(),
        format!("pid directory={state}"),
        format!("ncalrpc dir={state}/ncalrpc"),
        format!("ntp signd socket directory={state}/ntp"),
        format!("winbindd socket directory={state}/winbind"),
        format!("log file={state}/log"),
    ];
    let mut provision = Command::new(program::found("samba-tool")?);
    provision
        .args(["domain", "provision", "--realm=AD.INTERNAL.EXAMPLE", "--domain=AD", "--server-role=dc"])
        .args(["--dns-backend=NONE", "--host-name=dc", "--host-ip=127.0.0.1"])
        .arg(format!("--targetdir={state}"))
        .args(options.map(|option| format!("--option={option}")));
    process::run(&mut provision, b"", PROVISIONING)?.succeeded()?;
    let configuration = format!("{state}/etc/smb.conf");
    let text = fs::read_to_string(&configuration).with_context(|| format!("read {configuration}"))?;
    fs::write(&configuration, text.replacen("[global]\n", &format!("[global]\n{lines}\n"), 1))
        .with_context(|| format!("write {configuration}"))?;
    let command = ["samba", "--foreground", "--no-process-group", "--model=single", "--configfile", &configuration];
    install(guest, "samba-ad-dc", &command, ReloadBy::Nothing, listens)
}

/// A new domain is ten seconds of work for one processor.
const PROVISIONING: Duration = Duration::from_secs(4 * wait::PATIENCE.as_secs());

//! What can be typed after `pinion`: every verb and option, in the words of `--help`.
//!
//! Invariant: nothing here does anything; `mod.rs` starts what was typed.

use std::{path::PathBuf, time::Duration};

use clap::{Parser, Subcommand};
use pinion_proto::{clock::Timestamp, exit::Exit};

use super::{
    backup::RestoreArgs, completions::Shell, discover::DiscoverArgs, ensure::EnsureArgs, events::EventsArgs,
    explain::ExplainArgs, import::ImportVerb, moment, notify::NotifyVerb, setup::SetupArgs, status::StatusArgs,
    support_bundle::SupportBundleArgs, web::WebVerb,
};

/// Keeps the TLS certificates of every container and virtual machine on this host alive.
///
/// The manifest lists your certificates and where you want them. `pinion serve` has the issuer sign them and sends them
/// to the agent in each guest. The agent installs them, reloads the service, and checks what the service serves.
#[derive(Debug, Parser)]
#[command(name = "pinion", version, after_help = Exit::summary())]
pub(super) struct Args {
    /// Use DIR in place of `/` for configuration, state and sockets.
    #[arg(long, global = true, default_value = "/", value_name = "DIR")]
    pub(super) root: PathBuf,
    /// Print JSON on standard output; text for people goes to standard error.
    #[arg(long, global = true)]
    pub(super) json: bool,
    #[command(subcommand)]
    pub(super) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Run the controller: plan renewals, have certificates signed, and send them to the agents.
    ///
    /// The unit pinion.service runs this command as the user `pinion`; it needs no root.
    Serve,
    /// Run the root process: do for `pinion serve` what needs root on this host.
    ///
    /// The unit pinion-channel.service runs this command. It lists the guests, brings the packaged agent and a join
    /// token into them with pct and qm, and keeps the key of the identity root. `pinion serve` cannot make it do anything
    /// else.
    Channel,
    /// Write the first configuration, check the CA, and start Pinion on this host. Asks what you do not give.
    ///
    /// You can repeat this command safely: it keeps every file that is there. Writes controller.toml, an empty manifest, and
    /// the provisioner's password (mode 0600, for the user `pinion`), which it reads from the terminal or from standard
    /// input. Exits with 2 if something is missing or wrong, with 3 if the CA cannot be reached, with 4 if it needs you, and
    /// with 5 if the controller does not start.
    #[command(
        after_long_help = "Examples:\n  pinion setup\n  pinion setup --yes --issuer embedded\n  pinion setup --advertise 10.0.0.13:7443 --issuer step-ca --url https://10.0.0.10:9000 --fingerprint SHA256 --provisioner pinion < password"
    )]
    Setup(SetupArgs),
    /// Evict every guest, remove the agent from all of them, and say how to remove Pinion from this host.
    ///
    /// The certificates and keys that Pinion installed stay, and services keep serving them. Exits with 4 if an agent stays.
    Uninstall {
        /// Do not ask. Needed without a terminal.
        #[arg(long)]
        yes: bool,
    },
    /// Show what the controller would do now, and why. Changes nothing.
    ///
    /// With FILE, shows what it would do if FILE were the manifest, so that you can try a manifest before you put it in
    /// place. FILE may also be a directory of files `*.json` that are one manifest together.
    #[command(after_long_help = "Examples:\n  pinion plan\n  pinion plan new-manifest.json")]
    Plan {
        /// The manifest to try, with the files in the directory `X.d` beside it if it is called `X.json`.
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
    },
    Status(StatusArgs),
    Explain(ExplainArgs),
    /// Look for what is wrong on this host, and say for each finding what to do.
    ///
    /// Looks at the configuration, owners and modes, disk space, units, versions, Proxmox's tools and quorum, the addresses that
    /// agents dial, clocks, issuers, and at what the controller knows of placements and guests. Run it as root: other users
    /// may not look everywhere. Works while the controller does not run. Changes nothing, and reads no secret. Exits with 4
    /// if something needs you.
    Doctor,
    SupportBundle(SupportBundleArgs),
    Discover(DiscoverArgs),
    /// Look at the placements now, retry what failed, wait until they reach a stage, and show progress. For scripts.
    ///
    /// Exits with 0 when every placement has reached the stage, with 3 when the time is up, and with 4 as soon as one needs a
    /// person and nothing else is under way. Exits with 2 if the manifest on disk cannot be used. The controller keeps
    /// trying after this command has ended.
    #[command(
        after_long_help = "Examples:\n  pinion ensure --until served\n  pinion ensure docker@1001 --timeout 2m\n  pinion ensure --guest 1001 --guest web --wait\n  pinion ensure docker --renew --now"
    )]
    Ensure(EnsureArgs),
    /// Show a guest with all its placements, or every detail of a certificate's placements.
    #[command(after_long_help = "Examples:\n  pinion show 1001\n  pinion show docker@1001")]
    Show {
        /// A guest (a VMID, a name, or `host`), a certificate (`docker`) or a placement (`docker@1001`).
        #[arg(value_name = "NAME")]
        name: String,
        /// Skip the first N placements.
        #[arg(long, value_name = "N", default_value_t = 0)]
        from: usize,
        /// Show at most N placements, up to 100.
        #[arg(long, value_name = "N", default_value_t = 20)]
        count: usize,
    },
    /// Remove the files of placements that are no longer in the manifest.
    ///
    /// For a placement that is still in the manifest, removes only the files at its earlier paths. Keeps files that a
    /// configuration below /etc in the guest still names, and tells you where they are named. The files that were there
    /// before Pinion stay in the guest's keeping: `--restore` puts them back.
    Purge {
        /// Retired certificates (`docker`) or placements (`docker@1001`), as `pinion status` shows them.
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
        /// Put back the files that were there before Pinion, unless their certificate has expired.
        #[arg(long)]
        restore: bool,
        /// Also remove files that a configuration still names.
        #[arg(long)]
        force: bool,
    },
    /// Postpone everything disruptive until a given time, or until you lift the freeze.
    ///
    /// While something is frozen, no unit or container is restarted, no secret of a Swarm service is rotated, and no hook
    /// runs. Certificates are still renewed, files replaced, and services reloaded if that does not disturb them. On the
    /// last day before a service's certificate expires, Pinion disturbs the service if it has to.
    #[command(
        after_long_help = "Examples:\n  pinion freeze --until 2026-12-27T06:00Z\n  pinion freeze docker --until 8h\n  pinion freeze --lift"
    )]
    Freeze {
        /// Certificates (`docker`) or placements (`docker@1001`); all if you name none.
        #[arg(value_name = "NAME")]
        names: Vec<String>,
        /// Only placements in this guest: a VMID, a name, or `host`.
        #[arg(long, value_name = "G")]
        guest: Option<String>,
        /// When the freeze ends: 2026-12-24T18:00Z, "2026-12-24 18:00" by this host's clock, or 8h from now. Without it,
        /// the freeze lasts until you lift it.
        #[arg(long, value_name = "T", value_parser = moment::to_come)]
        until: Option<Timestamp>,
        /// Lift these freezes; all of them if you give neither NAME nor `--guest`.
        #[arg(long, conflicts_with = "until")]
        lift: bool,
    },
    /// List guests, let them in, or refuse them.
    #[command(subcommand)]
    Guest(GuestVerb),
    /// Create join tokens for guests that you join by hand.
    #[command(subcommand)]
    Token(TokenVerb),
    /// Links and tokens for the page that shows everything in a browser.
    #[command(subcommand)]
    Web(WebVerb),
    /// Check the manifest, print its schema, or import an older one.
    #[command(subcommand)]
    Manifest(ManifestVerb),
    /// Write everything that this installation needs into one file, mode 0600.
    ///
    /// The file contains identities, the keys of Pinion's CAs and of shared certificates, the manifest, controller.toml and
    /// its password files. You do not have to stop the controller. Protect the file like a key.
    #[command(
        after_long_help = "Examples:\n  pinion backup /root/before-the-upgrade.backup\n  pinion backup --keep 30 /var/backups/pinion"
    )]
    Backup {
        /// The file to write, which must not exist; or a directory: then the file's name has the time.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Keep the N newest backups in this directory, and remove the older ones. Removes only files whose names this
        /// command has given.
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
        keep: Option<u16>,
    },
    /// Restore a backup, all of it or nothing. Stop the controller first.
    ///
    /// Guests that are evicted in the backup or in the existing state stay evicted.
    #[command(
        after_long_help = "Examples:\n  pinion restore /root/pinion.backup\n  pinion restore --yes --evict 104 /root/pinion.backup"
    )]
    Restore(RestoreArgs),
    /// Check controller.toml.
    #[command(subcommand)]
    Config(ConfigVerb),
    /// Check the CAs that sign your certificates.
    #[command(subcommand)]
    Issuer(IssuerVerb),
    /// Replace the root of the agents' identities.
    #[command(subcommand)]
    Identity(IdentityVerb),
    /// Try those who are told of alarms.
    #[command(subcommand)]
    Notify(NotifyVerb),
    /// Show what happened.
    #[command(after_long_help = "Examples:\n  pinion events docker@1001\n  pinion events --since 8h --follow")]
    Events(EventsArgs),
    /// Print a script with which your shell completes this program's commands and options.
    #[command(
        after_long_help = "Examples:\n  pinion completions bash > /etc/bash_completion.d/pinion\n  source <(pinion completions zsh)\n  pinion completions fish > ~/.config/fish/completions/pinion.fish"
    )]
    Completions {
        /// Your shell.
        shell: Shell,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum IdentityVerb {
    /// Create a new identity root at the next start, once. Stop the controller and the root process first.
    ///
    /// If the old root still exists, agents learn to trust both, and the new root takes over at the first start of the
    /// controller after all of them do; `pinion status` counts them. The process that has the old root's key creates the new
    /// root: the controller, or the root process (`pinion channel`). If the old root is lost, every guest must join again:
    /// restore /var/lib/pinion/shared from a backup instead, if you have one.
    NewRoot {
        /// Create a new root for the embedded CA instead, because its root is lost.
        #[arg(long)]
        embedded: bool,
        /// Give up the old root at once, because someone else may have its key. Every guest must join again.
        #[arg(long)]
        at_once: bool,
        /// Move the root from the controller to the root process: the root process creates the new root, and when that takes
        /// over, the controller's key is removed.
        #[arg(long, conflicts_with_all = ["embedded", "at_once"])]
        to_root_process: bool,
        /// Confirm that you want to replace the root.
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum GuestVerb {
    /// List the guests: since when each has an identity, and whether it is locked.
    List,
    /// Bring an agent and an identity into a guest through the hypervisor, and wait until it is linked.
    ///
    /// You can repeat this command safely. Pinion enrols the guests that the manifest names by itself, unless `[proxmox]
    /// enroll` in controller.toml says otherwise. Exits with 0 when the guest is linked, with 3 when the time is up, and
    /// with 4 when it needs you.
    #[command(after_long_help = "Example:\n  pinion guest enroll 1001")]
    Enroll {
        /// The guest: a VMID or a name.
        #[arg(value_name = "G")]
        guest: String,
        /// How long to wait; the controller continues afterwards.
        #[arg(long, default_value = "5m", value_parser = humantime::parse_duration, value_name = "TIME")]
        timeout: Duration,
    },
    /// Check a guest now, because it was started or changed. For hookscripts; returns at once.
    Wake {
        /// The guest: a VMID or a name.
        #[arg(value_name = "G")]
        guest: String,
    },
    /// Let a name in the manifest mean the guest that has it now.
    ///
    /// When a guest is renamed and another one gets its name, Pinion does nothing for the placements that the manifest has
    /// under that name until you say which guest you mean.
    AcceptName {
        /// The guest's name, as the manifest has it.
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Let a locked guest join again.
    ///
    /// Pinion locks a guest that used an identity which had been renewed, as a clone or a restored snapshot does. Make sure
    /// that only one copy of the guest runs before you unlock it.
    Unlock {
        /// The guest: a VMID, a name, or `host`.
        #[arg(value_name = "G")]
        guest: String,
    },
    /// Forget a guest: refuse its identity from now on, and end its link.
    ///
    /// For a guest that was destroyed, this removes the notice about it from `pinion status`. What the agent installed in a
    /// guest stays there.
    Forget {
        /// The guest: a VMID, a name, or `host`.
        #[arg(value_name = "G")]
        guest: String,
        /// Someone else may have the guest's keys: do the same as `evict --compromised`.
        #[arg(long)]
        compromised: bool,
    },
    /// Evict a guest: refuse its identity, remove the agent from it, and do not enrol it again until you ask for it.
    ///
    /// Pinion removes the agent, its unit, its identity and its state through the hypervisor. The certificates and keys that
    /// it installed stay, and services keep serving them. Exits with 4 if Pinion cannot reach the guest: the eviction holds
    /// all the same, and you can run this command again later.
    #[command(after_long_help = "Examples:\n  pinion guest evict 1001\n  pinion guest evict --compromised 1001")]
    Evict {
        /// The guest: a VMID, a name, or `host`.
        #[arg(value_name = "G")]
        guest: String,
        /// Someone else may have the guest's keys: revoke its certificates where the issuer can, and replace the keys that
        /// it shared with other guests.
        #[arg(long)]
        compromised: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum TokenVerb {
    /// Print a join token: one line that works once, within ten minutes, for this guest.
    ///
    /// Pipe it into `pinion-agent join` in the guest, over a connection that only you can use. Never write it on a command
    /// line.
    #[command(after_long_help = "Example:\n  pinion token create --guest 1001 | ssh root@guest pinion-agent join")]
    Create {
        /// The guest: a VMID, a name, or `host`.
        #[arg(long, value_name = "G")]
        guest: String,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum ManifestVerb {
    /// Report every mistake in a manifest, each with its file, line and column. Exits with 2 if there is one.
    ///
    /// With FILE, checks FILE as if it were the manifest: together with the files in the directory `X.d` beside it if it is
    /// called `X.json`. With a directory, checks its files `*.json` as one manifest.
    Check {
        /// The file or directory to check; without it, the installed manifest.
        #[arg(value_name = "FILE|DIRECTORY")]
        file: Option<PathBuf>,
    },
    /// Print the JSON Schema of the manifest, for editors.
    Schema,
    /// Make a manifest of an older one.
    #[command(subcommand)]
    Import(ImportVerb),
}

#[derive(Debug, Subcommand)]
pub(super) enum ConfigVerb {
    /// Report every mistake in controller.toml, each with its line and column. Exits with 2 if there is one.
    ///
    /// Also reports what does not fit this host: password files, addresses, and issuers that the manifest names. Contacts no
    /// CA and changes nothing.
    Check {
        /// Exit with 0 unless the daemons could not start, and print everything else as warnings. For their units.
        #[arg(long)]
        start: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum IssuerVerb {
    /// Check whether each issuer can sign: reachability, root, provisioner, durations, clock.
    ///
    /// Exits with 3 if an issuer cannot be reached, and with 4 if one needs you.
    Check,
    /// Print an issuer's root certificate as PEM, for clients that should trust it.
    ///
    /// Prints several roots while a new one replaces an old one: clients need all of them.
    #[command(after_long_help = "Example:\n  pinion issuer root > /usr/local/share/ca-certificates/pinion.crt")]
    Root {
        /// The issuer, as controller.toml names it; without it, those that the manifest uses.
        #[arg(value_name = "NAME")]
        name: Option<String>,
    },
}
